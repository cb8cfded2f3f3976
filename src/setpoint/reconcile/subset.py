"""Rendered objects to the host runtime's desired state; what is outside the documented subset is an error, never ignored.

Called by the reconciler and by the render facts of a promotion's gate, so that a candidate the host cannot run never passes. Pure; the
accepted fields are listed in docs/host-subset.md, and a test holds that page to this code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from setpoint.core import suggest
from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile import render
from setpoint.reconcile.host import job, traffic, workload
from setpoint.reconcile.host.fields import UNSUPPORTED, Report
from setpoint.reconcile.host.probes import Port
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.host.traffic import Service
from setpoint.reconcile.model import DesiredState, Route, Workload, identity

KINDS: Final = {
    "ConfigMap": ("v1",),
    "Deployment": ("apps/v1",),
    "HTTPRoute": ("gateway.networking.k8s.io/v1",),
    "Job": ("batch/v1",),
    "Secret": ("v1",),
    "Service": ("v1",),
}
CONFLICT: Final = "SP626"


def elsewhere(app: str, environment: str, objects: Sequence[dict[str, Any]]) -> DesiredState:
    """Return what an application is on the host when its target is another one: nothing."""
    return DesiredState(app, environment, (), (), render.digest_of(objects))


def to_host(objects: Sequence[dict[str, Any]], app: str, environment: str, sources: Mapping[str, str] | None = None) -> DesiredState:
    """Return what an application should be on the host; sources are `Rendered.sources`, for the places of findings.

    Raises:
        ConfigError: everything the host does not support or cannot resolve, at once (SP622 to SP626).
    """
    reading = _Reading(sources or {})
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for value in objects:
        if reading.known(value):
            by_kind[value["kind"]].append(value)
    given = Sources(environment)
    for value in by_kind["ConfigMap"]:
        given.maps.read(value, reading.report(value))
    for value in by_kind["Secret"]:
        given.secrets.read(value, reading.report(value))
    place = (app, environment)
    workloads = [workload.deployment(value, given, reading.report(value), place) for value in by_kind["Deployment"]]
    jobs = [job.job(value, given, reading.report(value), place) for value in by_kind["Job"]]
    _refuse_same_name([found[0].name for found in workloads], by_kind["Job"], reading)
    services = _services(by_kind["Service"], workloads, reading)
    found: list[Route] = []
    for value in by_kind["HTTPRoute"]:
        report = reading.report(value)
        for route in traffic.routes(value, services, report):
            _refuse_twice(route, found, report)
            found.append(route)
    reading.refuse()
    names = tuple(pair[0] for pair in workloads)
    return DesiredState(app, environment, names, tuple(found), render.digest_of(objects), tuple(jobs))


def _services(values: Sequence[dict[str, Any]], workloads: Sequence[tuple[Workload, Port]], reading: "_Reading") -> dict[str, Service]:
    found = [traffic.service(value, workloads, reading.report(value)) for value in values]
    return {service.name: service for service in found}


def _refuse_same_name(taken: Sequence[str], jobs: Sequence[dict[str, Any]], reading: "_Reading") -> None:
    """A Deployment and a Job of one name could not be told apart by the names of their replicas."""
    for value in jobs:
        report = reading.report(value)
        if value["metadata"]["name"] in taken:
            report.add(CONFLICT, "metadata.name", "is also the name of a Deployment", "rename one of them")


def _refuse_twice(route: Route, earlier: Sequence[Route], report: Report) -> None:
    for other in earlier:
        same_path = (route.path_prefix, route.path_exact) == (other.path_prefix, other.path_exact)
        if same_path and (set(route.hostnames) & set(other.hostnames) or not (route.hostnames or other.hostnames)):
            what = f"match `{route.path_prefix}` a second time: HTTPRoute/{other.name} already does, for the same host"
            report.add(CONFLICT, "spec.rules", what, "keep one of them")


class _Reading:
    """The reports about all objects, in the order they were read."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._reports: list[Report] = []

    def report(self, value: dict[str, Any]) -> Report:
        self._reports.append(Report(value, self._sources))
        return self._reports[-1]

    def known(self, value: dict[str, Any]) -> bool:
        """Say whether the host runs this kind; note a finding when it does not."""
        kind, version = str(value.get("kind")), str(value.get("apiVersion"))
        if version in KINDS.get(kind, ()):
            return True
        report = self.report(value)
        if kind in KINDS:
            report.add(UNSUPPORTED, "apiVersion", f"is `{version}`", f"write `apiVersion: {KINDS[kind][0]}`")
        else:
            near = suggest.nearest(kind, KINDS)
            fix = f"did you mean `{near}`?" if near else f"the host runs {', '.join(KINDS)}"
            report.add(UNSUPPORTED, "kind", f"{kind} ({version}) is not supported on the host", fix)
        return False

    def refuse(self) -> None:
        findings: list[Finding] = [finding for report in self._reports for finding in report.findings]
        if findings:
            raise ConfigError(findings)


def summary(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the identities of objects, sorted, as policies and people see them."""
    return tuple(sorted(identity(value) for value in objects))
