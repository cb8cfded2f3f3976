"""When a rollout begins, what its next step is, and when it goes back: pure, so that any server goes on from the journal (laws 5 and 6).

Called by the canary on every pass. Whatever changes is returned whole, with the kind of entry that says so.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from setpoint.core import clock, ids
from setpoint.core.words import counted
from setpoint.reconcile.model import CanaryPlan, DeployReason
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import WHOLE, Coming, Counts, Facts, Kept, Phase, Rollout, Side


@dataclass(frozen=True, slots=True)
class Step:
    """The rollout as it is from now on; kind is the journal entry that says so, empty when nothing changed."""

    rollout: Rollout
    kind: str = ""


def needed(replicas: int, weight: int) -> int:
    """Return how many of the new revision's replicas a weight needs."""
    return min(replicas, max(1, math.ceil(replicas * weight / WHOLE)))


def next_weight(rollout: Rollout) -> int:
    """Return the weight that is prepared or held."""
    weights = rollout.plan.weights if rollout.plan is not None else ()
    return weights[rollout.step] if rollout.step < len(weights) else WHOLE


def begin(before: Rollout | None, coming: Coming, now: datetime) -> Step:
    """Return the rollout that a pin begins, goes on with under another name, or is under way with already."""
    side, at = coming.side, clock.to_text(now)
    if before is not None and before.new == side:
        return Step(before)
    if before is not None and before.new.workloads == side.workloads and before.phase is not Phase.RETURNED:
        return Step(replace(before, new=side), "rollout.finished" if before.phase is Phase.FINISHED else "rollout.begun")
    stable = None if before is None else before.new if before.phase is Phase.FINISHED else before.stable
    back = stable is not None and stable.workloads == side.workloads
    canary = stable is not None and not back and coming.plan is not None and coming.can_split
    kept = () if before is None else tuple(k for k in before.kept if clock.from_text(k.until) > now and k.workloads != side.workloads)
    dropped = _not_of(before.new, stable) if before is not None and before.is_split else {}
    started = Rollout(
        rollout=ids.identifier("ro", coming.app, coming.environment, side.pin_commit, at),
        app=coming.app,
        environment=coming.environment,
        strategy="canary" if canary else "rolling",
        phase=Phase.PREPARING if canary else Phase.ROLLING,
        new=side,
        stable=stable,
        began_at=at,
        since=at,
        plan=coming.plan if canary else None,
        kept=kept,
        dropped=dropped,
        sent_back=(before.new.version or before.new.promotion) if before is not None and before.phase is Phase.RETURNED and back else "",
    )
    return Step(started, "rollout.begun")


def advance(rollout: Rollout, facts: Facts, now: datetime) -> Step:
    """Return the next step of a rollout, at most one a pass."""
    if rollout.phase in (Phase.ROLLING, Phase.FINISHING):
        return _rolled(rollout, facts, now)
    if not rollout.is_split or rollout.plan is None:
        return Step(rollout)
    against = faults(rollout, facts)
    if against:
        return returned(rollout, against, now)
    if rollout.phase is Phase.PREPARING:
        return _shifted(rollout, facts, now)
    elapsed_s = (now - clock.from_text(rollout.since)).total_seconds()
    if rollout.phase is Phase.HOLDING and elapsed_s < rollout.plan.hold_s:
        return Step(rollout)
    short = no_data(rollout, rollout.plan)
    if short is None:
        return resumed(rollout, now) if rollout.phase is Phase.HELD else _prepared(rollout, now, "rollout.stepped")
    if rollout.phase is Phase.HOLDING:
        return Step(replace(rollout, phase=Phase.HELD, reasons=(short,)), "rollout.held")
    return Step(rollout)


def _rolled(rollout: Rollout, facts: Facts, now: datetime) -> Step:
    """Finish what rolls; where both revisions are there beside each other, the new one takes over all traffic first."""
    if rollout.phase is Phase.ROLLING and facts.whole:
        return _moved(replace(rollout, weight=WHOLE), Phase.FINISHING, now, "rollout.stepped")
    return _moved(rollout, Phase.FINISHED, now, "rollout.finished") if facts.settled else Step(rollout)


def _shifted(rollout: Rollout, facts: Facts, now: datetime) -> Step:
    """Give the new revision the weight that it has the replicas for."""
    weight = next_weight(rollout)
    if any(facts.ready.get(workload, 0) < needed(wanted, weight) for workload, wanted in facts.wanted.items()):
        return Step(rollout)
    if weight < WHOLE:
        return _moved(replace(rollout, weight=weight, step_requests=0), Phase.HOLDING, now, "rollout.stepped")
    plan, kept = rollout.plan, rollout.kept
    if plan is not None and rollout.stable is not None and plan.keep_s > 0:
        kept = (*kept, Kept(_not_of(rollout.stable, rollout.new), clock.to_text(now + timedelta(seconds=plan.keep_s)), "to go back to"))
    return _moved(replace(rollout, weight=weight, kept=kept), Phase.FINISHING, now, "rollout.stepped")


