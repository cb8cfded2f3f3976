"""An image on a base of its own: pushed to the embedded registry, named by digest, unpacked and run without anything of the host's /usr."""

import json
import shutil
import urllib.request
from pathlib import Path

import pytest

from live_home import PIPELINE, TESTS, LiveHome
from pusher import Pusher
from rootfs import busybox_entries


def busybox_image(live: LiveHome, busybox: Path) -> str:
    """Push a root file system with nothing but busybox and return its reference by digest."""
    return Pusher(live, "base/busybox").image(busybox_entries(busybox), ("PATH=/bin", "FROM_BASE=yes"))


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
