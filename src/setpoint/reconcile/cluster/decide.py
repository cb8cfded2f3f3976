"""What is to be done about one object of a cluster now, with every reason: pure functions of what is desired and what is seen (law 6).

Called by the reconciler of a Kubernetes target for each object on each pass, in the order's steps. It asks for a dry run only where the
picture proves nothing, and takes no answer twice: the caller keeps the certain comparison of a manifest and a live digest (`Verdicts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster.difference import examine
from setpoint.reconcile.cluster.ignore import Ignored, IgnoreRule, sift
from setpoint.reconcile.cluster.ignore import reasons as ignored_reasons
from setpoint.reconcile.cluster.immutable import is_refused_as_immutable
from setpoint.reconcile.cluster.model import Comparison, Object, ObjectKey
from setpoint.reconcile.cluster.takeover import former_managers, is_adopted


class Action(StrEnum):
    """The next call for an object."""

    NOTHING = "nothing"
    CREATE = "create"
    TAKE_OVER = "take over"
    """Make the fields of the tools before ours, then look again."""
    ASK = "ask"
    """Make a dry run, compare (or, when it is refused, `refused`), and decide again with that."""
    APPLY = "apply"
    REPLACE = "replace"
    """Delete it and make it again."""
    WAIT = "wait"
    """Nothing can be done now; the reasons say what has to happen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the picture of the cluster shows of an object."""

    live: Object | None
    known: bool
    """Whether it was looked for: what is not known is never taken for gone."""
    stale_since: str = ""
    """Since when the picture may be old; empty when it is not."""
    stale_reason: str = ""
    digest: str = ""
    """Stays while nothing but times and the status's owners change."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be done without a person."""

    manager: str
    unreplaced: str = "nobody allowed it"
    """Why an object is not deleted and made again when it cannot be changed in place; empty: it is."""
    unapproved: bool = False
    """People approve what is lost here, and did not approve the loss of this object."""
    take_over: bool = True
    """Make objects ours that another tool made."""
    rules: Sequence[IgnoreRule] = ()


@dataclass(frozen=True, slots=True)
class ObjectVerdict:
    """What to do about an object, and why."""

    action: Action
    reasons: tuple[Reason, ...] = ()
    comparison: Comparison | None = None
    """What differs, without what a rule leaves alone."""
    ignored: tuple[Ignored, ...] = ()


def decide(manifest: Object, seen: Seen, allowed: Allowed, certain: Comparison | None = None) -> ObjectVerdict:
    """Return what is to be done about a prepared manifest; certain is what the server said about exactly this manifest and live object."""
    key = ObjectKey.of(manifest)
    stale = _stale(key, seen)
    if not seen.known:
        why = seen.stale_reason or "it was not looked for yet"
        return ObjectVerdict(Action.WAIT, (Reason("LIVE_UNKNOWN", Outcome.WAIT, key.subject, f"nothing is known of it: {why}", "a look"),))
    live = seen.live
    if live is None:
        return ObjectVerdict(Action.CREATE, (*stale, Reason("OBJECT_NEW", Outcome.ALLOW, key.subject, "it is not there")))
    leaving = _leaving(key, live)
    if leaving is not None:
        return ObjectVerdict(Action.WAIT, (*stale, leaving))
    foreign = _foreign(key, live, allowed)
    if foreign is not None:
        return ObjectVerdict(foreign[0], (*stale, foreign[1]))
    found = certain if certain is not None else examine(live, manifest, allowed.manager)
    kept, ignored = sift(found, key, allowed.rules)
    notes = (*stale, *(Reason("FIELD_IGNORED", Outcome.ALLOW, key.subject, text) for text in ignored_reasons(ignored)))
    if kept.in_step:
        return ObjectVerdict(Action.NOTHING, notes, kept, ignored)
    if not kept.sure:
        return ObjectVerdict(Action.ASK, notes, kept, ignored)
    action, reasons = _change(key, kept, allowed)
    return ObjectVerdict(action, (*notes, *reasons), kept, ignored)


def refused(manifest: Object, live: Object, manager: str, message: str) -> Comparison | None:
    """Return what differs when the server refuses the dry run itself, for the object would have to be made anew; None for another refusal.

    Where no rule of ours knew it, the server's own words are the reason.
    """
    if not is_refused_as_immutable(message):
        return None
    found = examine(live, manifest, manager)
    differences = found.differences
    if not any(one.replaces for one in differences):
        differences = tuple(replace(one, replaces=message) for one in differences)
    return replace(found, differences=differences, sure=True)


