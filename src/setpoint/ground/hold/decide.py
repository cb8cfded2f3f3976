"""Which holds are in force and how they read as reasons: pure functions of the holds and the journal's time (law 6).

Called by the hold service, the gate decision and the drift stage. A rollback hold never stops a candidate, so only people's holds, stops
and break-glass leases, become gate reasons.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from setpoint.core import clock, names
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.hold.model import Hold


def is_over(hold: Hold, now: datetime) -> bool:
    """Say whether a stop's time has passed; now is the journal's time: the wall clock, but never before the last entry."""
    return hold.until is not None and now >= clock.from_text(hold.until)


def stops(holds: Sequence[Hold], now: datetime) -> tuple[Hold, ...]:
    """Return what keeps new pins out among open holds: people's stops and leases whose time has not passed."""
    return tuple(hold for hold in holds if hold.kind != "rollback" and not is_over(hold, now))


def leases(holds: Sequence[Hold], now: datetime) -> tuple[Hold, ...]:
    """Return the break-glass leases among open holds whose time has not passed."""
    return tuple(hold for hold in holds if hold.kind == "break-glass" and not is_over(hold, now))


def reasons(held: Sequence[Hold]) -> Iterator[Reason]:
    """Return one WAIT for each stop in force: who, why, until when, and how it ends."""
    for hold in held:
        until = f", until {clock.spoken(hold.until)}" if hold.until else ""
        if hold.kind == "break-glass":
            found = f"{words(hold)}{until}: drift is recorded and not corrected, nothing is removed and nothing new is pinned"
            yield Reason("BREAK_GLASS", Outcome.WAIT, "break-glass", found, "the end of the lease", hold.release, hold.until)
            continue
        found = f"{hold.place} is on hold since {clock.spoken(hold.since)} by {names.actor(hold.by)}{until}: {hold.why}"
        yield Reason("HOLD", Outcome.WAIT, "hold", found, "a release, or the end of its time", hold.release, hold.until)


def words(hold: Hold) -> str:
    """Return what people read of a lease: who broke the glass, where, since when and why."""
    what = f"{hold.objects} of {hold.place}" if hold.objects else hold.place
    return f"{names.actor(hold.by)} broke the glass for {what} at {clock.spoken(hold.since)} ({hold.why})"


def passed(held: Sequence[Hold]) -> Iterator[Reason]:
    """Return what a person's rollback says of each stop that it passes."""
    for hold in held:
        found = f"{hold.place} is on hold by {names.actor(hold.by)}: {hold.why}; a person's rollback passes it, and it stays"
        yield Reason("HOLD_PASSED", Outcome.ALLOW, "hold", found)
