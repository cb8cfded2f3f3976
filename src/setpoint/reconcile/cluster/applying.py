"""Takes an application's objects one step on: creates, changes and replaces in order, waits between waves, deletes last in reverse.

Called by the target once the inventory is written. It keeps nothing: the next pass looks again and goes on where this one stopped.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from setpoint.core.errors import ConflictError, SetpointError, UserError, WorldError
from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster import takeover
from setpoint.reconcile.cluster.comparing import ObjectPlan, answered, decided
from setpoint.reconcile.cluster.decide import Action, ObjectVerdict, Seen, Verdicts, refused
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.order import Step, prune_order
from setpoint.reconcile.cluster.owner import MANAGER, Owner, owner_of
from setpoint.reconcile.cluster.ports import Cluster, Deletion
from setpoint.reconcile.health.kinds import judge
from setpoint.reconcile.health.model import Verdict
from setpoint.reconcile.model import DeployReason, Health

_UNFINISHED = frozenset({Action.REPLACE, Action.TAKE_OVER, Action.WAIT})
_BUSY: Final = "SP682"
_NOT_SERVED = "SP687: "
"""How the picture begins the reason for a kind that the cluster does not serve."""


@dataclass(slots=True)
class Taken:
    """What one step did, and what stands in its way."""

    faults: list[DeployReason] = field(default_factory=list)
    waits: list[DeployReason] = field(default_factory=list)
    busy: bool = False
    """The server did not take what was sent, for now: what comes after it has to wait."""

    def add(self, other: "Taken") -> None:
        """Take over what another step did."""
        self.faults += other.faults
        self.waits += other.waits
        self.busy = self.busy or other.busy


def asked(cluster: Cluster, plans: Sequence[ObjectPlan], kept: Verdicts) -> list[ObjectPlan]:
    """Return the decisions, with dry runs for all that only the server can say; its answers are kept.

    What it refuses for another reason than an immutable field stays to be applied: the refusal is told then.

    Raises:
        UnreachableError: the cluster does not answer.
    """
    asking = [one for one in plans if one.verdict.action is Action.ASK]
    if not asking:
        return list(plans)
    answers = cluster.apply([one.wanted for one in asking], dry_run=True)
    return [_answered(one, answers[one.key], kept) if one.verdict.action is Action.ASK else one for one in plans]


def _answered(one: ObjectPlan, answer: Object | SetpointError, kept: Verdicts) -> ObjectPlan:
    found = None
    if isinstance(answer, WorldError):
        why = Reason("LIVE_UNKNOWN", Outcome.WAIT, one.key.subject, f"the server could not say what would change: {answer.what}")
        return replace(one, verdict=ObjectVerdict(Action.WAIT, (why,)))
    if isinstance(answer, UserError):
        found = refused(one.wanted, one.live or {}, MANAGER, answer.what)
    elif not isinstance(answer, SetpointError):
        found = answered(one, answer)
    if found is None:
        return one
    kept.keep(one.key, one.digest, one.seen.digest, found)
    return decided(one, found)


def apply(cluster: Cluster, steps: Sequence[Step], plans: Mapping[ObjectKey, ObjectPlan]) -> Taken:
    """Bring objects to what is wanted, step by step; a step that has to be waited for is the last of this pass.

    Raises:
        UnreachableError: the cluster does not answer; what was not tried yet is not tried.
    """
    taken = Taken()
    wave: list[ObjectKey] = []
    for position, step in enumerate(steps):
        if position and steps[position - 1].wave != step.wave:
            wave = []
        wave += step.keys
        mine = [plans[key] for key in step.keys if key in plans]
        _write(cluster, mine, taken)
        if taken.faults or taken.busy or any(one.verdict.action in _UNFINISHED for one in mine):
            return taken  # what is being replaced or taken over is not there as wanted yet, whatever the picture still shows
        later = [plans[key] for one in steps[position + 1 :] for key in one.keys if key in plans]
        pending = [one for one in later if not one.rests]
        if pending and step.wait:
            unready = list(unready_of(cluster, wave if step.wait == "healthy" else step.keys))
            if unready:
                first = min(pending, key=lambda one: one.key)
                more = f" and {len(pending) - 1} more are" if len(pending) > 1 else " is"
                found = f"{'; '.join(unready[:3])}: so {first.key.subject}{more} not applied yet"
                taken.waits.append(DeployReason("WAVE_WAITS", f"wave {step.wave}", found))
                return taken
    return taken


def ahead(cluster: Cluster, plans: Sequence[ObjectPlan], first: Collection[ObjectKey], taken: Taken) -> list[ObjectPlan]:
    """Write what traffic follows before anything else, and return the plans as they are after that.

    Raises:
        WorldError: the cluster does not answer (SP682).
    """
    mine = {one.key for one in plans if one.key in first and one.verdict.action is Action.APPLY}
    _write(cluster, [one for one in plans if one.key in mine], taken)
    return [replace(one, verdict=ObjectVerdict(Action.NOTHING)) if one.key in mine else one for one in plans]


def _write(cluster: Cluster, plans: Sequence[ObjectPlan], taken: Taken) -> None:
    """Apply the objects of one step."""
    writing = []
    for one in plans:
        action = one.verdict.action
        if action is Action.WAIT:
            _told(one, taken)
        elif action is Action.REPLACE:
            _told(one, taken)
            _delete(cluster, [(one.key, one.live or {})], taken)
        elif action is Action.TAKE_OVER:
            _told(one, taken)
            _take_over(cluster, one)
        elif action is not Action.NOTHING:
            writing.append(one)
    if not writing:
        return
    for key, result in cluster.apply([one.wanted for one in writing]).items():
        if isinstance(result, SetpointError):
            _noted(key, result, taken)


def _noted(key: ObjectKey, error: SetpointError, taken: Taken) -> None:
    """Note what an object was refused for: a busy server is waited for, everything else is a fault."""
    if isinstance(error, WorldError) and error.code == _BUSY:
        taken.busy = True
        taken.waits.append(DeployReason("CLUSTER_BUSY", key.subject, error.what, error.fix))
    else:
        taken.faults.append(DeployReason(error.code, key.subject, error.what, error.fix, "problem"))


def _told(one: ObjectPlan, taken: Taken) -> None:
    """Note why an object is not simply applied: what denies is a fault, what passes by itself is waited for."""
    for reason in one.verdict.reasons:
        if reason.outcome is Outcome.DENY:
            taken.faults.append(DeployReason(reason.code, reason.subject, reason.found, reason.fix, "problem"))
        elif reason.outcome is Outcome.WAIT or reason.code in ("TAKEN_OVER", "OBJECT_REPLACED"):
            taken.waits.append(_waits(reason))


def _waits(reason: Reason) -> DeployReason:
    return DeployReason(reason.code, reason.subject, reason.found, reason.fix)


def _take_over(cluster: Cluster, one: ObjectPlan) -> None:
    """Make the fields of whoever declared the object before ours, so that what is left out now is really removed; then look again."""
    patch = takeover.patch(one.live or {}, MANAGER)
    if patch is not None:
        try:
            cluster.take_over(one.key, str(one.wanted["apiVersion"]), patch)
        except ConflictError:
            return  # somebody was faster: the next pass looks again


def _delete(cluster: Cluster, objects: Sequence[tuple[ObjectKey, Object]], taken: Taken) -> None:
    wanted = [Deletion(key, str(live.get("apiVersion", "")), str((live.get("metadata") or {}).get("uid", ""))) for key, live in objects]
    for key, error in cluster.delete(wanted).items():
        if error is not None and not isinstance(error, ConflictError):  # another object of that name by now: the next pass looks again
            _noted(key, error, taken)


def end(cluster: Cluster, pods: Sequence[Deletion], taken: Taken) -> None:
    """Delete pods that stand in the way, once what they are to become is applied.

    Raises:
        WorldError: the cluster does not answer (SP682).
    """
    if pods and not taken.faults:
        for key, error in cluster.delete(pods).items():
            if error is not None and not isinstance(error, ConflictError):
                _noted(key, error, taken)


def unready_of(cluster: Cluster, keys: Sequence[ObjectKey]) -> Iterator[str]:
    """Yield what is not healthy among some objects, and why."""
    for key, seen in cluster.seen(keys).items():
        verdict = judge(seen.live) if seen.live is not None else Verdict(Health.MISSING, "it is not there yet")
        if verdict.health is not Health.HEALTHY:
            yield f"{key.subject} is {verdict.health}: {verdict.found}"


def prune(cluster: Cluster, gone: Mapping[ObjectKey, Seen], waves: Mapping[ObjectKey, int], owner: Owner) -> tuple[Taken, list[ObjectKey]]:
    """Delete what is no longer wanted, the reverse of how it was applied, one step a pass; returns also what is gone or is not ours.

    Raises:
        UnreachableError: the cluster does not answer.
    """
    taken, absent = Taken(), list[ObjectKey]()
    for step in prune_order({key: waves.get(key, 0) for key in gone}):
        deleting, leaving = list[tuple[ObjectKey, Object]](), False
        for key in step.keys:
            seen = gone[key]
            live = seen.live
            if not seen.known and seen.stale_reason.startswith(_NOT_SERVED):
                absent.append(key)  # its kind is gone from the cluster, and all of its objects with it
            elif not seen.known or seen.stale_since:
                leaving = True
                taken.waits.append(DeployReason("OBJECT_DELETED", key.subject, f"it cannot be looked at: {seen.stale_reason or 'not yet'}"))
            elif live is None or owner_of(live) != owner:
                absent.append(key)  # nobody's of ours any more: whoever took it keeps it
            elif (live.get("metadata") or {}).get("deletionTimestamp"):
                leaving = True
                finalizers = ", ".join((live.get("metadata") or {}).get("finalizers") or ()) or "none"
                taken.waits.append(DeployReason("OBJECT_DELETED", key.subject, f"it is being deleted; finalizers: {finalizers}"))
            else:
                deleting.append((key, live))
        if deleting:
            _delete(cluster, deleting, taken)
        if deleting or leaving:
            return taken, absent
    return taken, absent
