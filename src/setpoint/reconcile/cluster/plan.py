"""What an apply or a prune does to the objects of a cluster, as a plan says it: the same words as for the host (`reconcile.plan`). Pure.

Called by `observe.plan` and by the gate for a Kubernetes target. Its destructive sentences are what approvals bind to, so they change only
when what is lost changes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from setpoint.reconcile.changes import FieldChange
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object, ObjectKey
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
