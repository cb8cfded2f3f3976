"""A rollout in sentences: pure, the same for `status`, `why`, the page, the API and the deployment's entry (law 6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from setpoint.core import durations
from setpoint.reconcile.model import CanaryPlan, DeployReason
from setpoint.rollout.canary import decide
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.judge.model import Rule
from setpoint.rollout.judge.preflight import Traffic, detectable
from setpoint.rollout.model import Counts, Phase, Rollout


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a canary, for people."""

    weight: int
    hold_s: int
    state: str
    """`done`, `now`, `to come`"""
    detects: float | None
    """The smallest ratio that the step alone finds in four of five cases; None: unknown traffic, or none."""
    note: str
    """`detects >= 4x`, or why that is not known."""


Pace = Literal["", "going", "holding", "held"]
"""See `WorkloadStatus.pace`."""
_PACES: Final[dict[Phase, Pace]] = {Phase.PREPARING: "going", Phase.HOLDING: "holding", Phase.HELD: "held"}


def pace(rollout: Rollout) -> Pace:
    """Return how fast a canary moves: its replicas start, it looks on for a while, or it waits for traffic or a person."""
    return _PACES.get(rollout.phase, "")


def of(rollout: Rollout) -> tuple[DeployReason, ...]:
    """Return where a rollout is; nothing for one that only rolls or is done."""
    found = list(rollout.reasons) if rollout.phase in (Phase.HELD, Phase.RETURNED) else []
    if rollout.is_split:
        found.insert(0, DeployReason("CANARY", "canary", stage(rollout), f"setpoint rollout {rollout.app} {rollout.environment}"))
    if rollout.phase is Phase.RETURNED:
        found.append(DeployReason("RETURNED", "canary", _back(rollout), "", "info"))
    return tuple(found)


def stage(rollout: Rollout) -> str:
    """Return step and weight: `step 2 of 3: 25 % of the traffic for 2m`."""
    weights = rollout.plan.weights if rollout.plan is not None else ()
    if rollout.step >= len(weights):
        return f"replicas for all traffic start, {rollout.weight} % now"
    place = f"step {rollout.step + 1} of {len(weights)}"
    if rollout.phase is Phase.PREPARING:
        return f"{place}: replicas for {weights[rollout.step]} % start, {rollout.weight} % of the traffic now"
    hold = durations.to_text(int(rollout.plan.hold_s)) if rollout.plan is not None else ""
    return f"{place}: {rollout.weight} % of the traffic" + (f" for {hold}" if rollout.phase is Phase.HOLDING else ", held")


def evidence(rollout: Rollout) -> str:
    """Return the judge's numbers: `evidence against it: 3.1 of 100 needed; 2 of 240 requests failed in the canary, ...`."""
    judgement = judging.judge(rollout.sums, rollout.rule)
    text = f"evidence against it: {judgement.evidence:.3g} of {judgement.needed:.0f} needed"
    if judgement.fine >= 20:
        text += f"; evidence that it is less than {rollout.rule.tolerated:.3g}x as bad: {judgement.fine:.3g}"
    return f"{text}; {decide.compared(rollout.counts)}"


def steps(plan: CanaryPlan, traffic: Traffic | None, rollout: Rollout | None = None) -> tuple[StepView, ...]:
    """Return every step with what it can find out; rollout says how far it is, None when it has not begun."""
    return tuple(_steps(plan, traffic, rollout))


def _steps(plan: CanaryPlan, traffic: Traffic | None, rollout: Rollout | None) -> Iterator[StepView]:
    at = -1 if rollout is None else rollout.step
    over = rollout is not None and not rollout.is_split
    for number, weight in enumerate(plan.weights):
        state = "now" if number == at and not over else "done" if number < at else "to come"
        detects = detectable(rule_of(plan), traffic, weight, plan.hold_s) if traffic is not None else None
        note = (
            f"detects >= {detects:.2g}x" if detects is not None else "detects nothing" if traffic is not None else "traffic not known yet"
        )
        yield StepView(weight, int(plan.hold_s), state, detects, note)


def rule_of(plan: CanaryPlan) -> Rule:
    """Return the judge's rule of a plan."""
    return Rule(plan.ratio, plan.alpha)


def traffic_of(plan: CanaryPlan, counts: Counts | None = None) -> Traffic | None:
    """Return the traffic to plan with: what was measured, once a minute's or a hundred requests are known, else what was declared.

    Without a failed request the share is taken as half a request's: something always fails in the end.
    """
    if counts is not None and counts.seconds > 0:
        requests = counts.canary_requests + counts.stable_requests
        if requests >= 100 or counts.seconds >= 60:
            return Traffic(requests / counts.seconds, (counts.stable_errors + 0.5) / (counts.stable_requests + 1))
    if plan.traffic_rate is not None and plan.traffic_errors is not None:
        return Traffic(plan.traffic_rate, plan.traffic_errors)
    return None


def _back(rollout: Rollout) -> str:
    stable = rollout.stable.version or rollout.stable.promotion if rollout.stable is not None else "what ran before"
    rollback = f"; {rollout.rollback}" if rollout.rollback else "; its rollback is asked for"
    return f"all traffic is with {stable} again{rollback}"
