"""Images for a test cluster, made without any container tool: one layer of named files as a docker archive that containerd imports.

Called by `cluster` and by tests; the machine has no network to pull from.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp")
_ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}


@dataclass(frozen=True, slots=True)
class Image:
    """What is in an image, and what it runs."""

    reference: str
    """`localhost/pause:1`"""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    """path in the image -> file here"""
    links: Mapping[str, str] = field(default_factory=dict)
    """path in the image -> target"""


def pause() -> Image:
    """Return the image of a pod's sandbox: a program that sleeps."""
    return Image("localhost/pause:1", ("/bin/busybox", "sleep", "2147483647"), files={"bin/busybox": busybox_program()})


def busybox() -> Image:
    """Return an image with a shell and busybox's commands."""
    program = busybox_program()
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = {f"bin/{name}": "/bin/busybox" for name in names if name != "busybox"}
    return Image("localhost/busybox:1", command=("/bin/sh",), files={"bin/busybox": program}, links=links)


def busybox_program() -> Path:
    """Return the static busybox of this machine.

    Raises:
        FileNotFoundError: the package busybox-static is not installed.
    """
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox: install the package busybox-static")
    return Path(found)


def write(image: Image, archive: Path) -> None:
    """Write an image as a docker archive; the same content gives the same bytes."""
    layer = _layer(image)
    diff = hashlib.sha256(layer).hexdigest()
    settings = {"Entrypoint": list(image.entrypoint) or None, "Cmd": list(image.command) or None, "Env": ["PATH=/bin"], "WorkingDir": "/"}
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": settings, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]}}
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [image.reference], "Layers": [f"{diff}/layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as out:
        for path, data in ((name, config), (f"{diff}/layer.tar", layer), ("manifest.json", manifest)):
            _add(out, path, data, 0o644)


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for folder in _FOLDERS:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            out.addfile(info)
        for path, data in _ACCOUNTS.items():
            _add(out, path, data, 0o644)
        for path, file in sorted(image.files.items()):
            _add(out, path, file.read_bytes(), 0o755)
        for path, target in sorted(image.links.items()):
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            out.addfile(info)
    return buffer.getvalue()


def _add(out: tarfile.TarFile, path: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    out.addfile(info, io.BytesIO(data))
