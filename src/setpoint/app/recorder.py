"""The one way to write: journal first, projection second, then everybody who waits is woken; fills `Recorder`.

Built in wiring. Reads see an entry as soon as `record` returns; a crash between the two halves is mended at the next start.
"""

import threading
from typing import Any

from setpoint.adapters.database.projection import Projection
from setpoint.app.bus import Bus
from setpoint.ground.journal.model import Entry
from setpoint.ground.journal.service import Journal


class JournalRecorder:
    """Journal, projection and bus together."""

    def __init__(self, journal: Journal, projection: Projection, bus: Bus) -> None:
        self._journal = journal
        self._projection = projection
        self._bus = bus
        self._lock = threading.Lock()
        self._behind = True
        """Whether entries may lie in the journal that are not folded in: at the start, and after a fold that failed."""

    def catch_up(self) -> int:
        """Fold what the projection does not have yet; everything, when the database was deleted. Returns how many entries."""
        with self._lock:
            return self._fold_missing()

    def _fold_missing(self) -> int:
        count = self._projection.apply(self._journal.entries(self._projection.applied()))
        self._behind = False
        return count

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Append an entry and apply it."""
        with self._lock:
            entry = self._journal.append(kind, subject, actor, body)
            if self._behind:
                self._fold_missing()
            else:
                self._behind = True
                self._projection.apply([entry])
                self._behind = False
        self._bus.notify()
        return entry
