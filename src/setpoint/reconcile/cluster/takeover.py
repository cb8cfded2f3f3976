"""Taking over objects that another tool made: its fields become ours, so that what the manifest leaves out is really removed. Pure.

Called once for an object, before the first apply: without it a key that `kubectl apply` set and nobody declares any more stays for ever,
for the old manager still owns it. The rewriting of managed fields is the way that client-go goes (util/csaupgrade).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.reconcile.cluster.fields import FieldSet, owners
from setpoint.reconcile.cluster.model import Object, Writer

FORMER: Final = frozenset(
    {
        "before-first-apply",
        "helm",
        "kubectl",
        "kubectl-client-side-apply",
        "kubectl-create",
        "kubectl-last-applied",
        "kubectl-replace",
    }
)
"""Managers that declare whole objects. What writes single fields (`kubectl-edit`, `kubectl-patch`, controllers) is not taken over."""


def is_adopted(live: Object, manager: str) -> bool:
    """Say whether a manager has applied an object before: then nothing is to be taken over any more."""
    return any(_is_ours(owned.writer, manager) for owned in owners(live))


def former_managers(live: Object, manager: str, former: frozenset[str] = FORMER) -> tuple[Writer, ...]:
    """Return whose fields of an object would be taken over, in the server's order."""
    return tuple(owned.writer for owned in owners(live) if _is_former(owned.writer, manager, former))


def patch(live: Object, manager: str, former: frozenset[str] = FORMER) -> dict[str, Any] | None:
    """Return the merge patch that makes the fields of former managers ours; None when there are none.

    It holds for the very version of the object that was looked at: the server refuses it (409) when somebody was faster.
    """
    rows = list(_rewritten(live, manager, former))
    if not former_managers(live, manager, former):
        return None
    return {"metadata": {"resourceVersion": (live.get("metadata") or {}).get("resourceVersion"), "managedFields": rows}}


def taken(live: Object, manager: str, former: frozenset[str] = FORMER) -> dict[str, Any]:
    """Return a live object as it will be after the patch: a plan compares with it, and so says what will be removed."""
    meta = {**(live.get("metadata") or {}), "managedFields": list(_rewritten(live, manager, former))}
    return {**live, "metadata": meta}


def _is_ours(writer: Writer, manager: str) -> bool:
    return writer.manager == manager and writer.operation == "Apply" and not writer.subresource


def _is_former(writer: Writer, manager: str, former: frozenset[str]) -> bool:
    """What we wrote by other means than applying is taken over too; what came through a subresource (`kubectl scale`) is not."""
    if writer.subresource:
        return False
    return writer.manager in former or (writer.manager == manager and writer.operation != "Apply")


def _rewritten(live: Object, manager: str, former: frozenset[str]) -> Iterator[Mapping[str, Any]]:
    rows = (live.get("metadata") or {}).get("managedFields") or ()
    ours, time = FieldSet(), ""
    for owned in owners(live):
        if _is_ours(owned.writer, manager) or _is_former(owned.writer, manager, former):
            ours, time = ours.union(owned.fields), max(time, owned.writer.time)
    status = ours.children.get("f:status")
    if status is not None:
        ours = ours.difference(FieldSet(False, {"f:status": status}))
    if not ours.empty:
        row = {"manager": manager, "operation": "Apply", "apiVersion": live.get("apiVersion"), "fieldsType": "FieldsV1"}
        yield row | ({"time": time} if time else {}) | {"fieldsV1": ours.to_json()}
    for raw in rows:
        if isinstance(raw, Mapping):
            writer = Writer(str(raw.get("manager", "")), str(raw.get("operation", "")), "", str(raw.get("subresource") or ""))
            if not _is_ours(writer, manager) and not _is_former(writer, manager, former):
                yield raw
