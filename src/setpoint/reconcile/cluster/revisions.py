"""Takes a render apart into revisions that can run beside each other: a Deployment and a Service of its own for each. Pure.

Called by the rollout of a cluster with the placed objects of a pin, before images are relocated. What a Service leads to becomes a
revision: its name ends in the revision hash, its pods and its selector carry it as a label, and the ConfigMaps and Secrets that it reads
are its own, so that a new revision changes nothing under the one that serves. It knows no phase: `rollout.cluster.compose` does.
"""

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import canonical
from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile.cluster import references
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.health.model import number, part, rows, text

REFUSED: Final = "SP651"
HASH: Final = "setpoint.dev/revision-hash"
"""The label of a revision: on its Deployment, its Service, its pods and in their selectors."""
LENGTH: Final = 10
_VERSION: Final = 1
_NAMED: Final = re.compile(rf"(.+)-([0-9a-f]{{{LENGTH}}})")
_SCALERS: Final = ("scaleTargetRef", "targetRef")
_OF_A_SERVICE: Final = (
    "ports",
    "publishNotReadyAddresses",
    "sessionAffinity",
    "sessionAffinityConfig",
    "appProtocol",
    "trafficDistribution",
)
"""What the Service of a revision takes from the one it is made of; addresses and ports of nodes belong to that one alone."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One Deployment of a render as a revision."""

    name: str
    """The Deployment's, as it was rendered."""
    hash: str
    replicas: int
    deployment: Object
    parts: tuple[Object, ...]
    """Its own ConfigMaps, Secrets and Services."""

    @property
    def key(self) -> ObjectKey:
        """Its Deployment."""
        return ObjectKey.of(self.deployment)

    @property
    def deadline_s(self) -> float:
        """How long it may take to become ready."""
        return float(number(part(self.deployment, "spec"), "progressDeadlineSeconds", 600))

    def scaled(self, replicas: int) -> dict[str, Any]:
        """Return its Deployment with a number of replicas."""
        return {**self.deployment, "spec": {**part(self.deployment, "spec"), "replicas": replicas}}


