"""Takes an application's objects one step on: creates, changes and replaces in order, waits between waves, deletes last in reverse.

Called by the target once the inventory is written. It keeps nothing: the next pass looks again and goes on where this one stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from setpoint.core.errors import ConflictError, SetpointError
from setpoint.reconcile.cluster import takeover
from setpoint.reconcile.cluster.comparing import Doing, ObjectPlan, answered
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.order import Step, prune_order
from setpoint.reconcile.cluster.owner import MANAGER, Owner, owner_of
from setpoint.reconcile.cluster.ports import Cluster, Deletion, Seen
from setpoint.reconcile.health.kinds import judge
from setpoint.reconcile.health.model import Verdict
from setpoint.reconcile.model import DeployReason, Health

_REPLACED = frozenset({("batch", "Job")})
"""Made anew without asking when a field cannot be changed: what a Job leaves behind is its run."""


@dataclass(slots=True)
class Taken:
    """What one step did, and what stands in its way."""

    faults: list[DeployReason] = field(default_factory=list)
    waits: list[DeployReason] = field(default_factory=list)
    wrote: int = 0
    """Objects that were created, changed or deleted."""


def asked(cluster: Cluster, plans: Sequence[ObjectPlan]) -> list[ObjectPlan]:
    """Return the verdicts with dry runs for all that is not sure; what the server refuses stays a change, and is told when it is made.

    Raises:
        WorldError: the cluster does not answer (SP682).
    """
    unsure = [one for one in plans if one.unsure and one.doing in (Doing.CHANGE, Doing.REPLACE)]
    if not unsure:
        return list(plans)
    answers = cluster.apply([one.wanted for one in unsure], dry_run=True)
    found = []
    for one in plans:
        answer = answers.get(one.key) if one.unsure else None
        if answer is None or isinstance(answer, SetpointError):
            found.append(replace(one, unsure=False))
        else:
            found.append(answered(one, answer, plans))
    return found


def apply(cluster: Cluster, steps: Sequence[Step], plans: Mapping[ObjectKey, ObjectPlan]) -> Taken:
    """Bring objects to what is wanted, step by step; a step that has to be waited for is the last of this pass.

    Raises:
        WorldError: the cluster does not answer (SP682).
    """
    taken = Taken()
    wave: list[ObjectKey] = []
    for position, step in enumerate(steps):
        if position and steps[position - 1].wave != step.wave:
            wave = []
        wave += step.keys
        _write(cluster, [plans[key] for key in step.keys if key in plans], taken)
        if taken.faults:
            return taken
        later = [plans[key] for one in steps[position + 1 :] for key in one.keys if key in plans]
        pending = [one for one in later if one.doing is not Doing.NOTHING]
        if pending and step.wait:
            unready = list(_unready(cluster, wave if step.wait == "healthy" else step.keys))
            if unready:
                first = min(pending, key=lambda one: one.key)
                found = f"{'; '.join(unready[:3])}: so {first.key.subject} and {len(pending) - 1} more are not applied yet"
                taken.waits.append(DeployReason("WAVE_WAITS", f"wave {step.wave}", found.replace(" and 0 more are", " is")))
                return taken
    return taken


def _write(cluster: Cluster, plans: Sequence[ObjectPlan], taken: Taken) -> None:
    """Apply the objects of one step."""
    writing = []
    for one in plans:
        if one.doing is Doing.REFUSE:
            fix = "give one of the two another name, or remove it from one of them"
            taken.faults.append(DeployReason("OBJECT_TAKEN", one.key.subject, one.why, fix, "problem"))
        elif one.doing is Doing.WAIT:
            taken.waits.append(DeployReason("OBJECT_WAITS", one.key.subject, one.why))
        elif one.doing is Doing.REPLACE:
            _replace(cluster, one, taken)
        elif one.doing in (Doing.CREATE, Doing.CHANGE):
            writing.append(_adopted(cluster, one))
    if not writing:
        return
    for key, result in cluster.apply([one.wanted for one in writing]).items():
        if isinstance(result, SetpointError):
            taken.faults.append(DeployReason(result.code, key.subject, result.what, result.fix, "problem"))
        else:
            taken.wrote += 1


def _adopted(cluster: Cluster, one: ObjectPlan) -> ObjectPlan:
    """Take over the fields of whoever declared the object before, so that what is left out now is really removed."""
    if one.live is None or takeover.is_adopted(one.live, MANAGER):
        return one
    patch = takeover.patch(one.live, MANAGER)
    if patch is not None:
        try:
            cluster.take_over(one.key, str(one.wanted["apiVersion"]), patch)
        except ConflictError:
            return one  # somebody was faster; the next pass looks again
    return one


def _replace(cluster: Cluster, one: ObjectPlan, taken: Taken) -> None:
    if (one.key.group, one.key.kind) not in _REPLACED:
        fix = f"give it another name, or delete it by hand: kubectl delete {one.key.kind.lower()}/{one.key.name} -n {one.key.namespace}"
        taken.faults.append(
            DeployReason("IMMUTABLE", one.key.subject, f"{one.why}: it would have to be deleted and made again", fix, "problem")
        )
        return
    _delete(cluster, [one], taken)
    taken.waits.append(DeployReason("OBJECT_WAITS", one.key.subject, f"{one.why}: it is deleted and made again"))


def _delete(cluster: Cluster, plans: Sequence[ObjectPlan], taken: Taken) -> None:
    wanted = [
        Deletion(one.key, str((one.live or {}).get("apiVersion", "")), str(((one.live or {}).get("metadata") or {}).get("uid", "")))
        for one in plans
    ]
    for key, error in cluster.delete(wanted).items():
        if error is None:
            taken.wrote += 1
        elif not isinstance(error, ConflictError):  # another object of that name by now: the next pass looks again
            taken.faults.append(DeployReason(error.code, key.subject, error.what, error.fix, "problem"))


def _unready(cluster: Cluster, keys: Sequence[ObjectKey]) -> Iterator[str]:
    for key, seen in cluster.seen(keys).items():
        verdict = judge(seen.object) if seen.object is not None else Verdict(Health.MISSING, "it is not there yet")
        if verdict.health is not Health.HEALTHY:
            yield f"{key.subject} is {verdict.health}: {verdict.found}"


def prune(cluster: Cluster, gone: Mapping[ObjectKey, Seen], waves: Mapping[ObjectKey, int], owner: Owner) -> tuple[Taken, list[ObjectKey]]:
    """Delete what is no longer wanted, the reverse of how it was applied, one step a pass; returns also what is gone or is not ours.

    Raises:
        WorldError: the cluster does not answer (SP682).
    """
    taken, absent = Taken(), []
    for step in prune_order({key: waves.get(key, 0) for key in gone}):
        deleting, leaving = [], False
        for key in step.keys:
            seen = gone[key]
            if not seen.known or seen.stale is not None:
                leaving = True
            elif seen.object is None or owner_of(seen.object) != owner:
                absent.append(key)  # nobody's of ours any more: whoever took it keeps it
            elif (seen.object.get("metadata") or {}).get("deletionTimestamp"):
                leaving = True
                finalizers = ", ".join((seen.object.get("metadata") or {}).get("finalizers") or ()) or "none"
                taken.waits.append(DeployReason("OBJECT_DELETED", key.subject, f"it is being deleted; finalizers: {finalizers}"))
            else:
                deleting.append(ObjectPlan(key, {}, seen.object, Doing.NOTHING))
        if deleting:
            _delete(cluster, deleting, taken)
        if deleting or leaving:
            return taken, absent
    return taken, absent
