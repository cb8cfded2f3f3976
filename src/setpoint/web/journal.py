"""The part of the journal that a page shows: a window of what fits the filters, newest first, and where older entries are.

Called by the journal's page; reads forward through the journal's own iterator and keeps one window in memory.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from setpoint.api.streams import Wanted
from setpoint.ground.journal.model import Entry

Read = Callable[[int], Iterable[Entry]]
"""start -> entries from that index on"""


@dataclass(frozen=True, slots=True)
class JournalPage:
    """A window of the journal."""

    entries: tuple[Entry, ...]
    """Newest first."""
    older: int | None
    """What is older lies before this index; None: nothing is."""
    is_newest: bool
    """Whether the window ends where the journal does."""


def page(read: Read, length: int, wanted: Wanted, before: int | None, limit: int) -> JournalPage:
    """Return the newest `limit` entries with index < before that fit; before None is the end of the journal."""
    end = length if before is None else min(length, before)
    start = max(0, end - limit - 1) if wanted == Wanted() else 0
    fitting = (entry for entry in islice(read(start), end - start) if wanted.fits(entry))
    found = tuple(reversed(deque(fitting, maxlen=limit + 1)))
    shown = found[:limit]
    return JournalPage(shown, shown[-1].index if len(found) > limit else None, end == length)
