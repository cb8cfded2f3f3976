"""One log file per task of a run, a JSON object a line; fills `TaskLogs`.

Built by wiring; appended by the pipeline, read by API and pages. Numbers ascend from line to line, so a reader finds its place by
bisection over byte offsets: no index to keep, and a million lines cost twenty seeks. Never fsynced: logs may be lost (law 4).
"""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote, unquote

from setpoint.pipeline.model import LogRecord
from setpoint.retention.model import Thing

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_OPEN_FILES: Final = 64
_TAIL_BYTES: Final = 16 << 20
"""More than the longest line (see `runner.output.LINE_LIMIT`)."""
_NEAR_BYTES: Final = 64 << 10
_READ_LETTERS: Final = 8 << 20
"""A read ends after about this much text: lines may be long, and an answer has to fit into memory and on the wire."""
"""A stretch this short is read through instead of bisected further."""


@dataclass(slots=True)
class _Writer:
    descriptor: int
    last_seq: int


class TaskLogFolder:
    """`<run>/<task>.jsonl` below root; appends may come from any thread, and each calls `grown`."""

    def __init__(self, root: Path, grown: Callable[[], None] = lambda: None) -> None:
        self._root = root
        self._grown = grown
        self._writers: OrderedDict[Path, _Writer] = OrderedDict()
        self._lock = threading.Lock()

    def append(self, run: str, task: str, records: Sequence[LogRecord]) -> None:
        """Append records in one write; one whose seq does not ascend gets the next number, so that no reader overlooks it."""
        lines: list[str] = []
        with self._lock:
            writer = self._writer(self._place(run, task))
            for record in records:
                writer.last_seq = max(record.seq, writer.last_seq + 1)
                line = {"seq": writer.last_seq, "at": record.at, "stream": record.stream, "text": record.text}
                lines.append(_ENCODER.encode(line) + "\n")
            view = memoryview("".join(lines).encode(errors="replace"))
            while view:
                view = view[os.write(writer.descriptor, view) :]
        self._grown()

    def read(self, run: str, task: str, after_seq: int = -1, limit: int = 10_000) -> list[LogRecord]:
        """Return records with seq > after_seq: at most limit, fewer when they are long, none only at the end of the log."""
        found: list[LogRecord] = []
        letters = 0
        try:
            with self._place(run, task).open("rb") as file:
                file.seek(_bisect(file, after_seq) if after_seq >= 0 else 0)
                for record in _records(file):
                    if len(found) >= limit or letters >= _READ_LETTERS:
                        break
                    if record.seq > after_seq:
                        found.append(record)
                        letters += len(record.text)
        except FileNotFoundError:
            return []
        return found

    def truncate(self, run: str, task: str) -> None:
        """Start the log anew, when a task is run again after a crash."""
        place = self._place(run, task)
        with self._lock:
            writer = self._writers.pop(place, None)
            if writer is not None:
                os.close(writer.descriptor)
            place.unlink(missing_ok=True)

    def things(self) -> list[Thing]:
        """Return the runs that have logs, with their size and last line (garbage collection)."""
        found: list[Thing] = []
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(FileNotFoundError, NotADirectoryError):
                facts = [path.stat() for path in folder.iterdir()]
                used = max((fact.st_mtime for fact in facts), default=folder.stat().st_mtime)
                found.append(Thing(unquote(folder.name), sum(fact.st_size for fact in facts), used))
        return found

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete the logs of a run unless something was written since; returns their bytes."""
        folder = self._root / _file_name(name)
        with self._lock, suppress(FileNotFoundError):
            facts = {path: path.stat() for path in folder.iterdir()}
            if any(fact.st_mtime >= unused_since for fact in facts.values()):
                return None
            for path in facts:
                writer = self._writers.pop(path, None)
                if writer is not None:
                    os.close(writer.descriptor)
                path.unlink()
            folder.rmdir()
            return sum(fact.st_size for fact in facts.values())
        return None

    def close(self) -> None:
        """Close the files that are open for appending."""
        with self._lock:
            while self._writers:
                os.close(self._writers.popitem()[1].descriptor)

    def _writer(self, place: Path) -> _Writer:
        """Return the open file of a log, the least recently used one closed for it if there are many."""
        if place in self._writers:
            self._writers.move_to_end(place)
            return self._writers[place]
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if len(self._writers) >= _OPEN_FILES:
            os.close(self._writers.popitem(last=False)[1].descriptor)
        writer = self._writers[place] = _Writer(descriptor, _last_seq(descriptor))
        return writer

    def _place(self, run: str, task: str) -> Path:
        return self._root / _file_name(run) / f"{_file_name(task)}.jsonl"


def _file_name(text: str) -> str:
    """Return a name as one file name: percent-encoded, a leading dot too."""
    name = quote(text, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


def _last_seq(descriptor: int) -> int:
    """Return the last number of a log, -1 when it is empty; a line torn by a crash is ended, and skipped by readers."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    if tail and not tail.endswith(b"\n"):
        os.write(descriptor, b"\n")
    for line in reversed(tail.splitlines()):
        record = _parse(line)
        if record is not None:
            return record.seq
    return -1


def _bisect(file: BinaryIO, seq: int) -> int:
    """Return an offset at which a line begins, at or shortly before the first line whose number exceeds seq."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        start = file.tell()
        record = next(_records(file), None)
        if start >= high or record is None:
            # One line reaches from the middle beyond the end of the stretch: read through what is before it.
            high = middle
        elif record.seq > seq:
            high = middle
        else:
            low = start
    return low


def _records(file: BinaryIO) -> Iterator[LogRecord]:
    """Yield the readable records from the present offset on; a line that is still being written ends them."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            return
        record = _parse(line)
        if record is not None:
            yield record


def _parse(line: bytes) -> LogRecord | None:
    try:
        value = json.loads(line)
        return LogRecord(int(value["seq"]), str(value["at"]), value["stream"], str(value["text"]))
    except (ValueError, KeyError, TypeError):
        return None
