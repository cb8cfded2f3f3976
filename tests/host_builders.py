"""A home's work folders with a store in memory and a little web server as the image, for tests of the host runtime.

Used by the contract tests of replicas, secrets and limits; the fixture `host` is in their conftest.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from setpoint.adapters.host.runtime import HostFolders, HostRuntime
from setpoint.artifact.model import CONFIG, EMPTY, LAYER, MANIFEST, TITLE, StoredManifest
from setpoint.artifact.ports import OciStore
from setpoint.pipeline.model import ToolchainFacts
from setpoint.reconcile.model import Container, Identity, Probe, ReplicaSpec, ReplicaStatus
from setpoint.reconcile.ports import Vault

UID = 64180 if os.getuid() == 0 else None
PLATFORM = "linux/amd64" if platform.machine() == "x86_64" else "linux/arm64"
FACTS = ToolchainFacts("sha256:" + "0" * 64, "3.11.2", PLATFORM, 1)
APP = """
import http.server, json, os, signal, subprocess, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die": os._exit(3)
        what = {"env": dict(os.environ), "argv": sys.argv, "uid": os.getuid(), "root": sorted(os.listdir("/"))}
        if os.path.exists("/config/app.txt"): what["config"] = open("/config/app.txt").read()
        for path in ("/models/model.bin", "/app/one.bin"):
            if os.path.exists(path): what[path] = [open(path).read(), os.access(path, os.W_OK), os.access(os.path.dirname(path), os.W_OK)]
        try: open("/app/x", "w"); what["writable"] = True
        except OSError: what["writable"] = False
        body = json.dumps(what).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
def term(*_):
    print("asked to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else term)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@dataclass
class DictStore:
    """As much of an OciStore as reading an image needs."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, data: bytes) -> str:
        """Hold bytes under their digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def manifest(self, _repository: str, reference: str) -> StoredManifest | None:
        """Return a manifest by digest."""
        data = self.blobs.get(reference)
        return None if data is None else StoredManifest(MANIFEST, reference, data)

    def open_blob(self, _repository: str, digest: str) -> BinaryIO:
        """Open a blob."""
        return io.BytesIO(self.blobs[digest])

    def read_blob(self, _repository: str, digest: str, _limit_bytes: int = 0) -> bytes:
        """Return a blob."""
        return self.blobs[digest]

    def image(self, files: dict[str, str], labels: dict[str, str] | None = None, **run: Any) -> str:
        """Store an image of one layer and return its reference."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(text.encode()), 0o644
                archive.addfile(member, io.BytesIO(text.encode()))
        layer = self.add(buffer.getvalue())
        labels = {"dev.setpoint.base": "host", "dev.setpoint.host.python": "3.11.9"} if labels is None else labels
        config = {"os": "linux", "architecture": PLATFORM.partition("/")[2], "config": {"Labels": labels, **run}}
        manifest = {
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.add(json.dumps(config).encode())},
            "layers": [{"mediaType": LAYER, "digest": layer}],
        }
        return f"hello/web@{self.add(json.dumps(manifest).encode())}"

    def file(self, title: str, data: bytes) -> str:
        """Store an artifact that is a file and return its reference."""
        layers = [{"mediaType": "x/y", "digest": self.add(data), "annotations": {TITLE: title}}]
        config = {"mediaType": EMPTY, "digest": self.add(b"{}")}
        return f"hello/model@{self.add(json.dumps({'mediaType': MANIFEST, 'config': config, 'layers': layers}).encode())}"


@dataclass
class Host:
    """A home's work folders and what is started in them."""

    folder: Path
    store: DictStore
    vault: Vault | None = None

    def runtime(self) -> HostRuntime:
        """A runtime as a (re)started server would build it."""
        folders = HostFolders(self.folder / "replicas", self.folder / "images")
        return HostRuntime(folders, cast(OciStore, self.store), lambda: FACTS, UID, vault=self.vault)

    def spec(self, name: str, runtime: HostRuntime, **container: Any) -> ReplicaSpec:
        """A replica of the little web server."""
        image = self.store.image(
            {"app/main.py": APP}, Entrypoint=["python3", "-u", "/app/main.py"], Cmd=["from-image"], Env=["COLOUR=red", "A=1"]
        )
        defaults = Container("web", image, None, None, {"COLOUR": "blue"}, {}, 8080, None, None)
        identity = Identity("hello", "staging", "abc123", "sha256:aa", "p-1", "1.0")
        return ReplicaSpec(name, "web", "h1", runtime.free_port(), replace(defaults, **container), identity, 5.0)


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Return the condition's first true value; fail after the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def one(runtime: HostRuntime, name: str) -> ReplicaStatus:
    """The status of a replica that has a folder."""
    return next(status for status in runtime.replicas() if status.spec.replica == name)


def serving(runtime: HostRuntime, name: str) -> ReplicaStatus:
    """Wait until the replica is ready."""
    wait_for(lambda: runtime.ready(one(runtime, name), Probe("/"))[0])
    return one(runtime, name)


def get(status: ReplicaStatus) -> dict[str, Any]:
    """Ask a replica what it sees."""
    with urllib.request.urlopen(f"http://127.0.0.1:{status.spec.port}/", timeout=5) as answer:
        return cast("dict[str, Any]", json.load(answer))


def log(runtime: HostRuntime, name: str) -> str:
    """All that a replica has said."""
    return "".join(path.read_text() for path in runtime.log(name))