@dataclass(frozen=True, slots=True)
class Ordinals:
    """One StatefulSet of a render: its pods have names, so a new revision takes them over one after the other."""

    name: str
    """`StatefulSet/db`, for it shares its name with nothing else among what a rollout names."""
    hash: str
    replicas: int
    manifest: Object

    @property
    def key(self) -> ObjectKey:
        """Which object it is."""
        return ObjectKey.of(self.manifest)

    def updated(self, replicas: int) -> dict[str, Any]:
        """Return it with only so many pods of the new revision: those with the highest ordinals."""
        spec = part(self.manifest, "spec")
        rolling = {**part(spec, "updateStrategy", "rollingUpdate"), "partition": max(0, self.replicas - replicas)}
        return {**self.manifest, "spec": {**spec, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}


@dataclass(frozen=True, slots=True)
class Apart:
    """A render, taken apart."""

    revisions: Mapping[str, Revision]
    """By the name of the Deployment as it was rendered."""
    services: Mapping[str, str]
    """Service, as it was rendered -> the one Deployment it leads to"""
    routed: bool
    """Routes split the traffic; without one the number of replicas does."""
    fronts: tuple[Object, ...]
    """Those Services and the routes to them, as they were rendered."""
    rest: tuple[Object, ...]
    """Everything else, as it was rendered."""
    ordinals: tuple[Ordinals, ...] = ()
    """StatefulSets among the rest that can be updated pod by pod; none where routes split the traffic: then they follow last."""

    @property
    def hashes(self) -> dict[str, str]:
        """Deployment -> its revision hash: what makes this render another one."""
        return {name: one.hash for name, one in self.revisions.items()} | {one.name: one.hash for one in self.ordinals}

    def of_service(self, service: str) -> Revision | None:
        """Return what a Service leads to; None when that is no revision."""
        return self.revisions.get(self.services.get(service, ""))


def named(name: str, revision: str) -> str:
    """Return what the object of a revision is called."""
    return f"{name}-{revision}"


def of_revision(name: str) -> tuple[str, str]:
    """Return (name as it was rendered, revision hash) of an object's name; the hash is empty when it is of no revision."""
    found = _NAMED.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def apart(objects: Sequence[Object]) -> Apart:
    """Return a render taken apart.

    Raises:
        ConfigError: something cannot run in two revisions beside each other (SP651), all of it named.
    """
    deployments = {ObjectKey.of(one).name: one for one in objects if _is(one, "apps", "Deployment")}
    leads = {ObjectKey.of(one).name: name for one in objects if _is(one, "", "Service") and (name := _selected(one, deployments))}
    routes = [one for one in objects if is_route(one) and any(name in leads for name in backends(one))]
    if routes:
        reached = {name for route in routes for name in backends(route)}
        targets = {leads[name] for name in reached if name in leads}
        leads = {service: name for service, name in leads.items() if name in targets}
    names = set(leads.values())
    _refuse(objects, deployments, names, leads)
    services = [one for one in objects if _is(one, "", "Service") and ObjectKey.of(one).name in leads]
    revisions = {
        name: _revision(deployments[name], objects, [s for s in services if leads[ObjectKey.of(s).name] == name]) for name in sorted(names)
    }
    fronts = (*services, *routes)
    taken = {ObjectKey.of(one) for one in fronts} | {ObjectKey.of(deployments[name]) for name in names}
    rest = tuple(one for one in objects if ObjectKey.of(one) not in taken)
    ordinals = () if routes else tuple(_ordinals(one) for one in rest if _is_stepped(one))
    return Apart(revisions, leads, bool(routes), fronts, rest, ordinals)


def is_route(value: Object) -> bool:
    """Say whether an object splits requests by weight (Gateway API)."""
    return _is(value, "gateway.networking.k8s.io", "HTTPRoute")


def is_backend(reference: Object, namespace: str) -> bool:
    """Say whether a backendRef of a route names a Service in the route's own namespace."""
    return (
        reference.get("kind", "Service") == "Service" and not reference.get("group") and reference.get("namespace", namespace) == namespace
    )


def backends(route: Object) -> Iterator[str]:
    """Yield the Services that a route leads to."""
    namespace = ObjectKey.of(route).namespace
    for rule in rows(part(route, "spec"), "rules"):
        for reference in rows(rule, "backendRefs"):
            if is_backend(reference, namespace):
                yield text(reference, "name")


def narrowed(service: Object, revision: str) -> dict[str, Any]:
    """Return a Service that leads to the pods of one revision only."""
    spec = part(service, "spec")
    return {**service, "spec": {**spec, "selector": {**part(spec, "selector"), HASH: revision}}}


def _is(value: Object, group: str, kind: str) -> bool:
    key = ObjectKey.of(value)
    return (key.group, key.kind) == (group, kind)


def _selected(service: Object, deployments: Mapping[str, Object]) -> str:
    """Return the one Deployment whose pods a Service selects; empty when there is none, or more than one."""
    wanted = part(service, "spec", "selector")
    found = [
        name
        for name, one in deployments.items()
        if wanted and all(part(one, "spec", "template", "metadata", "labels").get(key) == value for key, value in wanted.items())
    ]
    return found[0] if len(found) == 1 else ""


def _refuse(objects: Sequence[Object], deployments: Mapping[str, Object], names: set[str], leads: Mapping[str, str]) -> None:
    findings = []
    for name in sorted(names):
        spec, subject = part(deployments[name], "spec"), f"Deployment/{name}"
        if text(part(spec, "strategy"), "type") == "Recreate":
            what = f"{subject} says `strategy: Recreate`, so two revisions of it must never run beside each other"
            findings.append(Finding(REFUSED, what, subject, fix="leave `rollout.canary` out here, or roll it by RollingUpdate"))
        if spec.get("paused") is True:
            findings.append(Finding(REFUSED, f"{subject} is paused, and a rollout would wait for ever", subject, fix="take `paused` away"))
    for value in objects:
        key, spec = ObjectKey.of(value), part(value, "spec")
        for field in _SCALERS:
            target = part(spec, field)
            if target.get("kind") == "Deployment" and target.get("name") in names:
                what = f"{key.subject} scales Deployment/{target['name']}, and here every revision is a Deployment of its own"
                findings.append(
                    Finding(REFUSED, what, key.subject, fix="leave the autoscaler out, or `rollout.canary` of this environment")
                )
    findings += [
        Finding(
            REFUSED, f"the name of Service/{service} is too long to end in a revision", f"Service/{service}", fix=f"at most {62 - LENGTH}"
        )
        for service in sorted(leads)
        if len(named(service, "0" * LENGTH)) > 63
    ]
    if findings:
        raise ConfigError(findings)


def _revision(deployment: Object, objects: Sequence[Object], services: Sequence[Object]) -> Revision:
    key, spec = ObjectKey.of(deployment), part(deployment, "spec")
    template = part(spec, "template")
    read = references.of(part(template, "spec"))
    mine = [one for one in objects if (ObjectKey.of(one).kind, ObjectKey.of(one).name) in read and ObjectKey.of(one).group == ""]
    revision = _hash(key.namespace, template, mine)
    names = {(ObjectKey.of(one).kind, ObjectKey.of(one).name): named(ObjectKey.of(one).name, revision) for one in mine}
    pods = copy.deepcopy(dict(template))
    pods["spec"] = references.renamed(part(template, "spec"), names)
    pods["metadata"] = _labelled(part(template, "metadata"), revision)
    selector = dict(part(spec, "selector"))
    selector["matchLabels"] = {**part(selector, "matchLabels"), HASH: revision}
    made = _copy(deployment, revision) | {"spec": {**spec, "selector": selector, "template": pods}}
    parts = [_copy(one, revision) for one in mine] + [_service(one, revision) for one in services]
    return Revision(key.name, revision, number(spec, "replicas", 1), made, tuple(parts))


def _hash(namespace: str, template: Object, read: Sequence[Object]) -> str:
    """Return what makes one revision different from another: its pods, and what they read.

    The namespace is part of it, so that two environments on one cluster never share the name that counters are told apart by. Of a sealed
    Secret the ciphertext of its values counts, and not for whom it is sealed.
    """
    content = {
        "version": _VERSION,
        "namespace": namespace,
        "template": dict(template),
        "read": [
            {key: value for key, value in one.items() if key not in ("sops", "metadata")} | {"name": ObjectKey.of(one).name} for one in read
        ],
    }
    return hashlib.sha256(canonical.dumps(content)).hexdigest()[:LENGTH]


def _is_stepped(value: Object) -> bool:
    """Say whether a StatefulSet is updated pod by pod, and nobody has set how far."""
    strategy = part(value, "spec", "updateStrategy")
    stepped = text(strategy, "type") in ("", "RollingUpdate") and "partition" not in part(strategy, "rollingUpdate")
    return _is(value, "apps", "StatefulSet") and stepped


def _ordinals(value: Object) -> Ordinals:
    """Return a StatefulSet; its pods alone make its revision, for what they read is not copied."""
    key, spec = ObjectKey.of(value), part(value, "spec")
    return Ordinals(key.subject, _hash(key.namespace, part(spec, "template"), ()), number(spec, "replicas", 1), value)


def _copy(value: Object, revision: str) -> dict[str, Any]:
    """Return an object under the name of a revision, labelled with it."""
    meta = _labelled(part(value, "metadata"), revision)
    meta["name"] = named(ObjectKey.of(value).name, revision)
    return {**value, "metadata": meta}


def _service(service: Object, revision: str) -> dict[str, Any]:
    spec = part(service, "spec")
    found = {name: spec[name] for name in _OF_A_SERVICE if name in spec}
    found["ports"] = [{name: value for name, value in port.items() if name != "nodePort"} for port in rows(spec, "ports")]
    if spec.get("clusterIP") == "None":
        found["clusterIP"] = "None"
    found["selector"] = {**part(spec, "selector"), HASH: revision}
    return _copy(service, revision) | {"spec": found}


def _labelled(meta: Object, revision: str) -> dict[str, Any]:
    return {**meta, "labels": {**part(meta, "labels"), HASH: revision}}
