"""Whose an object of a cluster is, and which promotion made it as it is: labels and annotations that no render digest covers. Pure.

Called by the target before it compares and applies. An object keeps the identity that it was made with until something of it changes, and a
pod template until the template changes: a promotion that leaves a workload as it is starts no pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import canonical
from setpoint.core.digest import sha256
from setpoint.reconcile.cluster.model import Object

MANAGER: Final = "setpoint"
"""Our name among the field managers of an object."""
APP: Final = "setpoint.dev/app"
ENVIRONMENT: Final = "setpoint.dev/environment"
HOME: Final = "setpoint.dev/home"
MANIFEST: Final = "setpoint.dev/manifest"
"""Digest of what was asked for, without any identity."""
_KEPT: Final = ("setpoint.dev/promotion", "setpoint.dev/revision", "setpoint.dev/version", MANIFEST)
_TEMPLATES: Final = {
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "Job"): ("spec", "template"),
}


@dataclass(frozen=True, slots=True)
class Owner:
    """An application in an environment of a home."""

    home: str
    app: str
    environment: str

    def __str__(self) -> str:
        return f"{self.app} in {self.environment}"


@dataclass(frozen=True, slots=True)
class Made:
    """What made an object as it is."""

    promotion: str
    revision: str
    version: str


def owner_of(live: Object) -> Owner | None:
    """Return who an object says it belongs to; None when it is nobody's of ours."""
    meta = live.get("metadata") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    app, environment = labels.get(APP), labels.get(ENVIRONMENT)
    return Owner(str(notes.get(HOME, "")), str(app), str(environment)) if app and environment else None


def manifest_digest(live: Object) -> str:
    """Return the digest of what was asked for when an object was applied last; empty when it was not applied by us."""
    return str(((live.get("metadata") or {}).get("annotations") or {}).get(MANIFEST, ""))


def identified(manifest: Object, owner: Owner, made: Made, live: Object | None) -> dict[str, Any]:
    """Return a prepared manifest with its owner and identity, as it is to be applied over a live object."""
    found = _marked(manifest, owner, made, live or {}, home=True)
    path = _TEMPLATES.get((str(manifest.get("apiVersion", "")).rpartition("/")[0], str(manifest.get("kind", ""))))
    template = _at(manifest, path) if path is not None else None
    if path is not None and template is not None:
        marked = _marked(template, owner, made, _at(live or {}, path) or {}, home=False)
        found = _with(found, path, marked)
    return found


def _marked(value: Object, owner: Owner, made: Made, live: Object, *, home: bool) -> dict[str, Any]:
    digest = str(sha256(canonical.dumps(dict(value))))
    notes = {"setpoint.dev/promotion": made.promotion, "setpoint.dev/revision": made.revision, "setpoint.dev/version": made.version}
    notes = {name: text for name, text in notes.items() if text} | {MANIFEST: digest}
    before = (live.get("metadata") or {}).get("annotations") or {}
    if before.get(MANIFEST) == digest:
        notes = {name: str(before[name]) for name in _KEPT if name in before}
    meta = dict(value.get("metadata") or {})
    meta["labels"] = {**(meta.get("labels") or {}), APP: owner.app, ENVIRONMENT: owner.environment}
    meta["annotations"] = {**(meta.get("annotations") or {}), **notes, **({HOME: owner.home} if home else {})}
    return {**value, "metadata": meta}


def _at(value: Object, path: tuple[str, ...]) -> Mapping[str, Any] | None:
    found: Any = value
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _with(value: Mapping[str, Any], path: tuple[str, ...], new: Mapping[str, Any]) -> dict[str, Any]:
    name, rest = path[0], path[1:]
    return {**value, name: _with(value[name], rest, new) if rest else dict(new)}
