"""A root file system with nothing but a static busybox, as tests build images on it."""

import tarfile
from pathlib import Path


def busybox_entries(busybox: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the entries of a layer that holds it."""
    entries = []
    for name in ("bin", "www", "etc", "tmp"):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        entries.append((folder, b""))
    program = tarfile.TarInfo("bin/busybox")
    program.mode = 0o755
    return [*entries, (program, busybox.read_bytes())]
