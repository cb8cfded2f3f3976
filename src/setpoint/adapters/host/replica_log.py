"""Reading what a replica has written: the end of it, what an earlier process wrote, and what comes, across turned-over files.

Called by the API; the shim writes (`shim_log`). A reader never holds a file open and never reads more than it was asked for.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from setpoint.adapters.host.shim_log import RESTARTED

_CHUNK_BYTES: Final = 1 << 20


def tail(paths: Sequence[Path], limit_bytes: int) -> str:
    """Return the last bytes of files, oldest first, as text."""
    parts: list[bytes] = []
    left = limit_bytes
    for path in reversed(paths):
        part = _end(path, left)
        parts.append(part)
        left -= len(part)
        if left <= 0:
            break
    return b"".join(reversed(parts)).decode(errors="replace")


def previous(text: str) -> str:
    """Return what the process before the present one wrote, as far as the text reaches; empty when there was none."""
    lines = text.splitlines(keepends=True)
    starts = [index for index, line in enumerate(lines) if line.startswith(RESTARTED)]
    if not starts:
        return ""
    first = starts[-2] + 1 if len(starts) > 1 else 0
    return "".join(lines[first : starts[-1] + 1])


def _end(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit_bytes))
            return file.read(limit_bytes)
    except FileNotFoundError:
        return b""


class Follower:
    """Where a reader of a replica's log stands: a file, by its inode, and a place in it."""

    def __init__(self, folder: Path) -> None:
        """Begin at the end of what is there."""
        self._folder = folder
        self._inode, self._offset = _standing(folder / "log")

    def read(self) -> str:
        """Return what was written since the last look, at most a mebibyte; a turned-over file is read to its end first."""
        current = self._folder / "log"
        inode, _ = _standing(current)
        path = current
        if inode != self._inode:
            older = [entry for entry in self._folder.glob("log.*") if _standing(entry)[0] == self._inode]
            path = older[0] if older else current
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino != self._inode:
                    self._inode, self._offset = os.fstat(file.fileno()).st_ino, 0
                file.seek(self._offset)
                data = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            return ""
        self._offset += len(data)
        if not data and path != current:
            self._inode, self._offset = inode, 0
            return self.read()
        return data.decode(errors="replace")


def _standing(path: Path) -> tuple[int, int]:
    """Return (inode, size) of a file, zeros when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size
