"""How files of people name kinds of Kubernetes objects: `Deployment`, and `Rollout.argoproj.io` for what a cluster learns from a CRD.

Called by the configuration of promotion and by every judge of a render; a bare name can never be taken by a custom resource. Reads nothing.

A group without a dot is Kubernetes' own, for the API server refuses such a CRD. Below `k8s.io` only the groups listed here are: an
annotation (`api-approved.kubernetes.io: unapproved`) lets anybody define a CRD in any other.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = (
    "APIService Binding CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle ConfigMap "
    "ControllerRevision CronJob CSIDriver CSINode CSIStorageCapacity CustomResourceDefinition DaemonSet Deployment "
    "DeviceClass Endpoints EndpointSlice Event FlowSchema Gateway GatewayClass GRPCRoute HorizontalPodAutoscaler HTTPRoute "
    "Ingress IngressClass IPAddress Job Lease LimitRange MutatingAdmissionPolicy MutatingAdmissionPolicyBinding "
    "MutatingWebhookConfiguration Namespace NetworkPolicy Node PersistentVolume PersistentVolumeClaim Pod PodDisruptionBudget "
    "PodTemplate PriorityClass PriorityLevelConfiguration ReferenceGrant ReplicaSet ReplicationController ResourceClaim "
    "ResourceClaimTemplate ResourceQuota ResourceSlice Role RoleBinding RuntimeClass Secret Service ServiceAccount "
    "ServiceCIDR StatefulSet StorageClass TCPRoute TLSRoute UDPRoute ValidatingAdmissionPolicy "
    "ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration VolumeAttachment VolumeAttributesClass "
)
KUBERNETES: Final = frozenset(_WORDS.split())
"""Kinds of Kubernetes 1.36 and of the Gateway API, for suggestions and against mistyped names."""

_GROUPS: Final = frozenset(
    f"{name}.k8s.io"
    for name in (
        *("admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates"),
        *("coordination", "discovery", "events", "flowcontrol.apiserver", "gateway.networking", "internal.apiserver", "networking"),
        *("node", "rbac.authorization", "resource", "scheduling", "storage", "storagemigration"),
    )
)
_WORD: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_GROUP: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){1,9}")


def is_kubernetes(group: str) -> bool:
    """Say whether an API group is Kubernetes' own, so that its kinds have bare names and hold images in pods only."""
    return "." not in group or group in _GROUPS


def kind_of(manifest: Mapping[str, Any]) -> str:
    """Return how an object's kind is written: `Deployment`, or `Kind.group` when the group is not Kubernetes' own."""
    kind, group = str(manifest.get("kind")), group_of(manifest)
    return kind if is_kubernetes(group) else f"{kind}.{group}"


def group_of(manifest: Mapping[str, Any]) -> str:
    """Return an object's API group; empty for the core group."""
    return str(manifest.get("apiVersion") or "").rpartition("/")[0]


def is_kind(text: str) -> bool:
    """Say whether a text names a kind: a kind of Kubernetes, or `Kind.group` with a group that is not Kubernetes' own."""
    word, dot, group = text.partition(".")
    if not _WORD.fullmatch(word):
        return False
    return bool(_GROUP.fullmatch(group)) and not is_kubernetes(group) if dot else word in KUBERNETES
