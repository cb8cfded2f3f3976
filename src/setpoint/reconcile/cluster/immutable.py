"""Which fields cannot be changed in place: for them an object has to be deleted and made again, or the change is refused.

Called by the comparison, so that a plan says it before anything is tried; the API server stays the judge. The rules are those of the
server's own validation (pkg/apis/*/validation, Kubernetes 1.34).
"""

import re
from collections.abc import Callable
from typing import Any, Final

from setpoint.reconcile.cluster.fields import Path
from setpoint.reconcile.cluster.model import Object

_SPEC: Final = ("f:spec",)
_STATEFUL_MAY: Final = frozenset(
    {
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    }
)
_CLAIM_MAY: Final = frozenset({"volumeAttributesClassName"})
_JOB_MAY: Final = frozenset(
    {"activeDeadlineSeconds", "backoffLimit", "completions", "manualSelector", "parallelism", "suspend", "ttlSecondsAfterFinished"}
)
_CLASS_MAY: Final = frozenset({"allowVolumeExpansion", "metadata", "mountOptions", "allowedTopologies"})
_POD_MAY: Final = frozenset({"activeDeadlineSeconds", "schedulingGates", "terminationGracePeriodSeconds", "tolerations"})


def _under(*names: str) -> Callable[[Path], bool]:
    prefix = tuple(f"f:{name}" for name in names)
    return lambda path: path[: len(prefix)] == prefix


def _spec_but(names: frozenset[str]) -> Callable[[Path], bool]:
    return lambda path: path[:1] == _SPEC and len(path) > 1 and path[1][2:] not in names


def _claim(path: Path) -> bool:
    return _spec_but(_CLAIM_MAY)(path) and path[1:3] != ("f:resources", "f:requests")


def _pod(path: Path) -> bool:
    image = len(path) == 4 and path[1] in ("f:containers", "f:initContainers") and path[3] == "f:image"
    return _spec_but(_POD_MAY)(path) and not image


def _service(path: Path) -> bool:
    return path[:2] in (("f:spec", "f:clusterIP"), ("f:spec", "f:clusterIPs"))


_SELECTOR: Final = _under("spec", "selector")
_IMMUTABLE: Final[dict[tuple[str, str], Callable[[Path], bool]]] = {
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "ReplicaSet"): _SELECTOR,
    ("apps", "StatefulSet"): _spec_but(_STATEFUL_MAY),
    ("batch", "Job"): _spec_but(_JOB_MAY),
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Secret"): _under("type"),
    ("rbac.authorization.k8s.io", "RoleBinding"): _under("roleRef"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _under("roleRef"),
    ("storage.k8s.io", "StorageClass"): lambda path: path[0][2:] not in _CLASS_MAY,
    ("scheduling.k8s.io", "PriorityClass"): lambda path: path[0] in ("f:value", "f:preemptionPolicy"),
    ("node.k8s.io", "RuntimeClass"): _under("handler"),
    ("networking.k8s.io", "IngressClass"): _under("spec", "controller"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): lambda path: path[:2] in (("f:spec", "f:group"), ("f:spec", "f:scope")),
}
_CONTENT: Final = frozenset({"f:data", "f:binaryData", "f:immutable"})
_REFUSED: Final = re.compile(
    r"field is immutable|is immutable after creation|may not be changed|may not change once set|cannot change roleRef"
    r"|updates to statefulset spec for fields other than|pod updates may not change fields other than"
    r"|updates to provisioner are forbidden|updates to parameters are forbidden|updates to reclaimPolicy are forbidden",
    re.IGNORECASE,
)


def why_replaced(live: Object, path: Path, wanted: Any) -> str:
    """Return why a live object cannot take another value at a path; empty when it can."""
    group = str(live.get("apiVersion", "")).rpartition("/")[0]
    kind = str(live.get("kind", ""))
    if group == "" and kind in ("ConfigMap", "Secret") and live.get("immutable") is True and path[0] in _CONTENT:
        return f"the {kind} is immutable"
    rule = _IMMUTABLE.get((group, kind))
    if rule is None or not rule(path) or (kind == "Service" and _is_released(live, wanted)):
        return ""
    names = [element[2:] for element in path if element[:2] == "f:"]
    return f"{'.'.join(names[:2])} of a {kind} cannot be changed"


def _is_released(live: Object, wanted: Any) -> bool:
    """A Service may get an address when it had none, and give one up only with its type."""
    return (live.get("spec") or {}).get("clusterIP") in (None, "") or wanted is None


def is_refused_as_immutable(message: str) -> bool:
    """Say whether an API server's refusal means that the object would have to be made anew (SP686)."""
    return _REFUSED.search(message) is not None
