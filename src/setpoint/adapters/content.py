"""Bytes by digest on disk: task outputs and reports; fills `ContentStore`.

Built by wiring and by the signer (reading); a file appears under its digest only when it is whole and on the disk, and never changes.
"""

import hashlib
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from setpoint.adapters.oci import durable
from setpoint.core import digest as digests
from setpoint.core.errors import NotFoundError, WorldError
from setpoint.pipeline.model import StoredFile
from setpoint.retention.model import Thing

_PREFIX: Final = "sha256:"


class ContentFolder:
    """`sha256/<2 hex>/<64 hex>` below root, and `scratch/` in the same file system for what is not finished."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / "scratch"
        self._lock = threading.Lock()

    def put(self, data: bytes) -> StoredFile:
        """Store bytes.

        Raises:
            WorldError: the disk refused (SP219).
        """
        path = self.scratch()
        try:
            path.write_bytes(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _refused(error) from error
        return self._move_in(path, digests.sha256(data), len(data))

    def put_file(self, path: Path) -> StoredFile:
        """Move a finished file in (same file system); it is gone from `path`.

        Raises:
            WorldError: the disk refused (SP219).
        """
        with path.open("rb") as file:
            hasher = hashlib.file_digest(file, "sha256")
            size = file.tell()
        return self._move_in(path, _PREFIX + hasher.hexdigest(), size)

    def _move_in(self, path: Path, digest: str, size_bytes: int) -> StoredFile:
        target = self._place(digest)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o400)
            os.utime(path)
            _sync(path)
            with self._lock:
                path.replace(target)
            _sync(target.parent)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _refused(error) from error
        return StoredFile(digest, size_bytes)

    def path(self, digest: str) -> Path | None:
        """Return where the bytes lie, None when they are not here; who asks may rely on them, so that counts as a use."""
        if not digests.is_digest(digest) or not digest.startswith(_PREFIX):
            return None
        place = self._place(digest)
        with self._lock:
            return place if durable.mark_used(place) else None

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes.

        Raises:
            NotFoundError: they are not here (SP214).
        """
        place = self.path(digest)
        if place is None:
            raise NotFoundError("SP214", f"the content {digests.short(digest)} is not stored here", where=digest, fix="run the task again")
        return place.open("rb")

    def scratch(self) -> Path:
        """Return a fresh file name in the store's own file system, for `put_file`."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch / secrets.token_hex(12)

    def sweep(self) -> int:
        """Delete what a killed server left unfinished; returns how many files. Only the writer may call it, before it writes."""
        names = list(self._scratch.iterdir()) if self._scratch.is_dir() else []
        for name in names:
            name.unlink(missing_ok=True)
        return len(names)

    def things(self) -> list[Thing]:
        """Return everything that is stored, with its last use (garbage collection)."""
        found: list[Thing] = []
        for path in (self._root / "sha256").glob("*/*"):
            with suppress(FileNotFoundError):
                facts = path.stat()
                found.append(Thing(_PREFIX + path.name, facts.st_size, facts.st_mtime))
        return found

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete bytes unless they were used since; returns how many."""
        place = self._place(name)
        with self._lock, suppress(FileNotFoundError):
            facts = place.stat()
            if facts.st_mtime < unused_since:
                place.unlink()
                return facts.st_size
        return None

    def _place(self, digest: str) -> Path:
        text = digest.removeprefix(_PREFIX)
        return self._root / "sha256" / text[:2] / text


def _sync(path: Path) -> None:
    """Write a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(error: OSError) -> WorldError:
    return WorldError("SP219", f"the content store cannot be written: {error.strerror}", fix="make room on the disk of the home")
