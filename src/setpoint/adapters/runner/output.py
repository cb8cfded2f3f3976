"""A task's two output pipes become log records: masked, decoded, cut into lines, numbered, bounded.

Called by the runner for every chunk it reads; never holds more than one line, and never more than 1 MiB of it. A log that is too long keeps
its beginning and its end: what comes after the beginning goes undecoded into a ring, at the speed of the pipe. Standard library only.
"""

import codecs
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

from setpoint.adapters.masking import Masker

LINE_LIMIT: Final = 1 << 20
"""Characters; a longer line is cut into several records, of which only the last ends with a newline."""

LINE_COST: Final = 64
"""What a line costs of the quota beside its text: about what it costs in the log's file."""
_END_BYTES: Final = 4 << 20

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
        self._end_bytes = min(_END_BYTES, quota_bytes // 4)
        self._left = quota_bytes - self._end_bytes
        self._full = False
        self._ring: deque[tuple[Stream, str, bytes]] = deque()
        """The last chunks beyond the beginning, each with when it came."""
        self._ring_bytes = self._lost_bytes = 0
        self._now = now
        self._seq = 0

    @property
    def full(self) -> bool:
        """Whether only the end is kept by now."""
        return self._full

    @property
    def partial(self) -> bool:
        """Whether a line without its end is waiting to be shown."""
        return any(pipe.length for pipe in self._pipes.values())

    def feed(self, stream: Stream, data: bytes) -> list[Record]:
        """Return the records that a chunk completes; beyond the beginning one note, and then nothing before the end."""
        pipe = self._pipes[stream]
        return self._add(stream, pipe, pipe.masker.feed(data))

    def show_partial(self) -> list[Record]:
        """Return unfinished lines as records, so that a progress bar is live."""
        return [self._record(stream, pipe.take()) for stream, pipe in self._pipes.items() if pipe.length]

    def finish(self) -> list[Record]:
        """Return what is left when the task has ended."""
        records: list[Record] = []
        for stream, pipe in self._pipes.items():
            records += self._add(stream, pipe, pipe.masker.finish())
        if self._lost_bytes:
            records += self.note(f"{self._lost_bytes} bytes of output are missing here; this is how it ended:")
        while self._ring:
            stream, at, data = self._ring.popleft()
            pipe = self._pipes[stream]
            records += self._cut(stream, pipe, pipe.decoder.decode(data), at)
        for stream, pipe in self._pipes.items():
            records += self._cut(stream, pipe, pipe.decoder.decode(b"", final=True))
        return records + self.show_partial()

    def note(self, text: str) -> list[Record]:
        """Return a sentence of Setpoint's own as a record, after what is pending."""
        return [*self.show_partial(), self._record("note", text + "\n")]

    def _add(self, stream: Stream, pipe: _Pipe, data: bytes) -> list[Record]:
        if self._full:
            self._keep_end(stream, data)
            return []
        kept = data[: max(0, self._left)]
        self._left -= len(kept) + LINE_COST * kept.count(b"\n")
        records = self._cut(stream, pipe, pipe.decoder.decode(kept))
        if len(kept) < len(data) or self._left < 0:
            self._full = True
            records += self.note(f"the log is full: of what follows the last {self._end_bytes} bytes are kept and shown at the end")
            self._keep_end(stream, data[len(kept) :])
        return records

    def _keep_end(self, stream: Stream, data: bytes) -> None:
        """Put a chunk into the ring; what falls out of it is lost, and counted."""
        if data:
            self._ring.append((stream, self._now(), data))
            self._ring_bytes += len(data)
        while self._ring_bytes > self._end_bytes:
            stream, at, oldest = self._ring.popleft()
            excess = min(self._ring_bytes - self._end_bytes, len(oldest))
            self._ring_bytes -= excess
            self._lost_bytes += excess
            if excess < len(oldest):
                self._ring.appendleft((stream, at, oldest[excess:]))

    def _cut(self, stream: Stream, pipe: _Pipe, text: str, at: str = "") -> list[Record]:
        """Append text to the pending line and return the records this completes."""
        records: list[Record] = []
        *lines, rest = text.split("\n")
        if pipe.length + len(lines[0] if lines else rest) > LINE_LIMIT:
            records.append(self._record(stream, pipe.take()))
        at = at or (self._now() if lines else "")
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
