"""What has to be done to the objects of one application: a decision for each, with its owner and identity, and who changed it.

Called by the target on every pass and by `diff`; pure. A decision that asks the server is made again with the answer (`asked` in
`applying`), and the answer is kept for as long as manifest and live object stay the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.core import canonical
from setpoint.core.digest import sha256
from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster import autoscale, difference, ignore, takeover
from setpoint.reconcile.cluster.decide import Action, Allowed, ObjectVerdict, Seen, Verdicts, decide
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object, ObjectKey
from setpoint.reconcile.cluster.order import needs
from setpoint.reconcile.cluster.owner import MANAGER, Made, Owner, identified, manifest_digest, owner_of
from setpoint.reconcile.cluster.replacing import why_not
from setpoint.reconcile.cluster.secrets import Opening, opened
from setpoint.reconcile.drift.model import UNKNOWN, Deviation
from setpoint.reconcile.model import Difference

_NEW = Seen(None, known=True)


@dataclass(frozen=True, slots=True)
class Who:
    """In whose name objects are applied."""

    owner: Owner
    made: Made
    open: Opening
    approved: Collection[str] | None = None
    """The objects whose loss people approved with this promotion; None where nobody has to."""
    others: Mapping[ObjectKey, Made] = field(default_factory=dict)
    """What is there in the name of another promotion: the revision that a canary is compared with."""

    def names(self, manifest: Object, live: Object | None) -> dict[str, Any]:
        """Return a manifest as it is applied: with its identity, and then opened."""
        made = self.others.get(ObjectKey.of(manifest), self.made)
        return opened(identified(manifest, self.owner, made, live), self.open)


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One object: what is wanted, what is seen of it, and what is decided."""

    key: ObjectKey
    wanted: Mapping[str, Any]
    """As it is applied."""
    seen: Seen
    verdict: ObjectVerdict
    allowed: Allowed
    drifted: bool = False
    """Somebody else changed it: what was applied last is what is still wanted."""

    @property
    def live(self) -> Object | None:
        """The object as it was seen; None when it is not there."""
        return self.seen.live

    @property
    def comparison(self) -> Comparison:
        """What differs."""
        return self.verdict.comparison or Comparison()

    @property
    def rests(self) -> bool:
        """Whether nothing is to be done."""
        return self.verdict.action is Action.NOTHING

    @property
    def digest(self) -> str:
        """What an answer of the server is kept under, beside the live object's."""
        return str(sha256(canonical.dumps(dict(self.wanted))))


def plan(
    manifests: Sequence[Object],
    seen: Mapping[ObjectKey, Seen],
    who: Who,
    kept: Verdicts,
    *,
    settled: bool,
    declared: Sequence[ignore.IgnoreRule] = (),
) -> list[ObjectPlan]:
    """Return what every object wants; settled: all of this was there before, so what is missing was taken away.

    declared are the environment's rules about fields that are left to somebody else.
    """
    live = [look.live for look in seen.values() if look.live is not None]
    rules = [*(one.rule for one in autoscale.scaled([*manifests, *live])), *declared]
    needed = needs(manifests)
    found = []
    for manifest in manifests:
        key = ObjectKey.of(manifest)
        look = seen.get(key, Seen(None, known=False))
        if not look.known and any(seen.get(one, Seen(None, known=False)).live is None for one in needed.get(key, ())):
            look = _NEW  # nothing can be there before its namespace or definition is
        unapproved = who.approved is not None and key.kind != "Job" and key.subject not in who.approved
        allowed = Allowed(MANAGER, unreplaced=why_not(manifest), unapproved=unapproved, rules=rules)
        found.append(_one(manifest, look, who, allowed, kept))
    return [_missing(one, settled=settled) if one.verdict.action is Action.CREATE else one for one in found]


def _missing(one: ObjectPlan, *, settled: bool) -> ObjectPlan:
    """Return the plan of what is not there: taken away if it was there before, but for a Job that the cluster clears away by itself."""
    if settled and one.key.kind == "Job" and (one.wanted.get("spec") or {}).get("ttlSecondsAfterFinished") is not None:
        return replace(one, verdict=ObjectVerdict(Action.NOTHING))
    return replace(one, drifted=settled)


def _one(manifest: Object, look: Seen, who: Who, allowed: Allowed, kept: Verdicts) -> ObjectPlan:
    key = ObjectKey.of(manifest)
    wanted = who.names(manifest, look.live)
    if look.live is not None:
        wanted = ignore.to_apply(wanted, look.live, MANAGER, allowed.rules)
    refusal = _refusal(key, look, who.owner)
    if refusal is not None:
        return ObjectPlan(key, wanted, look, ObjectVerdict(Action.WAIT, (refusal,)), allowed)
    one = ObjectPlan(key, wanted, look, ObjectVerdict(Action.NOTHING), allowed)
    return decided(one, kept.of(key, one.digest, look.digest))


def _refusal(key: ObjectKey, look: Seen, owner: Owner) -> Reason | None:
    """Return why nothing may be done to an object: it is somebody else's, or what is known of it may be old."""
    if look.stale_since and look.known:
        found = f"what is known of it may be old since {look.stale_since}: {look.stale_reason}"
        return Reason("LIVE_STALE", Outcome.WAIT, key.subject, found, "the watch is up again")
    other = owner_of(look.live) if look.live is not None else None
    if other is None or other == owner:
        return None
    whose = f"{other}" + ("" if other.home == owner.home else f" of another home ({other.home or 'unknown'})")
    fix = "give one of the two another name, or remove it from one of them"
    return Reason("OBJECT_TAKEN", Outcome.DENY, key.subject, f"it belongs to {whose}, and {owner} wants it too", "one owner", fix)


def decided(one: ObjectPlan, certain: Comparison | None) -> ObjectPlan:
    """Return the decision about an object; certain is what the server said, if it was asked."""
    verdict = decide(one.wanted, one.seen, one.allowed, certain)
    live = one.live or {}
    changed = verdict.comparison is not None and verdict.comparison.sure and bool(verdict.comparison.differences)
    return replace(one, verdict=verdict, drifted=changed and manifest_digest(live) == manifest_digest(one.wanted))


def answered(one: ObjectPlan, predicted: Object) -> Comparison:
    """Return what differs, with the answer of a dry run."""
    live = one.live or {}
    return difference.compare(live if takeover.is_adopted(live, MANAGER) else takeover.taken(live, MANAGER), predicted, MANAGER)


def deviations(plans: Sequence[ObjectPlan], owner: Owner) -> dict[ObjectKey, list[Deviation]]:
    """Return what somebody else changed of the objects that were applied."""
    found: dict[ObjectKey, list[Deviation]] = {}
    for one in plans:
        if not one.drifted:
            continue
        if one.verdict.action is Action.CREATE:
            gone = Difference(one.key.subject, "object", "there", "deleted")
            found[one.key] = [Deviation(owner.app, owner.environment, "object", gone)]
        elif one.live is not None:
            found[one.key] = [
                Deviation(owner.app, owner.environment, "object", difference_of(one.key, change), _writer(change))
                for change in one.comparison.differences
            ]
    return found


def difference_of(key: ObjectKey, found: FieldDifference) -> Difference:
    """Return a field's difference as people read it."""
    return Difference(key.subject, found.path, _text(found.change.after), _text(found.change.before))


def _writer(found: FieldDifference) -> str:
    return str(found.writer) if found.writer is not None else UNKNOWN


def _text(value: Any) -> str:
    return "left out" if value is None else str(value)[:300]
