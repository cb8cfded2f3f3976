"""The part of a task's log that a page shows: at most two thousand lines, with what lies before and after it.

Called by the run page; reads through the same port as the API and never loads a whole log.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from setpoint.pipeline.model import LogRecord
from setpoint.web.ansi import Painter, Segment

PAGE_LINES: Final = 2000

Read = Callable[[int, int], list[LogRecord]]
"""(after_seq, limit) -> records with seq > after_seq"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it is drawn."""

    number: int
    """1-based and stable: the record's seq + 1."""
    stream: str
    at: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class LogPage:
    """A window of a log."""

    lines: tuple[Line, ...]
    last: int
    """Highest seq of the log when it was read; -1 when it is empty."""
    after: int
    """The window shows what has a seq beyond this."""

    @property
    def shown_until(self) -> int:
        """Highest seq in the window."""
        return self.lines[-1].number - 1 if self.lines else self.after

    @property
    def more(self) -> int:
        """How many lines follow the window."""
        return max(0, self.last - self.shown_until)


def last_seq(read: Read) -> int:
    """Return the highest seq of a log, -1 when it is empty, by galloping and bisection: some forty one-line reads."""
    low, step = -1, 1
    while read(low + step - 1, 1):
        low, step = low + step, step * 2
    high = low + step
    while low < high - 1:
        middle = (low + high) // 2
        if read(middle - 1, 1):
            low = middle
        else:
            high = middle
    return low


def page(read: Read, after: int | None) -> LogPage:
    """Return the window that begins past `after`; None is the end of the log."""
    last = last_seq(read)
    start = max(-1, last - PAGE_LINES) if after is None else max(-1, after)
    painter = Painter()
    records = read(start, PAGE_LINES)
    lines = tuple(Line(record.seq + 1, record.stream, record.at, tuple(painter.paint(record.text))) for record in records)
    return LogPage(lines, max(last, lines[-1].number - 1 if lines else -1), start)
