"""The looks at the proxy's counters while a canary has traffic; called by the canary on every pass.

A look that fails is no look: the next one sees all of it. It never decides anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from setpoint.core import clock
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.canary import counters
from setpoint.rollout.canary.counters import Arm
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import Counts, Rollout

Ask = Callable[[str], Sequence[ServerCount]]
"""environment -> what its proxy counted"""


def is_due(rollout: Rollout, now: datetime) -> bool:
    """Say whether the time between two looks has gone by."""
    if not rollout.looked_at:
        return True
    look_s = rollout.plan.look_s if rollout.plan is not None else 0.0
    return (now - clock.from_text(rollout.looked_at)).total_seconds() >= look_s


def take(rollout: Rollout, arms: Mapping[str, Arm], ask: Ask, now: datetime, *, close: bool = False) -> Rollout:
    """Return the rollout with one look added; the same when the proxy does not answer or the clock went back.

    Close says that the weights change now (see `counters.look`).
    """
    at = clock.to_text(now)
    if rollout.plan is None or (rollout.looked_at and now < clock.from_text(rollout.looked_at)):
        return rollout
    found = ask(rollout.environment)
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
