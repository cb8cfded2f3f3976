"""Files that are whole or absent, also after a power cut; called by the OCI store and by what keeps bytes by digest, knows nothing of OCI.

Order after each write: contents, fsync of the file, rename into place, fsync of the folder. It never rewrites a file in place.
"""

import os
import time
from pathlib import Path
from typing import Final

_MARK_S: Final = 3600
"""A use is noted at most once in this time: much less than anything that asks for it."""


def mark_used(path: Path) -> bool:
    """Note that somebody relies on a file (its modification time, for contents never change); False when it is not there.

    A process that may only read notes nothing.
    """
    try:
        if time.time() - path.stat().st_mtime > _MARK_S:
            os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    return True


def sync_file(path: Path) -> None:
    """Make a file's contents durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable in the one above it."""
    if folder.is_dir():
        return
    ensure_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def move_in(finished: Path, target: Path) -> None:
    """Rename a file that is already written (same file system) to its place, durably; an equal name is replaced."""
    sync_file(finished)
    ensure_folder(target.parent)
    finished.replace(target)
    sync_folder(target.parent)


def write(scratch: Path, target: Path, data: bytes) -> None:
    """Write bytes under a scratch name and move them to their place; the scratch name is gone afterwards, whatever happens."""
    try:
        scratch.write_bytes(data)
        move_in(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def remove(path: Path) -> bool:
    """Delete a file durably; False when it was not there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True
