"""Renders as small compressed files named by their keys, bounded; fills reconcile.ports.RenderStore.

Built by wiring. Entries are a cache: one that is torn, foreign or gone is rendered again, so nothing is synced to the disk.
"""

import contextlib
import os
import re
import secrets
import threading
import zlib
from pathlib import Path
from typing import Final

from setpoint.retention.model import Thing

_NAME: Final = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})")
_LARGEST_BYTES: Final = 64 << 20
_SUFFIX: Final = ".json.z"
_ROOM: Final = 0.8
"""What is left of the bound after making room: not one file for each new one."""


class RenderFolder:
    """`<2 hex>/<64 hex>.json.z` below root, the least recently used removed when there are more than limit_bytes."""

    def __init__(self, root: Path, limit_bytes: int = 256 << 20) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._size: int | None = None
        """Bytes in the folder; None until the first write of this process."""
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a name; None when there is nothing, or nothing that can be read."""
        place = self._place(key)
        try:
            with place.open("rb") as file:
                packed = file.read(_LARGEST_BYTES)
            os.utime(place)
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(packed, _LARGEST_BYTES)
        except (OSError, zlib.error):
            return None
        return data if unpacker.eof else None

    def put(self, key: str, data: bytes) -> None:
        """Keep a render; a full disk only costs the next render."""
        place, packed = self._place(key), zlib.compress(data, 1)
        scratch = place.with_name(f".{secrets.token_hex(8)}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(packed)
            scratch.replace(place)
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            return
        with self._lock:
            self._size = self._size + len(packed) if self._size is not None else sum(size for _, size, _ in self._listing())
            if self._size > self._limit_bytes:
                self._make_room()

    def things(self) -> list[Thing]:
        """Return every render with its last use, what a killed writer left too (garbage collection)."""
        return [Thing(path.relative_to(self._root).as_posix(), size, used) for used, size, path in self._listing()]

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete a render unless it was used since; returns its bytes. One that is read meanwhile is made again, no more."""
        place = self._root / name
        with contextlib.suppress(FileNotFoundError):
            facts = place.stat()
            if facts.st_mtime < unused_since:
                place.unlink()
                return facts.st_size
        return None

    def _make_room(self) -> None:
        entries = sorted(self._listing())
        left = sum(size for _, size, _ in entries)
        for _used, size, path in entries:
            if left <= self._limit_bytes * _ROOM:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            left -= size
        self._size = left

    def _listing(self) -> list[tuple[float, int, Path]]:
        """Return (last used, bytes, path) of every file, left-over scratch files too."""
        found = []
        for path in self._root.glob("??/*"):
            with contextlib.suppress(OSError):
                info = path.stat()
                found.append((info.st_mtime, info.st_size, path))
        return found

    def _place(self, key: str) -> Path:
        match = _NAME.fullmatch(key)
        if match is None:
            raise ValueError(key)
        name = match["hex"]
        return self._root / name[:2] / f"{name}{_SUFFIX}"
