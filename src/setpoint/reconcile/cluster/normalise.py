"""What two writings of one object mean: which fields are the server's own, and when two values are one for Kubernetes.

Called before an object is applied and by the comparison. Rules for quantities and omitted values hold for Kubernetes' own kinds, which the
server decodes and writes anew; a custom object stays as it was written.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from setpoint.core import canonical
from setpoint.core.digest import sha256
from setpoint.reconcile.cluster.model import Object

BUILT_IN: Final = frozenset(
    {"", "apps", "autoscaling", "batch", "policy"}
    | {
        f"{name}.k8s.io"
        for name in (
            "admissionregistration", "apiextensions", "apiregistration", "certificates", "coordination", "discovery", "events",
            "flowcontrol.apiserver", "networking", "node", "rbac.authorization", "resource", "scheduling", "storage", "storagemigration",
        )
    }
)  # fmt: skip
"""Groups whose kinds the API server itself decodes."""

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Where `kubectl apply` keeps the whole manifest, Secret values too: never compared, never shown."""
_SERVERS: Final = ("creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")

_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i))?")
_SUFFIXES: Final = {
    **{name: Decimal(1000) ** power for power, name in zip(range(-3, 7), ("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), strict=True)},
    **{f"{name}i": Decimal(1024) ** power for power, name in enumerate("KMGTPE", 1)},
}
_OF_QUANTITIES: Final = frozenset(
    {"limits", "requests", "hard", "capacity", "default", "defaultRequest", "max", "min", "maxLimitRequestRatio", "podFixed", "overhead"}
)
"""Fields that map the name of a resource to a quantity."""
_QUANTITIES: Final = frozenset(
    {("emptyDir", "sizeLimit"), ("resourceFieldRef", "divisor"), ("target", "averageValue"), ("target", "value")}
)
"""(parent, field)"""
_MAPS: Final = frozenset({"annotations", "binaryData", "data", "labels", "matchLabels", "nodeSelector", "parameters", "selector"})
_BASE64: Final = frozenset({"data", "binaryData"})


def is_built_in(api_version: str) -> bool:
    """Say whether objects of a version are decoded by the API server itself."""
    return api_version.rpartition("/")[0] in BUILT_IN


def prepare(manifest: Object) -> dict[str, Any]:
    """Return a manifest as it is applied: without what only the cluster writes, nulls, and the write-only form of Secret values.

    `stringData` is folded into `data`: the server does the same and keeps claiming the field that is never there to be read.
    """
    built_in = is_built_in(str(manifest.get("apiVersion", "")))
    found = {key: _without_null(value) if built_in else value for key, value in manifest.items() if key != "status"}
    meta = {key: value for key, value in (manifest.get("metadata") or {}).items() if key not in _SERVERS}
    found["metadata"] = meta = _without_null(meta)
    _without_last_applied(meta)
    if manifest.get("kind") == "Secret" and built_in and "sops" not in manifest:  # what is sealed is folded when it is opened
        _fold(found)
    if manifest.get("kind") == "ClusterRole" and built_in and manifest.get("aggregationRule"):
        # They are filled in by the cluster, whatever was written.
        found.pop("rules", None)
    return _without_bundles(found) if built_in else found


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


def _fold(secret: dict[str, Any]) -> None:
    texts = secret.pop("stringData", None)
    if isinstance(texts, Mapping) and texts:
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _without_bundles(value: Any) -> Any:
    """Leave out every `caBundle` that is no certificate: a placeholder which something else fills in, and no server accepts."""
    if isinstance(value, dict):
        return {key: _without_bundles(item) for key, item in value.items() if key != "caBundle" or _is_bundle(item)}
    return [_without_bundles(item) for item in value] if isinstance(value, list) else value


def _is_bundle(value: Any) -> bool:
    return isinstance(value, str) and b"-----BEGIN CERTIFICATE-----" in (_decoded(value) or b"")


def content(live: Object) -> dict[str, Any]:
    """Return what of a live object can be compared: without status and what only the server writes."""
    found = {key: value for key, value in live.items() if key not in ("status", "metadata")}
    meta = {key: value for key, value in (live.get("metadata") or {}).items() if key not in _SERVERS}
    _without_last_applied(meta)
    found["metadata"] = meta
    return found


def _without_last_applied(meta: dict[str, Any]) -> None:
    annotations = meta.get("annotations")
    if isinstance(annotations, Mapping) and LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
        if not meta["annotations"]:
            del meta["annotations"]


def body(live: Object) -> dict[str, Any]:
    """Return the part of an object whose fields have owners: without what only the server writes, its kind and its name."""
    found = {name: item for name, item in content(live).items() if name not in ("apiVersion", "kind")}
    meta = {name: item for name, item in found.pop("metadata").items() if name not in ("name", "namespace", "generateName")}
    return found | ({"metadata": meta} if meta else {})


def fingerprint(live: Object) -> str:
    """Return a digest of all that a comparison depends on: content and field owners, not the status nor times.

    While it stays, so does the verdict of a comparison with the same manifest: no second dry run is needed.
    """
    rows = (live.get("metadata") or {}).get("managedFields") or ()
    kept = [
        {key: value for key, value in row.items() if key != "time"}
        for row in rows
        if isinstance(row, Mapping) and row.get("subresource") != "status"
    ]
    return str(sha256(canonical.dumps([content(live), kept])))


def quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity as a number (`resource.Quantity`): `1000m` and `1`, `1Gi` and `1024Mi` are one; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    try:
        return Decimal(match[1] + (match[2] or "")) * _SUFFIXES[match[3] or ""]
    except InvalidOperation:
        return None


def same(left: Any, right: Any, parent: str, name: str) -> bool:
    """Say whether two plain values of a built-in kind mean the same; parent and name are the last two fields of their path."""
    if left == right and isinstance(left, bool) == isinstance(right, bool):
        return True
    if parent in _OF_QUANTITIES or (parent, name) in _QUANTITIES:
        one, other = quantity(left), quantity(right)
        return one is not None and one == other
    if (parent in _BASE64 or name == "caBundle") and isinstance(left, str) and isinstance(right, str):
        decoded = _decoded(left)
        return decoded is not None and decoded == _decoded(right)
    return False


def says_nothing(value: Any, path: tuple[str, ...]) -> bool:
    """Say whether Kubernetes' own kinds leave such a value of a field out when they are written (`omitempty`); of a map they keep all."""
    parent = path[-2].partition(":")[2] if len(path) > 1 else ""
    empty = value is False or value in ("", 0) or (isinstance(value, dict | list) and not value)
    return empty and parent not in _MAPS


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=False)
    except (ValueError, binascii.Error):
        return None
