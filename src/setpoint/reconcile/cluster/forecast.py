"""What would happen to each object of a candidate, in words, from what was seen of it and what a dry run said: pure.

Called by the preview. A sealed Secret is compared by what sops wrote and never opened: whoever may push a branch must not find out values.
"""

from collections.abc import Sequence
from typing import Any, Final

from setpoint.core import canonical, digest
from setpoint.core.errors import NotAllowedError, SetpointError, WorldError
from setpoint.core.reasons import Outcome
from setpoint.reconcile.cluster.comparing import ObjectPlan, answered, decided
from setpoint.reconcile.cluster.decide import Action, refused
from setpoint.reconcile.cluster.hooks import Phase, place
from setpoint.reconcile.cluster.model import FieldDifference, Object, ObjectKey
from setpoint.reconcile.cluster.owner import MANAGER
from setpoint.reconcile.cluster.plan import changed
from setpoint.reconcile.live_plan import LiveChange, LiveField
from setpoint.reconcile.model import SealedSecret

_IDENTITY: Final = "setpoint.dev/"
SETTLED: Final = frozenset({Action.NOTHING, Action.WAIT})


def change(row: ObjectPlan, answer: Object | SetpointError | None, needed: Sequence[ObjectKey]) -> LiveChange | None:
    """Return what would happen to an object; None when it stays as it is."""
    name = row.key.subject
    if row.verdict.action in SETTLED:
        return _waiting(row) if row.verdict.action is Action.WAIT else None
    if needed:
        makers = ", ".join(one.subject for one in needed)
        return LiveChange(name, "create", note=f"predicted, not tried: {makers} is made by the same plan")
    if isinstance(answer, SetpointError) or answer is None:
        return _untaken(row, answer)
    return LiveChange(name, "create") if row.live is None else _compared(decided(row, answered(row, answer)), "")


def _untaken(row: ObjectPlan, answer: SetpointError | None) -> LiveChange | None:
    """Return what would happen to an object that the server did not take in a dry run."""
    name = row.key.subject
    if isinstance(answer, NotAllowedError):
        tried = f"predicted, not tried: our account may not make dry runs there ({answer.what})"
        return LiveChange(name, "create", note=tried) if row.live is None else _compared(row, tried)
    if isinstance(answer, WorldError) or answer is None:
        return LiveChange(name, "unknown", note=answer.what if isinstance(answer, WorldError) else "it was not tried")
    found = refused(row.wanted, row.live, MANAGER, answer.what) if row.live is not None else None
    return LiveChange(name, "refused", note=answer.what) if found is None else _compared(decided(row, found), "")


def _compared(row: ObjectPlan, note: str) -> LiveChange | None:
    fields = tuple(_field(one) for one in row.comparison.differences if not _is_identity(one))
    if row.verdict.action is Action.TAKE_OVER:
        note = note or "; ".join(reason.found for reason in row.verdict.reasons)
    elif not fields:
        return None
    change = changed(row.live or {}, row.comparison)
    lost = change.destructive if change is not None else ()
    denied = [reason for reason in row.verdict.reasons if reason.code == "OBJECT_IMMUTABLE"]
    if denied:
        return LiveChange(row.key.subject, "refused", fields, (), "; ".join(f"{one.found} ({one.fix})" for one in denied))
    return LiveChange(row.key.subject, "replace" if row.verdict.action is Action.REPLACE else "change", fields, lost, note)


def _waiting(row: ObjectPlan) -> LiveChange:
    denied = [reason for reason in row.verdict.reasons if reason.outcome is Outcome.DENY]
    said = "; ".join(reason.found for reason in denied or row.verdict.reasons)
    return LiveChange(row.key.subject, "refused" if denied else "unknown", note=said)


def _field(one: FieldDifference) -> LiveField:
    return LiveField(one.path, one.change.before, one.change.after, str(one.writer) if one.writer is not None else "")


def _is_identity(one: FieldDifference) -> bool:
    """Say whether a field only tells whose an object is, and which promotion made it."""
    return _IDENTITY in one.path


def hook_change(manifest: Object, *, first: bool) -> LiveChange | None:
    """Return that a hook would be run, and when; None for one that is not run now."""
    found = place(manifest, first=first)
    phases = ", ".join(phase for phase in found.phases if phase not in (Phase.PRE_DELETE, Phase.POST_DELETE))
    return LiveChange(ObjectKey.of(manifest).subject, "create", note=f"a hook, run once: {phases}") if phases else None


# Secrets: compared by what sops wrote, never opened


def is_sealed(manifest: Object) -> bool:
    """Say whether a manifest is a Secret as sops wrote it."""
    return manifest.get("kind") == "Secret" and isinstance(manifest.get("sops"), dict)


def unsealed(manifests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return manifests in which no Secret asks to be opened."""
    return [{key: value for key, value in one.items() if key != "sops"} if is_sealed(one) else one for one in manifests]


def unopened(secret: SealedSecret) -> dict[str, bytes]:
    """Stand where Secrets are opened, so that none ever is."""
    raise AssertionError(f"a plan opens no Secret: {secret.name}")


def sealed_change(manifest: Object, before: Object | None, row: ObjectPlan) -> LiveChange | None:
    """Return what would happen to a sealed Secret, by the ciphertexts of what is pinned and of the candidate; None when it stays."""
    note = "its values stay sealed for a plan: they are compared as they lie in Git, and not tried"
    if row.verdict.action is Action.WAIT:
        return _waiting(row)
    if row.live is None:
        return LiveChange(row.key.subject, "create", note=note)
    old, new = _ciphers(before), _ciphers(manifest)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not names:
        return None
    return LiveChange(row.key.subject, "change", tuple(LiveField(f"data.{n}", old.get(n), new.get(n)) for n in names), (), note)


def _ciphers(manifest: Object | None) -> dict[str, str]:
    """Return {key: a mark that is equal for equal ciphertexts} of a sealed Secret."""
    parts = [(manifest or {}).get(part) or {} for part in ("data", "stringData")]
    every = {str(name): text for part in parts for name, text in part.items()}
    return {name: f"***#{digest.sha256(canonical.dumps(str(text)))[7:15]}" for name, text in every.items()}
