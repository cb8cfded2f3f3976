"""What the journal needs from outside, and what the stages need from the journal."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from setpoint.ground.journal.model import Entry, Fact


class JournalStorage(Protocol):
    """A durable, append-only list of lines; a folder of segments now, an object store later."""

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Yield the stored lines (without newline) from entry `start` on, in order."""
        ...

    def place(self, index: int) -> str:
        """Return where entry `index` is or would be stored, for people: `.../journal/000000000000.log:5`."""
        ...

    def append(self, first_index: int, lines: list[bytes]) -> None:
        """Make lines durable (fsync) at first_index, all or none visible to a later `read`."""
        ...


class Recorder(Protocol):
    """The one way to write: the entry is durable, and every read sees it, when `record` returns."""

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Append an entry to the journal and apply it to the projection."""
        ...

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Append several entries at once: one fsync, one transaction, all or none."""
        ...
