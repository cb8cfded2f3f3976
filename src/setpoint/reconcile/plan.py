"""What a change of the pin would do, and what of the pin is not live: pure comparisons of renders, desired states and replicas.

Called by `observe.plan` behind `setpoint plan` and `setpoint diff`; it renders nothing, looks at nothing and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from setpoint.reconcile.changes import FieldChange, field_changes
from setpoint.reconcile.model import DesiredState, Difference, ReplicaStatus, Route, Workload, identity

_CONSEQUENCE: Final = {
    "Deployment": "its replicas stop",
    "HTTPRoute": "what it routes is no longer served",
    "Service": "nothing leads to its replicas any more",
    "Secret": "its content is gone from the environment",
    "Job": "a run that has not ended is stopped",
}
_SELECTOR: Final = "spec.selector"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One rendered object that is created, changed or removed."""

    object: str
    """`Deployment/web`"""
    action: Literal["create", "change", "remove"]
    fields: tuple[FieldChange, ...] = ()
    """Only of a changed one."""
    destructive: tuple[str, ...] = ()
    """What is lost by it, a sentence each."""


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """How many replicas of a workload start and stop; a Job of another revision starts one run."""

    workload: str
    start: int
    stop: int
    revision_before: str
    """Revision hash; empty when there was none."""
    revision_after: str


def object_changes(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> tuple[ObjectChange, ...]:
    """Return what differs between two renders, by identity; an object whose meaning is the same is left out."""
    old, new = ({identity(value): value for value in objects} for objects in (before, after))
    found = [ObjectChange(name, "create") for name in new if name not in old]
    for name, value in new.items():
        if name in old and (fields := field_changes(old[name], value)):
            found.append(ObjectChange(name, "change", fields, _losses(old[name], fields)))
    for name in old.keys() - new.keys():
        found.append(ObjectChange(name, "remove", (), (_CONSEQUENCE.get(name.partition("/")[0], "it is removed"),)))
    return tuple(sorted(found, key=lambda change: change.object))


def _losses(before: Mapping[str, Any], fields: Sequence[FieldChange]) -> tuple[str, ...]:
    """Return what a change of fields destroys."""
    found = []
    kind = before.get("kind")
    if kind == "Deployment" and any(field.path.startswith(_SELECTOR) for field in fields):
        found.append(f"{_SELECTOR} is immutable: the Deployment is deleted and made again")
    if kind == "Deployment" and any(field.path == "spec.replicas" and field.after == 0 for field in fields):
        found.append("no replica is left")
    if before.get("immutable") is True and any(field.path.startswith(("data", "binaryData")) for field in fields):
        found.append("it is immutable: it is deleted and made again")
    return tuple(found)


def workload_changes(before: DesiredState | None, after: DesiredState) -> tuple[WorkloadChange, ...]:
    """Return the replicas that start and stop; another revision replaces every replica."""
    old, new = _workloads(before), _workloads(after)
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, will = old.get(name), new.get(name)
        if was is not None and will is not None and was.revision_hash == will.revision_hash:
            more = will.replicas - was.replicas
            change = WorkloadChange(name, max(more, 0), max(-more, 0), was.revision_hash, will.revision_hash)
        else:
            change = WorkloadChange(name, _count(will), _count(was), _hash(was), _hash(will))
        if change.start or change.stop:
            found.append(change)
    ran = {job.name: job.revision_hash for job in (before.jobs if before is not None else ())}
    for job in after.jobs:
        if ran.get(job.name) != job.revision_hash:
            found.append(WorkloadChange(job.name, 1, 0, ran.get(job.name, ""), job.revision_hash))
    return tuple(sorted(found, key=lambda change: change.workload))


def _workloads(state: DesiredState | None) -> dict[str, Workload]:
    return {workload.name: workload for workload in state.workloads} if state is not None else {}


def _count(workload: Workload | None) -> int:
    return workload.replicas if workload is not None else 0


def _hash(workload: Workload | None) -> str:
    return workload.revision_hash if workload is not None else ""


def lost_routes(before: DesiredState | None, after: DesiredState) -> tuple[str, ...]:
    """Return the addresses that are served before and not after: `/shop/`, `example.com/`."""
    served = {address for route in after.routes for address in _addresses(route)}
    every = [address for route in (before.routes if before is not None else ()) for address in _addresses(route)]
    return tuple(sorted(set(every) - served))


def _addresses(route: Route) -> list[str]:
    path = route.path_prefix if route.path_exact or route.path_prefix.endswith("/") else f"{route.path_prefix}/"
    return [f"{hostname}{path}" for hostname in route.hostnames or ("",)]


def replica_differences(desired: DesiredState, replicas: Sequence[ReplicaStatus]) -> tuple[Difference, ...]:
    """Return how the replicas of an application (all of them, whatever their workload) differ from what is desired."""
    found: list[Difference] = []
    wanted = _workloads(desired)
    for name, workload in wanted.items():
        mine = [replica for replica in replicas if replica.spec.workload == name and replica.spec.job is None]
        current = [r for r in mine if r.spec.revision_hash == workload.revision_hash and r.shim_alive and not r.stopping]
        if len(current) != workload.replicas:
            found.append(Difference(f"Deployment/{name}", "replicas", str(workload.replicas), str(len(current))))
        for replica in mine:
            found += _of_replica(replica, workload)
    jobs = {job.name: job.revision_hash for job in desired.jobs}
    for replica in replicas:
        name = replica.spec.workload
        if name not in wanted and (replica.spec.job is None or name not in jobs):
            found.append(Difference(replica.spec.replica, "workload", "none of this name", name))
        elif replica.spec.job is not None and jobs.get(name, "") != replica.spec.revision_hash:
            found.append(Difference(replica.spec.replica, "revision", jobs.get(name, ""), replica.spec.revision_hash))
    return tuple(found)


def _of_replica(replica: ReplicaStatus, workload: Workload) -> list[Difference]:
    name, spec = replica.spec.replica, replica.spec
    if spec.revision_hash != workload.revision_hash:
        return [Difference(name, "revision", workload.revision_hash, spec.revision_hash)]
    if not replica.shim_alive or replica.stopping:
        return [Difference(name, "process", "running", "stopping" if replica.stopping else replica.last_exit or "gone")]
    if replica.pid is None:
        return [Difference(name, "process", "running", replica.last_exit or "not started yet")]
    if replica.outdated:
        return [Difference(name, "image", "the files that its layers brought", "started before they were brought back")]
    return []
