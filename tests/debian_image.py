"""An image for tasks and their helpers, made from this machine's own packages: a shell, the basic commands, and python3.

Used by the tests of executors on a cluster; nothing is downloaded. It is pushed to a test's own registry and named by digest.
"""

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXTRA = ("/usr/bin/setsid",)
"""Of packages that are not wanted whole."""
PACKAGES = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "python3-minimal",
    "libc6",
    "dash",
    "coreutils",
    "sed",
    "grep",
)
_LEFT_OUT = re.compile(
    r"/usr/share/|/gconv/|__pycache__|/ensurepip/|/lib2to3/|/idlelib/|/pydoc_data/|/config-3|/python3[.0-9]+/test/|/unittest/|/distutils/|/etc/"
)
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "usr/bin/sh": "dash"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"


def push(registry: str, repository: str) -> str:
    """Push the image to a plain-HTTP registry without accounts and return its reference by digest."""
    layer = _layer()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [_PATH]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    parts = []
    for data, kind in (
        (json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        (gzip.compress(layer, 1, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"),
    ):
        _upload(f"http://{registry}/v2/{repository}", data)
        parts.append({"mediaType": kind, "digest": _digest(data), "size": len(data)})
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": parts[0], "layers": parts[1:]}).encode()
    _send("PUT", f"http://{registry}/v2/{repository}/manifests/{_digest(manifest)}", manifest, _MANIFEST)
    return f"{registry}/{repository}@{_digest(manifest)}"


def _upload(place: str, data: bytes) -> None:
    started = _send("POST", f"{place}/blobs/uploads/", b"", "application/octet-stream")
    where = str(started["Location"])
    _send("PUT", f"{where}{'&' if '?' in where else '?'}digest={_digest(data)}", data, "application/octet-stream")


def _send(method: str, url: str, data: bytes, kind: str) -> Any:
    request = urllib.request.Request(url, data, {"Content-Type": kind, "Content-Length": str(len(data))}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name in ("usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "tmp", "work"):
            _add(tar, name, tarfile.DIRTYPE, 0o755)
        for name, target in _LINKS.items():
            _add(tar, name, tarfile.SYMTYPE, 0o777, target)
        for name, source in sorted(_files().items()):
            if source.is_symlink():
                _add(tar, name, tarfile.SYMTYPE, 0o777, str(source.readlink()))
            else:
                member = tarfile.TarInfo(name)
                member.size, member.mode = source.stat().st_size, 0o755 if source.stat().st_mode & 0o100 else 0o644
                with source.open("rb") as file:
                    tar.addfile(member, file)
    return raw.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes, mode: int, target: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname = kind, mode, target
    tar.addfile(member)


def _files() -> dict[str, Path]:
    """Return path in the image -> file here: what the packages have, and the libraries that it is linked with."""
    listed = subprocess.run(["dpkg", "-L", *PACKAGES], capture_output=True, text=True, check=True).stdout.split("\n")
    found: dict[str, Path] = {}
    for line in listed:
        path = Path(line)
        if line.startswith("/") and not _LEFT_OUT.search(line) and (path.is_symlink() or path.is_file()):
            found[_inside(line)] = path
    found |= {_inside(name): Path(name) for name in EXTRA}
    linked = [str(path) for path in found.values() if not path.is_symlink() and _is_program(path)]
    for library in _libraries(linked):
        found[_inside(library)] = Path(library).resolve()
    for name in ("usr/bin/sh", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        found.pop(name, None)
    return found


def _inside(path: str) -> str:
    """Return a path below /usr, for the folders above are links there."""
    bare = path.removeprefix("/")
    return bare if bare.startswith("usr/") else f"usr/{bare}"


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs: list[str]) -> Iterator[str]:
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    yield from set(re.findall(r"(?:=> |\t)(/\S+) \(0x", listed))
