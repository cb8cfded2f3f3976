"""Where a rollout is, for people: step, weight, evidence, what each step can find out; called by the API, by `why` and by the page.

It reads what the journal says; what was learnt since the last entry (a minute at most) is not in it.
"""

from setpoint.core import clock
from setpoint.observe.model import RolloutReport
from setpoint.reconcile.model import CanaryPlan
from setpoint.rollout.canary import reasons
from setpoint.rollout.canary.reasons import StepView
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import Phase, Rollout, Side

_SHORT = {Phase.HELD: "canary held at {} %", Phase.RETURNED: "canary sent back", Phase.ROLLING: "rolling"}


def short(rollout: Rollout | None) -> str:
    """Return a few words for the matrix: `canary 25 %`; empty when nothing is under way."""
    if rollout is None or rollout.phase is Phase.FINISHED:
        return ""
    return _SHORT.get(rollout.phase, "canary {} %").format(rollout.weight)


def report(rollout: Rollout) -> RolloutReport:
    """Return everything there is to say about a rollout."""
    judgement = judging.judge(rollout.sums, rollout.rule)
    return RolloutReport(
        app=rollout.app,
        environment=rollout.environment,
        rollout=rollout.rollout,
        strategy=rollout.strategy,
        phase=rollout.phase,
        sentence=_sentence(rollout),
        weight=rollout.weight,
        version=name_of(rollout.new),
        promotion=rollout.new.promotion,
        stable=name_of(rollout.stable) if rollout.stable is not None else "",
        began_at=rollout.began_at,
        since=rollout.since,
        evidence=round(judgement.evidence, 6),
        needed=judgement.needed,
        fine=round(judgement.fine, 6),
        counts=rollout.counts,
        steps=steps(rollout.plan, rollout),
        reasons=reasons.of(rollout),
        found=reasons.evidence(rollout) if rollout.plan is not None else "",
        kept=tuple(f"{', '.join(kept.workloads)} {kept.why} until {clock.spoken(kept.until)}" for kept in rollout.kept if kept.workloads),
        next=_next(rollout),
        sent_back=name_of(rollout.new) if rollout.phase is Phase.RETURNED else rollout.sent_back,
    )


def steps(plan: CanaryPlan | None, rollout: Rollout | None = None) -> tuple[StepView, ...]:
    """Return the steps of a plan with what they can find out, by the traffic of its own or an earlier rollout, else as declared."""
    if plan is None:
        return ()
    return reasons.steps(plan, reasons.traffic_of(plan, rollout.counts if rollout is not None else None), rollout)


def planned(plan: CanaryPlan, last: Rollout | None) -> tuple[StepView, ...]:
    """Return the steps of a canary that has not begun; last is the newest rollout there, whose traffic is known."""
    return reasons.steps(plan, reasons.traffic_of(plan, last.counts if last is not None else None))


def _sentence(rollout: Rollout) -> str:
    place = f"{rollout.app} in {rollout.environment}"
    name = name_of(rollout.new)
    if rollout.sent_back:
        serves = "serves again" if rollout.phase is Phase.FINISHED else "takes over again replica by replica"
        return f"{place}: {rollout.sent_back} was sent back by its canary; {name} {serves}"
    if rollout.phase is Phase.FINISHED:
        return f"{place}: {name} is rolled out"
    if rollout.phase is Phase.RETURNED:
        return f"{place}: {name} was sent back by its canary"
    if rollout.is_split:
        return f"{place}: canary of {name}, {reasons.stage(rollout)}"
    return f"{place}: {name} takes over replica by replica" if rollout.phase is Phase.ROLLING else f"{place}: {name} has all traffic"


def name_of(side: Side) -> str:
    """Return what people call one side of a rollout."""
    return side.version or side.promotion


def _next(rollout: Rollout) -> str:
    verb = f"setpoint rollout {rollout.app} {rollout.environment}"
    if rollout.phase is Phase.HELD:
        return f"{verb} --resume, or {verb} --abort"
    if rollout.is_split:
        return f"nothing to do: it goes on by itself; {verb} --abort sends it back"
    return "nothing to do"
