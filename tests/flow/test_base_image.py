"""An image on a base of its own: pushed to the embedded registry, named by digest, unpacked and run without anything of the host's /usr."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from live_home import PIPELINE, TESTS, LiveHome

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha256(data: bytes) -> str:
    """Return an OCI digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Pusher:
    """A minimal registry client, as any other program would be one."""

    def __init__(self, live: LiveHome, repository: str) -> None:
        self._url = f"http://{live.ready['registry']}/v2/{repository}"
        self._auth = "Basic " + base64.b64encode(f"x:{live.ready['token']}".encode()).decode()

    def _send(self, method: str, url: str, data: bytes, kind: str) -> Any:
        headers = {"Authorization": self._auth, "Content-Type": kind}
        return urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30)

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        """Push a blob in one request and return its descriptor."""
        digest = sha256(data)
        with self._send("POST", f"{self._url}/blobs/uploads/?digest={digest}", data, "application/octet-stream") as answer:
            assert answer.status == 201
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def manifest(self, value: dict[str, Any]) -> str:
        """Push a manifest by its digest and return it."""
        data = json.dumps(value).encode()
        with self._send("PUT", f"{self._url}/manifests/{sha256(data)}", data, MANIFEST) as answer:
            assert answer.status == 201
        return sha256(data)


def busybox_image(live: LiveHome, busybox: Path) -> str:
    """Push a root file system with nothing but busybox and return its reference by digest."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name in ("bin", "www", "etc", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, busybox.stat().st_size
        tar.addfile(entry, io.BytesIO(busybox.read_bytes()))
    pusher = Pusher(live, "base/busybox")
    layer = pusher.blob(gzip.compress(raw.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "FROM_BASE=yes"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(raw.getvalue())]},
    }
    described = pusher.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    digest = pusher.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [layer]})
    return f"{live.ready['registry']}/base/busybox@{digest}"


def test_an_image_on_another_base_serves(live: LiveHome) -> None:
    """The base comes from the registry by digest, our layer lies on top, and the program sees only that root file system."""
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("INCOMPLETE: needs a static busybox (busybox-static)")
    base = busybox_image(live, Path(found).resolve())
    script = (
        "/bin/busybox cp -r /www /tmp/www && /bin/busybox ls / >/tmp/www/root.txt && echo $FROM_BASE >>/tmp/www/root.txt && "
        "exec /bin/busybox httpd -f -p 127.0.0.1:$PORT -h /tmp/www"
    )
    image = f"""
      base: {base}
      copy: {{"www/": /www/}}
      command: [/bin/busybox, sh, -c, {json.dumps(script)}]
"""
    pipeline = PIPELINE.split("    image:")[0].replace("app.py, ", "www/**, ") + "    image:" + image
    files = {".setpoint/pipeline.yaml": pipeline, "tests.sh": TESTS, "www/index.html": "from a base"}
    live.commit("hello", files, "on a base of its own")
    cell = live.serves("staging", "from a base")
    port = live.staging
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/root.txt", timeout=10) as answer:
        seen = answer.read().decode().split()
    assert "usr" not in seen
    assert {"bin", "www", "yes"} <= set(seen)
    evidence = live.api().get("/api/v1/evidence", {"thing": cell["artifacts"]["web"]})
    assert evidence["subjects"]
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
    assert all(line["passed"] for line in lines)