def _prepared(rollout: Rollout, now: datetime, kind: str) -> Step:
    return _moved(replace(rollout, step=rollout.step + 1, reasons=()), Phase.PREPARING, now, kind)


def _moved(rollout: Rollout, phase: Phase, now: datetime, kind: str) -> Step:
    return Step(replace(rollout, phase=phase, since=clock.to_text(now)), kind)


def resumed(rollout: Rollout, now: datetime, message: str = "") -> Step:
    """Go on from a held step: enough traffic came, or a person says so."""
    return _prepared(replace(rollout, message=message), now, "rollout.resumed")


def returned(rollout: Rollout, reasons: tuple[DeployReason, ...], now: datetime, message: str = "") -> Step:
    """Send the new revision back: no traffic any more; its replicas stay a while, so that somebody can look into them."""
    kept = rollout.kept
    if rollout.plan is not None and rollout.plan.keep_s > 0:
        kept = (
            *kept,
            Kept(_not_of(rollout.new, rollout.stable), clock.to_text(now + timedelta(seconds=rollout.plan.keep_s)), "to look into"),
        )
    back = replace(rollout, weight=0, kept=kept, reasons=reasons, message=message)
    return _moved(back, Phase.RETURNED, now, "rollout.returned")


def faults(rollout: Rollout, facts: Facts) -> tuple[DeployReason, ...]:
    """Return why the new revision has to go back; nothing while it may stay."""
    found = []
    judgement = judging.judge(rollout.sums, rollout.rule)
    if judgement.is_worse:
        fix = f"setpoint why {rollout.app} {rollout.environment}; its replicas' logs are there: setpoint log REPLICA"
        text = f"{compared(rollout.counts)}, evidence {judgement.evidence:.3g} of {judgement.needed:.0f} needed"
        found.append(DeployReason("CANARY_ERRORS", "canary", text, fix, "problem"))
    found += facts.problems
    if facts.unready_s > facts.deadline_s:
        text = f"fewer replicas than needed were ready for {int(facts.unready_s)} s"
        found.append(DeployReason("CANARY_NOT_READY", "canary", text, "setpoint log REPLICA", "problem"))
    return tuple(found)


def no_data(rollout: Rollout, plan: CanaryPlan) -> DeployReason | None:
    """Return why a step's time is over and it cannot go on: what nobody asked for was not judged."""
    if plan.unjudged or rollout.step_requests >= plan.least_requests:
        return None
    text = f"the canary answered {counted(rollout.step_requests, 'request')} in this step, {plan.least_requests} are needed to judge it"
    fix = f"setpoint rollout {rollout.app} {rollout.environment} --resume, or --abort; more traffic resumes it too"
    return DeployReason("NODATA", "canary", text, fix)


def compared(counts: Counts) -> str:
    """Return both sides' failures in one sentence."""
    text = (
        f"{counts.canary_errors:,} of {counted(counts.canary_requests, 'request')} failed in the canary, "
        f"{counts.stable_errors:,} of {counts.stable_requests:,} in the stable one"
    )
    if counts.canary_requests and counts.stable_requests and counts.stable_errors:
        ratio = (counts.canary_errors / counts.canary_requests) / (counts.stable_errors / counts.stable_requests)
        text += f": {ratio:.3g}x"
    return text


def is_worth_telling(told: Rollout, now_is: Rollout) -> bool:
    """Say whether looks since the last entry have to be journalled: first traffic, ten times the evidence, or a minute's looks.

    Less is no loss: counters of the proxy outlive the server, so that looks which were not journalled become one look after a restart.
    """
    if now_is.looked_at == told.looked_at:
        return False
    if told.baseline is None or (not told.step_requests and now_is.step_requests):
        return True
    grown = judging.judge(now_is.sums, now_is.rule).evidence >= 10 * max(1.0, judging.judge(told.sums, told.rule).evidence)
    return grown or clock.seconds_between(told.looked_at or told.began_at, now_is.looked_at) >= 60


def was_sent_back(rollout: Rollout | None, workload: str, revision_hash: str) -> bool:
    """Say whether replicas of a workload's revision are those of a canary that was sent back: they serve nobody, whatever they do."""
    if rollout is None:
        return False
    if rollout.phase is Phase.RETURNED:
        return rollout.new.has(workload, revision_hash) and not (rollout.stable is not None and rollout.stable.has(workload, revision_hash))
    kept = any(one.why == "to look into" and one.workloads.get(workload) == revision_hash for one in rollout.kept)
    return kept and not rollout.new.has(workload, revision_hash)


def keeps(rollout: Rollout, workload: str, revision_hash: str, now: datetime) -> bool:
    """Say whether replicas that nobody wants stay without traffic for now."""
    return any(kept.workloads.get(workload) == revision_hash and clock.from_text(kept.until) > now for kept in rollout.kept)


def _not_of(side: Side, other: Side | None) -> dict[str, str]:
    """Return the workloads of a side that the other does not have like this."""
    return {name: hash_ for name, hash_ in side.workloads.items() if other is None or not other.has(name, hash_)}
