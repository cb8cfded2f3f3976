"""A task's two output pipes become log records: masked, decoded, cut into lines, numbered, bounded.

Called by the runner for every chunk it reads; never holds more than one line, and never more than 1 MiB of it. Standard library only.
"""

import codecs
from collections.abc import Callable, Iterable
from typing import Final, Literal

from setpoint.adapters.masking import Masker

LINE_LIMIT: Final = 1 << 20
"""Characters; a longer line is cut into several records, of which only the last ends with a newline."""

Record = list[object]
"""[seq, at, stream, text], as it crosses the socket."""
Stream = Literal["out", "err"]


class _Pipe:
    """What is pending of one stream: bytes that may begin a secret, half a character, a line without its end."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.masker = Masker(secrets)
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.pieces: list[str] = []
        self.length = 0

    def take(self) -> str:
        """Return the pending part of a line and forget it."""
        text = "".join(self.pieces)
        self.pieces, self.length = [], 0
        return text


class TaskOutput:
    """Numbers the records of one task; `text` of complete lines ends with a newline, so joined texts are the output itself."""

    def __init__(self, secrets: Iterable[str], quota_bytes: int, now: Callable[[], str]) -> None:
        known = tuple(secrets)
        self._pipes: dict[Stream, _Pipe] = {"out": _Pipe(known), "err": _Pipe(known)}
        self._left = quota_bytes
        self._quota = quota_bytes
        self._full = False
        self._now = now
        self._seq = 0

    @property
    def partial(self) -> bool:
        """Whether a line without its end is waiting to be shown."""
        return any(pipe.length for pipe in self._pipes.values())

    def feed(self, stream: Stream, data: bytes) -> list[Record]:
        """Return the records that a chunk completes; beyond the quota nothing but one note."""
        if self._full:
            return []
        pipe = self._pipes[stream]
        return self._add(stream, pipe, pipe.masker.feed(data))

    def show_partial(self) -> list[Record]:
        """Return unfinished lines as records, so that a progress bar is live."""
        return [self._record(stream, pipe.take()) for stream, pipe in self._pipes.items() if pipe.length]

    def finish(self) -> list[Record]:
        """Return what is left when the task has ended."""
        records: list[Record] = []
        for stream, pipe in self._pipes.items():
            if not self._full:
                records += self._add(stream, pipe, pipe.masker.finish())
            if not self._full:
                records += self._cut(stream, pipe, pipe.decoder.decode(b"", final=True))
        return records + self.show_partial()

    def note(self, text: str) -> list[Record]:
        """Return a sentence of Setpoint's own as a record, after what is pending."""
        return [*self.show_partial(), self._record("note", text + "\n")]

    def _add(self, stream: Stream, pipe: _Pipe, data: bytes) -> list[Record]:
        kept = data[: self._left]
        self._left -= len(kept)
        records = self._cut(stream, pipe, pipe.decoder.decode(kept))
        if len(kept) < len(data):
            self._full = True
            records += self.note(f"the log is full: output beyond {self._quota} bytes is not kept, the task runs on")
        return records

    def _cut(self, stream: Stream, pipe: _Pipe, text: str) -> list[Record]:
        """Append text to the pending line and return the records this completes."""
        records: list[Record] = []
        *lines, rest = text.split("\n")
        if pipe.length + len(lines[0] if lines else rest) > LINE_LIMIT:
            records.append(self._record(stream, pipe.take()))
        at = self._now() if lines else ""
        for line in lines:
            pipe.pieces += (line, "\n")
            self._seq += 1
            records.append([self._seq - 1, at, stream, pipe.take()])
        if rest:
            pipe.pieces.append(rest)
            pipe.length += len(rest)
        return records

    def _record(self, stream: str, text: str) -> Record:
        self._seq += 1
        return [self._seq - 1, self._now(), stream, text]
