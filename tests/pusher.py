"""A minimal registry client, as any other program would be one; used by flow tests that push images of their own making."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from typing import Any

from live_home import LiveHome

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha256(data: bytes) -> str:
    """Return an OCI digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Pusher:
    """Pushes blobs and manifests into one repository of a live home's registry."""

    def __init__(self, live: LiveHome, repository: str) -> None:
        self._place = f"{live.ready['registry']}/{repository}"
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

    def image(self, entries: list[tuple[tarfile.TarInfo, bytes]], environment: tuple[str, ...] = ()) -> str:
        """Push an image of one layer and return its reference by digest."""
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for entry, data in entries:
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        layer = self.blob(gzip.compress(raw.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": list(environment)},
            "rootfs": {"type": "layers", "diff_ids": [sha256(raw.getvalue())]},
        }
        described = self.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        return f"{self._place}@{self.manifest({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': described, 'layers': [layer]})}"
