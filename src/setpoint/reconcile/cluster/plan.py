"""What an apply or a prune does to the objects of a cluster, as a plan says it: the same words as for the host (`reconcile.plan`). Pure.

Called by `observe.plan` and by the gate for a Kubernetes target. Its destructive sentences are what approvals bind to, so they change only
when what is lost changes.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from setpoint.reconcile.changes import FieldChange, field_changes
from setpoint.reconcile.cluster.fields import Path
from setpoint.reconcile.cluster.immutable import why_replaced
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object, ObjectKey
from setpoint.reconcile.cluster.replacing import why_not
from setpoint.reconcile.plan import ObjectChange

_CONSEQUENCE: Final = {
    ("", "Namespace"): "everything in it is deleted",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "every object of its kind is deleted, in all namespaces",
    ("", "PersistentVolumeClaim"): "its data may be deleted with it, as its class says",
    ("", "PersistentVolume"): "its data may be deleted with it, as its reclaim policy says",
    ("", "Secret"): "its content is gone from the cluster",
    ("", "ConfigMap"): "its content is gone from the cluster",
    ("", "Service"): "nothing leads to its pods any more",
    ("networking.k8s.io", "Ingress"): "what it routes is no longer served",
    ("gateway.networking.k8s.io", "HTTPRoute"): "what it routes is no longer served",
    ("gateway.networking.k8s.io", "Gateway"): "what its routes lead to is no longer served",
    ("networking.k8s.io", "NetworkPolicy"): "what it kept from pods may reach them",
    ("batch", "Job"): "a run that has not ended is stopped",
    ("batch", "CronJob"): "it runs no more, and a run that has not ended is stopped",
}
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
_OF_PODS: Final = {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet"), ("", "Pod")}


def name_of(key: ObjectKey, namespace: str = "") -> str:
    """Return what people read of an object: `Deployment/web`, with its namespace where that is not the given one."""
    return key.subject if key.namespace in ("", namespace) else f"{key.subject} in {key.namespace}"


def created(key: ObjectKey, needed: Sequence[ObjectKey] = (), namespace: str = "") -> tuple[ObjectChange, str]:
    """Return the creation of an object, and what it waits for: a namespace or definition that the same plan makes, so nothing was tried."""
    said = ", ".join(one.subject for one in needed)
    return ObjectChange(name_of(key, namespace), "create"), f"predicted: {said} is made by the same plan" if said else ""


def changed(live: Object, comparison: Comparison, namespace: str = "") -> ObjectChange | None:
    """Return the change of a live object; None when no value of it changes."""
    if not comparison.differences:
        return None
    fields = tuple(difference.change for difference in comparison.differences)
    return ObjectChange(name_of(ObjectKey.of(live), namespace), "change", fields, tuple(_losses(live, comparison.differences)))


def removed(key: ObjectKey, namespace: str = "") -> ObjectChange:
    """Return the removal of an object, with what is lost by it."""
    return ObjectChange(name_of(key, namespace), "remove", (), (_consequence(key) or "it is removed",))


def _consequence(key: ObjectKey) -> str:
    kind = (key.group, key.kind)
    return _CONSEQUENCE.get(kind, "its pods stop" if kind in _OF_PODS else "")


def _losses(live: Object, differences: Sequence[FieldDifference]) -> Iterator[str]:
    key = ObjectKey.of(live)
    replaced = list(dict.fromkeys(difference.replaces for difference in differences if difference.replaces))
    if replaced:
        lost = _consequence(key)
        yield f"{'; '.join(replaced)}: it is deleted and made again" + (f", and {lost}" if lost else "")
    for difference in differences:
        if difference.path == "spec.replicas" and difference.change.after == 0:
            yield "no replica is left"
        if _goes_away(difference.change, live, key):
            yield f"{difference.path} is removed"


def _goes_away(change: FieldChange, live: Object, key: ObjectKey) -> bool:
    """Say whether a key of a Secret or ConfigMap goes: who reads it fails."""
    data: Any = live.get("data")
    return (
        key.group == "" and key.kind in ("Secret", "ConfigMap") and bool(data) and change.path.startswith("data") and change.after is None
    )


def rendered_changes(before: Sequence[Object], after: Sequence[Object]) -> tuple[ObjectChange, ...]:
    """Return what differs between two renders for a cluster, with what is lost by it: it follows from the files alone, whatever runs.

    Approvals bind to it, so it must not change with the mood of a cluster (decision 0016).
    """
    old, new = ({ObjectKey.of(value): value for value in objects} for objects in (before, after))
    found = [created(key)[0] for key in new if key not in old]
    found += [removed(key) for key in old if key not in new]
    for key, value in new.items():
        fields = field_changes(old[key], value) if key in old else ()
        if fields:
            stays = why_not(value) or key.kind == "Job"  # refused, or only another run
            differences = [
                FieldDifference(one, None, "" if stays else why_replaced(old[key], _path(one.path), one.after)) for one in fields
            ]
            found.append(ObjectChange(name_of(key), "change", fields, tuple(_losses(old[key], differences))))
    return tuple(sorted(found, key=lambda change: change.object))


def _path(text: str) -> Path:
    """Return a written path as the rules of what cannot be changed read it: `spec.containers[web].image`; which item does not matter."""
    return tuple(f"f:{name}" if not item else "k:{}" for name, item in _STEP.findall(text))
