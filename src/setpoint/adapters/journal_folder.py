"""Journal storage in a folder: append-only segments of lines, fsynced before an append returns; fills `JournalStorage`.

A half-written last line (power loss) was never acknowledged: it is set aside in a `.torn` file and the segment is cut before it. One that
lacks nothing but its line end is whole, may have been acknowledged, and is kept.
Built by wiring for the server (writer) and by the signer process (reader); it never rewrites a complete line.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from setpoint.core.errors import WorldError
from setpoint.ground.journal.model import parse

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 8 << 20


class JournalFolder:
    """Segments named by the index of their first entry: `000000000000.log`, `000000004711.log`."""

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self._folder = folder
        self._after: tuple[int, Path | None, int] = (0, None, 0)
        """Where the last whole read ended: (index of the next entry, its segment, offset in it); who reads on need not count lines."""
        if writable:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._mend_tail()

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    def _mend_tail(self) -> None:
        """Mend what a crash left of an append: an entry that lacks only its newline is completed, anything less is set aside."""
        segments = self._segments()
        if not segments:
            return
        last = segments[-1]
        data = last.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return
        if _is_entry(data[whole:]):
            log.warning("the last entry of the journal lacked its line end; it is completed: %s", last)
            self._complete(last)
            return
        torn = last.with_suffix(f".{whole}.torn")
        torn.write_bytes(data[whole:])
        log.warning("the journal ended in the middle of an entry; the piece is set aside in %s", torn)
        with last.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())

    @staticmethod
    def _complete(segment: Path) -> None:
        with segment.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Yield the complete lines from entry `start` on; a torn tail is not yielded."""
        segments = self._segments()
        for position, segment in enumerate(segments):
            index = int(segment.stem)
            following = int(segments[position + 1].stem) if position + 1 < len(segments) else None
            if following is not None and following <= start:
                continue
            with segment.open("rb") as file:
                index, place = self._near(segment, index, start, os.fstat(file.fileno()).st_size)
                file.seek(place)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    index, place = index + 1, place + len(line)
                    if index > start:
                        yield line[:-1]
            self._after = (index, segment, place)

    def _near(self, segment: Path, first: int, start: int, size_bytes: int) -> tuple[int, int]:
        """Return (index, offset) of a line of the segment at or before `start`: its first, or where the last read ended."""
        known, place, offset = self._after
        return (known, offset) if place == segment and known <= start and offset <= size_bytes else (first, 0)

    def place(self, index: int) -> str:
        """Return file and line of an entry."""
        before = [segment for segment in self._segments() if int(segment.stem) <= index]
        if not before:
            return str(self._folder)
        return f"{before[-1]}:{index - int(before[-1].stem) + 1}"

    def append(self, first_index: int, lines: list[bytes]) -> None:
        """Write lines and fsync.

        Raises:
            WorldError: the disk refused (SP002); what was written of them is cut again.
        """
        segments = self._segments()
        fresh = not segments or segments[-1].stat().st_size >= SEGMENT_BYTES
        segment = self._folder / f"{first_index:012d}.log" if fresh else segments[-1]
        descriptor = os.open(segment, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            data = b"".join(line + b"\n" for line in lines)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError as error:
                os.ftruncate(descriptor, size)
                fix = "make room on the disk of the home; nothing was lost, the entry was not written"
                raise WorldError("SP002", f"the journal cannot be written: {error.strerror}", where=str(segment), fix=fix) from error
        finally:
            os.close(descriptor)
        if size == 0:
            # Also after a first append that failed: until its name is synced, a segment may be gone after a power loss.
            self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_entry(data: bytes) -> bool:
    try:
        parse(data)
    except (ValueError, TypeError):
        return False
    return True
