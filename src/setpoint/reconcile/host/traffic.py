"""Services and HTTPRoutes on the host: which workloads a path's traffic goes to, with weights; called by `reconcile.subset`.

Path rules are those of the Gateway API (v1 HTTPPathMatch), so that a route that is accepted here is accepted there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.reconcile.host.fields import REFERENCE, UNSUPPORTED, Fields, Report, metadata
from setpoint.reconcile.host.probes import Port
from setpoint.reconcile.model import Route, Workload

_MAX_WEIGHT: Final = 1_000_000
_HOSTNAME: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_PATH: Final = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2}){0,1023}")
_BAD_IN_PATH: Final = ("//", "/./", "/../", "%2f", "%2F")


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that selects one workload."""

    name: str
    workload: str
    ports: tuple[int, ...]


def service(value: Mapping[str, Any], workloads: Sequence[tuple[Workload, Port]], report: Report) -> Service:
    """Read a Service; its selector has to match the pods of exactly one Deployment."""
    top = Fields(value, "", report)
    name = metadata(top)
    spec = top.mapping("spec")
    top.close()
    spec.without_effect("type", "ClusterIP")
    spec.without_effect("sessionAffinity", "None")
    selector = spec.labels("selector")
    entries = spec.entries("ports")
    spec.close()
    matching = [pair for pair in workloads if selector and all(pair[0].labels.get(key) == text for key, text in selector.items())]
    if len(matching) != 1:
        found = ", ".join(workload.name for workload, _port in matching) or "none"
        fix = "write the labels of one Deployment's spec.template.metadata.labels"
        spec.bad("selector", f"must select the pods of exactly one Deployment, but selects {found}", fix, REFERENCE)
    if not entries:
        spec.bad("ports", "must name a port")
    ports = tuple(_service_port(entry, matching[0][1] if len(matching) == 1 else None) for entry in entries)
    if len(set(ports)) != len(ports):
        spec.bad("ports", "names a port twice")
    return Service(name, matching[0][0].name if len(matching) == 1 else "", ports)


def _service_port(entry: Fields, target: Port | None) -> int:
    """Read one port; its target has to be the container's port, by number or name."""
    port = entry.number("port", None, 1, 65_535)
    entry.text("name", "")
    entry.without_effect("protocol", "TCP")
    entry.without_effect("appProtocol", "http", "kubernetes.io/http")
    reference = entry.raw("targetPort")
    entry.close()
    if target is not None and not target.is_meant_by(port if reference is None else reference):
        fix = f"write `targetPort: {target.name or target.number}`"
        entry.bad("targetPort", "does not lead to the containerPort", fix, REFERENCE)
    return port


def routes(value: Mapping[str, Any], services: Mapping[str, Service], report: Report) -> list[Route]:
    """Read an HTTPRoute: one route for every match of every rule."""
    top = Fields(value, "", report)
    name = metadata(top)
    spec = top.mapping("spec")
    top.close()
    hostnames = spec.texts("hostnames") or ()
    rules = spec.entries("rules")
    spec.close()
    for index, hostname in enumerate(hostnames):
        if len(hostname) > 253 or not _HOSTNAME.fullmatch(hostname):
            spec.bad(
                f"hostnames[{index}]", f"`{hostname[:60]}` is no host name", "lower-case, without port; *.example.com for all below it"
            )
    if not rules:
        spec.bad("rules", "must hold a rule", "add `rules: [{backendRefs: [{name: SERVICE, port: 80}]}]`")
    found: list[Route] = []
    for rule in rules:
        rule.text("name", "")
        backends = _backends(rule, services)
        matches = rule.entries("matches")
        rule.close()
        paths = [_path(match) for match in matches] or [("/", False)]
        found += [Route(name, hostnames, path, exact, backends) for path, exact in paths]
    return found


def _path(match: Fields) -> tuple[str, bool]:
    """Return (path, whether it must match exactly) of one match."""
    path = match.mapping("path")
    match.close()
    kind, value = path.text("type", "PathPrefix"), path.text("value", "/")
    path.close()
    if kind not in {"PathPrefix", "Exact"}:
        path.bad("type", f"must be PathPrefix or Exact on the host, not `{kind}`", "write PathPrefix or Exact", UNSUPPORTED)
    if not _PATH.fullmatch(value) or any(bad in value for bad in _BAD_IN_PATH) or value.endswith(("/.", "/..")):
        path.bad("value", f"`{value[:60]}` is no path that a route can match", "begin with a slash; no `//`, `/./`, `/../` or %2F")
    return (value.rstrip("/") or "/") if kind == "PathPrefix" else value, kind == "Exact"


def _backends(rule: Fields, services: Mapping[str, Service]) -> tuple[tuple[str, int], ...]:
    """Return (workload, weight) of a rule's backends, weights to one workload added up."""
    weights: dict[str, int] = {}
    entries = rule.entries("backendRefs")
    for entry in entries:
        name, weight = entry.text("name"), entry.number("weight", 1, 0, _MAX_WEIGHT)
        entry.without_effect("kind", "Service")
        entry.without_effect("group", "")
        target = services.get(name)
        port = entry.number("port", None, 1, 65_535)
        entry.close()
        if target is None:
            known = ", ".join(sorted(services)) or "none"
            entry.bad("name", f"refers to Service `{name}`, which is not rendered", f"rendered Services: {known}", REFERENCE)
            continue
        if entry.has("port") and port not in target.ports:
            entry.bad("port", f"{port} is no port of Service `{name}`", f"its ports: {', '.join(map(str, target.ports))}", REFERENCE)
        if target.workload:
            weights[target.workload] = weights.get(target.workload, 0) + weight
    if not entries:
        rule.bad("backendRefs", "must name a Service", "add `backendRefs: [{name: SERVICE, port: 80}]`")
    elif weights and not any(weights.values()):
        rule.bad("backendRefs", "give all traffic the weight 0", "raise one of the weights")
    return tuple(weights.items())