def _stale(key: ObjectKey, seen: Seen) -> tuple[Reason, ...]:
    if not seen.stale_since:
        return ()
    found = f"what is known of it may be old: {seen.stale_reason}, since {seen.stale_since}"
    return (Reason("LIVE_STALE", Outcome.WAIT, key.subject, found, "the watch is up again"),)


def _leaving(key: ObjectKey, live: Object) -> Reason | None:
    meta = live.get("metadata") or {}
    if not meta.get("deletionTimestamp"):
        return None
    holders = ", ".join(str(one) for one in meta.get("finalizers") or ()) or "its dependants"
    found = f"it is being deleted since {meta['deletionTimestamp']} and held by {holders}"
    return Reason(
        "BEING_DELETED", Outcome.WAIT, key.subject, found, "it is gone, then it is made again", "find out why the finalizer stays"
    )


def _foreign(key: ObjectKey, live: Object, allowed: Allowed) -> tuple[Action, Reason] | None:
    """Return what to do first about an object that another tool made; None when none did."""
    former = former_managers(live, allowed.manager)
    if is_adopted(live, allowed.manager) or not former:
        return None
    names = ", ".join(dict.fromkeys(str(writer) for writer in former))
    if allowed.take_over:
        return Action.TAKE_OVER, Reason("TAKEN_OVER", Outcome.ALLOW, key.subject, f"its fields become ours: {names} made it")
    fix = "allow to take it over, or remove it from the manifests"
    return Action.WAIT, Reason("OBJECT_FOREIGN", Outcome.DENY, key.subject, f"{names} made it", "an object of nobody else", fix)


def _change(key: ObjectKey, found: Comparison, allowed: Allowed) -> tuple[Action, tuple[Reason, ...]]:
    reasons = [
        Reason(
            "FIELD_DIFFERS",
            Outcome.ALLOW,
            key.subject,
            f"{one.path} is {one.change.before} (writer {one.writer or 'unknown'})",
            str(one.change.after),
        )
        for one in found.differences
    ]
    replaced = list(dict.fromkeys(one.replaces for one in found.differences if one.replaces))
    if not replaced:
        return Action.APPLY, tuple(reasons)
    if not allowed.unreplaced and allowed.unapproved:
        fix = "delete it by hand, or promote a change that shows it: setpoint plan"
        lost = "it would be deleted and made again, and no approval of this promotion names it"
        reasons += [Reason("REPLACE_UNAPPROVED", Outcome.DENY, key.subject, f"{why}: {lost}", "an approval", fix) for why in replaced]
        return Action.WAIT, tuple(reasons)
    if not allowed.unreplaced:
        reasons += [Reason("OBJECT_REPLACED", Outcome.ALLOW, key.subject, f"{why}: it is deleted and made again") for why in replaced]
        return Action.REPLACE, tuple(reasons)
    fix = "undo the change, or allow to delete it and make it again: setpoint.dev/replace"
    unreplaced = f"; it is not deleted and made again, for {allowed.unreplaced}"
    reasons += [Reason("OBJECT_IMMUTABLE", Outcome.DENY, key.subject, f"{why}{unreplaced}", "a change in place", fix) for why in replaced]
    return Action.WAIT, tuple(reasons)


@dataclass(slots=True)
class Verdicts:
    """The server's answers that still hold: one for each object, of one manifest and one state of it."""

    _kept: dict[ObjectKey, tuple[str, str, Comparison]] = field(default_factory=dict)

    def of(self, key: ObjectKey, manifest_digest: str, live_digest: str) -> Comparison | None:
        """Return what the server said about exactly this manifest and this live state; None when it was not asked."""
        kept = self._kept.get(key)
        return kept[2] if kept is not None and kept[:2] == (manifest_digest, live_digest) else None

    def keep(self, key: ObjectKey, manifest_digest: str, live_digest: str, found: Comparison) -> None:
        """Keep an answer; what the server did not say itself is not one."""
        if found.sure:
            self._kept[key] = (manifest_digest, live_digest, found)

    def forget_but(self, wanted: Mapping[ObjectKey, object]) -> None:
        """Forget what is not in the inventory any more."""
        for key in self._kept.keys() - wanted.keys():
            del self._kept[key]
