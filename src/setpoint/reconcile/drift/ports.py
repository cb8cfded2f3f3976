"""What drift needs from outside: its own records, and from those who look: a judge to ask before they correct."""

from collections.abc import Callable, Sequence
from typing import Protocol

from setpoint.reconcile.drift.model import Deviation, Drift, Kind
from setpoint.reconcile.model import Difference


class DriftRecords(Protocol):
    """Cases of drift as the journal tells them (adapters.database)."""

    def drifts(self, app: str | None = None, environment: str | None = None, *, ended: bool = True, limit: int = 100) -> list[Drift]:
        """Return cases, newest first; without `ended` only those that are open. Cases of a whole environment belong to every app."""
        ...

    def restarts_told(self, replica: str) -> int:
        """Return how many restarts of a replica are journalled."""
        ...


DriftJudge = Callable[[str, Kind, Sequence[Deviation]], frozenset[Difference]]
"""(environment, kind, everything a look found) -> what is to be corrected now; an empty look ends what was open
(`drift.service.DriftService.judge`)."""


def correct_all(_environment: str, _kind: Kind, found: Sequence[Deviation]) -> frozenset[Difference]:
    """Judge without memory, for who only stops things: correct everything, record nothing."""
    return frozenset(deviation.difference for deviation in found)
