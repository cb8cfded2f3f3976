"""What has to be done to the objects of one application: compared with the picture of the cluster, one verdict an object. Pure.

Called by the target on every pass and by `diff`; a comparison that is not sure is asked for as a dry run, and decided with its answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from setpoint.reconcile.cluster import autoscale, difference, ignore, takeover
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object, ObjectKey
from setpoint.reconcile.cluster.order import needs
from setpoint.reconcile.cluster.owner import MANAGER, Made, Owner, identified, manifest_digest, owner_of
from setpoint.reconcile.cluster.ports import Seen, Stale
from setpoint.reconcile.cluster.secrets import Opening, opened
from setpoint.reconcile.drift.model import Deviation
from setpoint.reconcile.model import Difference


class Doing(StrEnum):
    """What an object wants."""

    NOTHING = "nothing"
    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    """Deleted and made anew: a field cannot be changed."""
    WAIT = "wait"
    """It cannot be looked at now, or is being deleted."""
    REFUSE = "refuse"
    """It belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Who:
    """In whose name objects are applied."""

    owner: Owner
    made: Made
    open: Opening

    def names(self, manifest: Object, live: Object | None) -> dict[str, Any]:
        """Return a manifest as it is applied: with its identity, and then opened."""
        return opened(identified(manifest, self.owner, self.made, live), self.open)


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One object: what is wanted, what is there, and what follows."""

    key: ObjectKey
    wanted: Mapping[str, Any]
    """As it is applied."""
    live: dict[str, Any] | None
    doing: Doing
    comparison: Comparison = field(default_factory=Comparison)
    why: str = ""
    """For WAIT, REFUSE and REPLACE."""
    unsure: bool = False
    """Only a dry run can tell whether it really differs."""
    drifted: bool = False
    """Somebody else changed it: what was applied last is what is still wanted."""
    stale: Stale | None = None


def plan(manifests: Sequence[Object], seen: Mapping[ObjectKey, Seen], who: Who, *, settled: bool) -> list[ObjectPlan]:
    """Return what every object wants; settled: all of this was there before, so what is missing was taken away."""
    rules = [one.rule for one in autoscale.scaled([*manifests, *(look.object for look in seen.values() if look.object)])]
    needed = needs(manifests)
    return [_one(manifest, seen, who, rules, needed, settled=settled) for manifest in manifests]


def _one(
    manifest: Object,
    seen: Mapping[ObjectKey, Seen],
    who: Who,
    rules: Sequence[ignore.IgnoreRule],
    needed: Mapping[ObjectKey, tuple[ObjectKey, ...]],
    *,
    settled: bool,
) -> ObjectPlan:
    owner = who.owner
    key = ObjectKey.of(manifest)
    look = seen.get(key, Seen(None, known=False))
    if not look.known:
        absent = [one for one in needed.get(key, ()) if seen.get(one, Seen(None, known=False)).object is None]
        if absent:
            return ObjectPlan(key, who.names(manifest, None), None, Doing.CREATE)
        why = look.stale.reason if look.stale is not None else "it was not looked at yet"
        return ObjectPlan(key, manifest, None, Doing.WAIT, why=why, stale=look.stale)
    live = look.object
    wanted = who.names(manifest, live)
    if look.stale is not None:
        return ObjectPlan(key, wanted, live, Doing.WAIT, why=look.stale.reason, stale=look.stale)
    if live is None:
        return ObjectPlan(key, wanted, None, Doing.CREATE, drifted=settled)
    if (live.get("metadata") or {}).get("deletionTimestamp"):
        return ObjectPlan(key, wanted, live, Doing.WAIT, why="it is being deleted")
    other = owner_of(live)
    if other is not None and other != owner:
        whose = f"{other}" + ("" if other.home == owner.home else f" of another home ({other.home or 'unknown'})")
        return ObjectPlan(key, wanted, live, Doing.REFUSE, why=f"it belongs to {whose}, and {owner} wants it too")
    wanted = ignore.to_apply(wanted, live, MANAGER, rules)
    before = live if takeover.is_adopted(live, MANAGER) else takeover.taken(live, MANAGER)
    comparison, _ = ignore.sift(difference.examine(before, wanted, MANAGER), key, rules)
    return decided(ObjectPlan(key, wanted, live, Doing.NOTHING, comparison, unsure=not comparison.sure))


def answered(one: ObjectPlan, predicted: Object, every: Sequence[ObjectPlan]) -> ObjectPlan:
    """Return the verdict on an unsure object with the answer of its dry run."""
    assert one.live is not None, "a dry run of what is there"  # noqa: S101 - only CHANGE is unsure
    rules = [found.rule for found in autoscale.scaled([*(plan.wanted for plan in every)])]
    before = one.live if takeover.is_adopted(one.live, MANAGER) else takeover.taken(one.live, MANAGER)
    comparison, _ = ignore.sift(difference.compare(before, predicted, MANAGER), one.key, rules)
    return decided(ObjectPlan(one.key, one.wanted, one.live, Doing.NOTHING, comparison))


def decided(one: ObjectPlan) -> ObjectPlan:
    """Return what follows from a comparison."""
    if one.comparison.in_step:
        return one
    live = one.live or {}
    drifted = bool(one.comparison.differences) and manifest_digest(live) == manifest_digest(one.wanted)
    replaces = next((found.replaces for found in one.comparison.differences if found.replaces), "")
    doing = Doing.REPLACE if replaces else Doing.CHANGE
    return ObjectPlan(one.key, one.wanted, one.live, doing, one.comparison, replaces, one.unsure, drifted)


def deviations(plans: Sequence[ObjectPlan], owner: Owner) -> dict[ObjectKey, list[Deviation]]:
    """Return what somebody else changed of the objects that were applied."""
    found: dict[ObjectKey, list[Deviation]] = {}
    for one in plans:
        if not one.drifted or one.unsure:
            continue
        if one.live is None:
            gone = Difference(one.key.subject, "object", "there", "deleted")
            found[one.key] = [Deviation(owner.app, owner.environment, "object", gone)]
        else:
            found[one.key] = [
                Deviation(owner.app, owner.environment, "object", difference_of(one.key, change), _writer(change))
                for change in one.comparison.differences
            ]
    return found


def difference_of(key: ObjectKey, found: FieldDifference) -> Difference:
    """Return a field's difference as people read it."""
    return Difference(key.subject, found.path, _text(found.change.after), _text(found.change.before))


def _writer(found: FieldDifference) -> str:
    return str(found.writer) if found.writer is not None else "unknown"


def _text(value: Any) -> str:
    return "left out" if value is None else str(value)[:300]
