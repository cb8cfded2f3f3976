"""Opens, finds and closes holds; called by promotion (rollbacks, people, gates) and by reconcile (what is desired).

It knows neither Git nor candidates: who opens a hold says what it overrides, and who finds it superseded closes it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from setpoint.core import clock, ids, records
from setpoint.ground.hold import decide
from setpoint.ground.hold.model import Hold
from setpoint.ground.hold.ports import HoldRecords
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder


class Holds:
    """The holds of one home."""

    def __init__(self, store: HoldRecords, recorder: Recorder, time: clock.Clock, last_entry: Callable[[], str]) -> None:
        """Last_entry tells when the journal's last entry was written, RFC 3339; empty for an empty journal."""
        self._records = store
        self._recorder = recorder
        self._clock = time
        self._last_entry = last_entry

    def last_entry_at(self) -> str:
        """Return when the journal's last entry was written; empty for an empty journal."""
        return self._last_entry()

    def journal_now(self) -> datetime:
        """Return the journal's time: the wall clock, but never before the last entry."""
        last = self._last_entry()
        now = self._clock.now()
        return max(now, clock.from_text(last)) if last else now

    def stops(self, app: str, environment: str) -> tuple[Hold, ...]:
        """Return what keeps new pins of an application out of an environment: people's stops and leases in force."""
        return decide.stops(self._records.holds(app, environment), self.journal_now())

    def leases(self, environment: str, app: str | None = None) -> tuple[Hold, ...]:
        """Return the break-glass leases in force in an environment, of one application or all."""
        return decide.leases(self._records.holds(app, environment), self.journal_now())

    def leases_everywhere(self) -> tuple[Hold, ...]:
        """Return the break-glass leases in force of the home."""
        return decide.leases(self._records.holds(), self.journal_now())

    def named(self, hold: str) -> Hold | None:
        """Return a hold by its id, also one of the past."""
        return next((one for one in self._records.holds(ended=True) if one.hold == hold), None)

    def rollback(self, app: str, environment: str, pin_commit: str, *, ended: bool = False) -> Hold | None:
        """Return the open rollback hold that overrides this pin commit (with `ended`: or did); the newest, should there be several."""
        found = [h for h in self._records.holds(app, environment, ended=ended) if h.kind == "rollback" and h.overridden == pin_commit]
        return found[-1] if found else None

    def open_ones(self, app: str | None = None, environment: str | None = None) -> list[Hold]:
        """Return what is open, of both kinds."""
        return self._records.holds(app, environment)

    def opening(self, hold: Hold) -> tuple[Hold, Fact]:
        """Return a hold with id and time, and the fact that opens it once it is recorded."""
        since = clock.to_text(self.journal_now())
        name = ids.identifier("hold", hold.kind, hold.environment, hold.app, hold.by, hold.why, hold.overridden, since)
        named = replace(hold, hold=name, since=since)
        return named, Fact("hold.opened", named.hold, named.by, _body(named))

    def open(self, hold: Hold) -> Hold:
        """Journal a hold and return it with id and time; it is in force when this returns."""
        named, fact = self.opening(hold)
        self._recorder.record_all([fact])
        return named

    def close(self, hold: Hold, actor: str, why: str) -> None:
        """Journal the end of a hold."""
        self._recorder.record_all([closing(hold, actor, why)])


def closing(hold: Hold, actor: str, why: str) -> Fact:
    """Return the fact that ends a hold once it is recorded; a lease's says what becomes of drift."""
    then = {"then": hold.then} if hold.kind == "break-glass" else {}
    return Fact("hold.closed", hold.hold, actor, {"app": hold.app, "environment": hold.environment, "why": why, **then})


def extending(hold: Hold, actor: str, until: str, why: str) -> Fact:
    """Return the fact that gives a lease another end once it is recorded."""
    body = {"app": hold.app, "environment": hold.environment, "until": until, "then": hold.then, "why": why}
    return Fact("hold.extended", hold.hold, actor, body)


def _body(hold: Hold) -> dict[str, Any]:
    encoded: dict[str, Any] = records.encode(hold)
    return {name: value for name, value in encoded.items() if not name.startswith("ended_")}
