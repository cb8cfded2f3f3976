"""The looks at the counters of whoever splits the traffic while a canary has some; called by the engine on every pass.

A look that fails is no look: the next one sees all of it. It never decides anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from setpoint.core import clock
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.canary import counters
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import Arm, Counts, Rollout

Ask = Callable[[], tuple[Sequence[ServerCount], Mapping[str, Arm]]]
"""What every server counted, and which side each counts for (`Sides.counted`)."""


def is_due(rollout: Rollout, now: datetime) -> bool:
    """Say whether the time between two looks has gone by."""
    if not rollout.looked_at:
        return True
    look_s = rollout.plan.look_s if rollout.plan is not None else 0.0
    return (now - clock.from_text(rollout.looked_at)).total_seconds() >= look_s


def take(rollout: Rollout, ask: Ask, now: datetime, *, close: bool = False) -> Rollout:
    """Return the rollout with one look added; the same when nobody answers or the clock went back.

    Close says that the weights change now (see `counters.look`).
    """
    at = clock.to_text(now)
    if rollout.plan is None or (rollout.looked_at and now < clock.from_text(rollout.looked_at)):
        return rollout
    found, arms = ask()
    if not found:
        return rollout
    strata, baseline = counters.look(rollout.baseline, found, arms, rollout.plan.responses, close=close)
    before = rollout.counts
    seconds = clock.seconds_between(rollout.looked_at, at) if rollout.looked_at and rollout.baseline is not None else 0.0
    canary = sum(stratum.canary_requests for stratum in strata)
    counts = Counts(
        before.canary_requests + canary,
        before.canary_errors + sum(stratum.canary_errors for stratum in strata),
        before.stable_requests + sum(stratum.stable_requests for stratum in strata),
        before.stable_errors + sum(stratum.stable_errors for stratum in strata),
        before.seconds + seconds,
    )
    return replace(
        rollout,
        sums=judging.add(rollout.sums, rollout.rule, strata),
        counts=counts,
        step_requests=rollout.step_requests + canary,
        baseline=baseline,
        looked_at=at,
    )
