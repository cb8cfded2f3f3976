"""The one way to write: journal first, projection second, then everybody who waits is woken; fills `Recorder`.

Built in wiring. Reads see an entry as soon as `record` returns, unless the database refused it (a full disk): what is journalled has
happened all the same, so `record` says so, and the tables catch up within a second of the database working again, or at the next start.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

from setpoint.adapters.database.projection import Projection
from setpoint.app.bus import Bus
from setpoint.core.errors import SetpointError, WorldError
from setpoint.ground.journal.model import Entry, Fact
from setpoint.ground.journal.service import Journal

log = logging.getLogger(__name__)

_RUNS_OWN: Final = frozenset({"task.started", "task.finished"})
"""Entries that no controller acts on: the run that wrote them goes on by itself."""


class JournalRecorder:
    """Journal, projection and bus together."""

    def __init__(self, journal: Journal, projection: Projection, bus: Bus, control: Bus | None = None) -> None:
        """Everybody who follows something waits at `bus`; the controllers wait at `control`, and are left in peace by single tasks."""
        self._control = control
        self._journal = journal
        self._projection = projection
        self._bus = bus
        self._lock = threading.Lock()
        self._behind = True
        """Whether entries may lie in the journal that are not folded in: at the start, and after a fold that failed."""
        self._stale = False
        """Whether somebody may have read tables that lacked an entry: a fold failed, and was not made up for yet."""

    def catch_up(self) -> int:
        """Fold what the projection does not have yet; everything, when the database was deleted. Returns how many entries."""
        with self._lock:
            return self._fold_missing()

    def _fold_missing(self) -> int:
        count = self._projection.apply(self._journal.entries(self._projection.applied()))
        self._behind = self._stale = False
        return count

    def mend(self) -> bool:
        """Fold what a failed fold left out, if there is any; says whether the tables still lack something. Called once a second.

        Who decided while they lacked it may still be about to write, so the next write is refused all the same.
        """
        with self._lock:
            if not (self._behind and self._stale):
                return False
            try:
                self._projection.apply(self._journal.entries(self._projection.applied()))
            except SetpointError:
                return True
            self._behind = False
        self._wake(control=True)
        return False

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Append an entry and apply it."""
        return self.record_all([Fact(kind, subject, actor, body)])[0]

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Append entries in one write and apply them in one transaction; once they are journalled this succeeds.

        Raises:
            WorldError: the journal refused, and nothing was written (SP002); an earlier entry was not in the tables when these were
                decided on, and nothing was written either (SP003): look and decide again.
        """
        if not facts:
            return []
        with self._lock:
            if self._stale:
                self._fold_missing()
                what = "the database had fallen behind the journal; it is mended, and nothing was written"
                raise WorldError("SP003", what, where=f"{facts[0].kind} {facts[0].subject}", fix="ask again", retry_after_s=1.0)
            entries = self._journal.append_all(facts)
            try:
                self._apply(entries)
            except SetpointError as error:
                log.warning("journalled, and not in the database yet: %s", error.render())
        self._wake(control=any(fact.kind not in _RUNS_OWN for fact in facts))
        return entries

    def _apply(self, entries: list[Entry]) -> None:
        if self._behind:
            self._stale = True
            self._fold_missing()
        else:
            self._behind = self._stale = True
            self._projection.apply(entries)
            self._behind = self._stale = False

    def _wake(self, *, control: bool) -> None:
        self._bus.notify()
        if control and self._control is not None:
            self._control.notify()
