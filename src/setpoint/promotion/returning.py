"""Whether Setpoint may take an environment back by itself: a pure function of the facts and the time (law 6).

Called for the rollout's bad verdicts only; a person's rollback asks none of this. An automaton that flaps is worse than a bad release, so
it goes back once from a pin, never from its own return, and stops after a few times within an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock, names
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.ground.hold import decide as hold_decide
from setpoint.ground.hold.model import Hold

WITHIN_S: Final = 3600.0
AT_MOST: Final = 3
"""Automatic returns of an application in an environment within WITHIN_S."""


@dataclass(frozen=True, slots=True)
class ReturnFacts:
    """What the decision looks at."""

    bad_pin_commit: str
    head_commit: str
    """The pin commit at HEAD if Setpoint wrote it; empty otherwise."""
    came_by: str
    """Kind of the promotion that HEAD's pin belongs to: `advance` or `rollback`."""
    stops: tuple[Hold, ...]
    earlier: tuple[str, ...]
    """When automatic returns of this application in this environment were begun, RFC 3339."""
    place: str
    """`APP ENV`, for commands."""


def decide(facts: ReturnFacts, now: datetime) -> Verdict:
    """Return ALLOW, or every reason why a person has to decide."""
    return conclude([*_pin(facts), *_stops(facts), *_rate(facts, now)])


def _pin(facts: ReturnFacts) -> Iterator[Reason]:
    if facts.head_commit != facts.bad_pin_commit:
        found = f"the verdict is about pin commit {facts.bad_pin_commit[:12]}; HEAD names {facts.head_commit[:12] or 'none of Setpoint'}"
        yield Reason("VERDICT_STALE", Outcome.DENY, "pin", found, "a verdict about the pin at HEAD")
    elif facts.came_by == "rollback":
        fix = f"setpoint rollback {facts.place} goes one further back"
        yield Reason("RETURN_OF_A_RETURN", Outcome.DENY, "pin", "what is bad came back by a rollback itself", "a person's decision", fix)
    else:
        yield Reason("VERDICT_CURRENT", Outcome.ALLOW, "pin", "the bad verdict is about the pin at HEAD")


def _stops(facts: ReturnFacts) -> Iterator[Reason]:
    for hold in facts.stops:
        if hold.kind == "break-glass":
            fix = f"setpoint rollback {facts.place} (a person passes it), or {hold.release}"
            found = f"{hold_decide.words(hold)}: what is live is in people's hands"
            yield Reason("BREAK_GLASS", Outcome.DENY, "break-glass", found, "the end of the lease", fix, hold.until)
            continue
        found = f"{hold.place} is on hold since {clock.spoken(hold.since)} by {names.actor(hold.by)}: {hold.why}"
        fix = f"setpoint rollback {facts.place} (a person passes a hold), or {hold.release}"
        yield Reason("HOLD", Outcome.DENY, "hold", found, "no hold by a person", fix, hold.until)


def _rate(facts: ReturnFacts, now: datetime) -> Iterator[Reason]:
    recent = [at for at in facts.earlier if now - clock.from_text(at) < timedelta(seconds=WITHIN_S)]
    found = f"{len(recent)} automatic returns within the last hour"
    if len(recent) >= AT_MOST:
        free = clock.to_text(clock.from_text(sorted(recent)[-AT_MOST]) + timedelta(seconds=WITHIN_S))
        fix = f"setpoint rollback {facts.place}, and find out what keeps breaking"
        yield Reason("RETURNS_TOO_OFTEN", Outcome.DENY, "rate", found, f"fewer than {AT_MOST}", fix, free)
    else:
        yield Reason("RETURNS_SELDOM", Outcome.ALLOW, "rate", found, f"fewer than {AT_MOST}")
