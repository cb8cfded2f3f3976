"""The objects with which a cluster refuses images by itself, and which digests it lets in: pure (law 6).

A ValidatingAdmissionPolicy of the API server (admissionregistration.k8s.io/v1), one for each home and cluster; a binding for each
namespace, and in it a ConfigMap whose keys are the digests. Pods are judged, for everything that runs becomes one, whatever makes it.
An update is judged by what it changes, so that labels and finalizers of a pod of before still move. What is wrong with it denies pods in
namespaces that are bound by name and nowhere else: the policy leaves out those of Kubernetes itself, and failing closed ends there.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.owner import HOME
from setpoint.reconcile.pods.digests import reported
from setpoint.reconcile.pods.model import Pod

GROUP: Final = "admissionregistration.k8s.io"
VERSION: Final = f"{GROUP}/v1"
PROTECTED: Final = ("kube-system", "kube-public", "kube-node-lease")
"""Never bound, and left out by the policy too: a mistake must not keep a cluster from mending itself."""
_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_NAME: Final = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Names:
    """How the objects of one home for one namespace are called."""

    home: str
    namespace: str

    @property
    def policy(self) -> str:
        """The policy, and the ConfigMap in each namespace."""
        return f"setpoint-images-{self.home.rpartition('-')[2][:8].lower() or 'home'}"

    @property
    def binding(self) -> str:
        """The binding of the namespace."""
        return f"{self.policy}-{self.namespace}"

    @property
    def keys(self) -> tuple[ObjectKey, ObjectKey, ObjectKey]:
        """List, policy and binding: the order in which they come, and the reverse of the one in which they go."""
        return (
            ObjectKey("", "ConfigMap", self.namespace, self.policy),
            ObjectKey(GROUP, "ValidatingAdmissionPolicy", "", self.policy),
            ObjectKey(GROUP, "ValidatingAdmissionPolicyBinding", "", self.binding),
        )


def listed(digests: Iterable[str]) -> dict[str, str]:
    """Return the data of the list: a key of a ConfigMap has no colon, so the hexadecimal part alone."""
    return {digest.rpartition(":")[2]: "" for digest in sorted(digests)}


def manifests(names: Names, data: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return list, policy and binding as they are applied."""

    def meta(name: str, namespace: str = "") -> dict[str, Any]:
        place = {"namespace": namespace} if namespace else {}
        return {"name": name, **place, "labels": {"app.kubernetes.io/managed-by": "setpoint"}, "annotations": {HOME: names.home}}

    images = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(names.policy, names.namespace), "data": data}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods", "pods/ephemeralcontainers"]}
    spec = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {
            "resourceRules": [rule],
            "namespaceSelector": {"matchExpressions": [{"key": _NAME, "operator": "NotIn", "values": list(PROTECTED)}]},
        },
        "validations": [_validation(one) for one in _LISTS],
    }
    policy = {"apiVersion": VERSION, "kind": "ValidatingAdmissionPolicy", "metadata": meta(names.policy), "spec": spec}
    bound = {
        "policyName": names.policy,
        "validationActions": ["Deny"],
        "paramRef": {"name": names.policy, "namespace": names.namespace, "parameterNotFoundAction": "Deny"},
        "matchResources": {"namespaceSelector": {"matchExpressions": [{"key": _NAME, "operator": "In", "values": [names.namespace]}]}},
    }
    binding = {"apiVersion": VERSION, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta(names.binding), "spec": bound}
    return images, policy, binding


def _validation(field: str) -> dict[str, str]:
    """Return what has to hold of one list of containers, and the sentence for what does not."""
    known = "c.image.contains('@sha256:') && c.image.split('@sha256:')[1] in params.data"
    same = f"oldObject.spec.{field}.exists(o, o.name == c.name && o.image == c.image)"
    before = f"request.operation == 'UPDATE' && has(oldObject.spec.{field}) && {same}"
    good = f"(has(params.data) && {known}) || ({before})"
    text = f"object.spec.{field}.filter(c, !({good})).map(c, c.image).join(', ')"
    return {
        "expression": f"!has(object.spec.{field}) || object.spec.{field}.all(c, {good})",
        "message": "no pin of Setpoint names this image here",
        "messageExpression": f"'no pin of Setpoint names this image here: ' + {text}",
        "reason": "Forbidden",
    }


def admitted(wanted: Collection[str], before: Collection[str], pods: Iterable[Pod], *, settled: bool) -> frozenset[str]:
    """Return the digests of the list: all that is wanted, and what it had until everything rests and no pod has it any more.

    Before are digests of earlier promotions that the list has now, with their algorithm; settled: every application there rests.
    """
    if not settled:
        return frozenset(wanted) | frozenset(before)
    running = {reported(one.image) for pod in pods if not pod.ended for one in pod.containers}
    return frozenset(wanted) | (frozenset(before) & running)
