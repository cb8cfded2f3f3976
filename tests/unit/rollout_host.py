"""A machine in memory for tests of rollouts: runtime, proxy, records and returns in one, and releases to hand to it."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from setpoint.core.records import decode
from setpoint.ground.journal.model import Entry, Fact
from setpoint.reconcile.model import Container, DesiredState, Identity, Probe, Release, ReplicaSpec, ReplicaStatus, Route, Workload
from setpoint.reconcile.ports import ProxyConfig, ServerCount, WorkloadStatus
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.model import Rollout
from setpoint.rollout.returning import Returning
from setpoint.rollout.rollouts import Rollouts
from setpoint.rollout.service import HostRollout, RolloutParts
from unit.builders_home import ManualClock

IMAGE = "hello/web@sha256:" + "a" * 64
PROBE = Probe("/health", period_s=10, failure_threshold=3)


@dataclass
class FakeHost:
    """Runtime, proxy and recorder in memory."""

    found: dict[str, ReplicaStatus] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    open_requests: dict[str, int] = field(default_factory=dict)
    configs: dict[str, ProxyConfig] = field(default_factory=dict)
    refuse: Exception | None = None
    refuse_for: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    journalled: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ports: int = 9000
    counts: dict[tuple[str, str], ServerCount] = field(default_factory=dict)
    worker: int = 1
    """The proxy's worker: another one after a reload."""
    told: dict[str, int] = field(default_factory=dict)
    taken_back: list[tuple[str, str]] = field(default_factory=list)
    no_way_back: Exception | None = None
    asked_earlier: dict[str, str] = field(default_factory=dict)
    """promotion -> what became of a return that an earlier life of the server asked for"""

    def start(self, spec: ReplicaSpec) -> None:
        """Start a replica, or refuse."""
        if self.refuse is not None and spec.workload.startswith(self.refuse_for):
            raise self.refuse
        self.found[spec.replica] = ReplicaStatus(spec, True, 1, "2026-11-23T06:00:00.000Z", 0, "")

    def replicas(self) -> list[ReplicaStatus]:
        """Return every replica."""
        return list(self.found.values())

    def stop(self, replica: str, grace_s: float) -> None:
        """Mark a replica as stopping; it is gone at `pass_away`."""
        self.found[replica] = replace(self.found[replica], stopping=True)

    def remove(self, replica: str) -> None:
        """Forget a replica."""
        self.found.pop(replica, None)

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Answer a probe."""
        self.asked.append((replica.spec.replica, probe.path if probe else ""))
        return replica.spec.replica not in self.unready, "asked"

    def free_port(self) -> int:
        """Return a port."""
        self.ports += 1
        return self.ports

    def apply(self, config: ProxyConfig) -> None:
        """Be the proxy."""
        self.configs[config.environment] = config

    def sessions(self, environment: str, server: str) -> int:
        """Return the open requests of a server."""
        return self.open_requests.get(server, 0)

    def counters(self, environment: str) -> list[ServerCount]:
        """Return what was counted; a server that nobody asked anything counts nothing yet."""
        config = self.configs.get(environment)
        names = [server.name for _, server in config.servers] if config is not None else []
        return [self.counts.get(("b", name), ServerCount("b", name, self.worker, {"2xx": 0, "5xx": 0})) for name in names]

    def rollout(self, app: str, environment: str) -> Rollout | None:
        """Return the newest rollout that was journalled."""
        bodies = [body for kind, body in self.journalled if kind.startswith("rollout.")]
        found = [body for body in bodies if (body["app"], body["environment"]) == (app, environment)]
        return decode(Rollout, found[-1]) if found else None

    def restarts_told(self, replica: str) -> int:
        """Return how many restarts are journalled."""
        return self.told.get(replica, 0)

    def take_back(self, rollout: Rollout) -> str:
        """Roll back."""
        self.taken_back.append((rollout.new.promotion, "; ".join(reason.found for reason in rollout.reasons)))
        if self.no_way_back is not None:
            raise self.no_way_back
        return "rolled back by p-x"

    def earlier(self, rollout: Rollout) -> str:
        """Tell what the test says."""
        return self.asked_earlier.get(rollout.new.promotion, "")

    def stop_proxy(self, environment: str) -> None:
        """Forget a proxy."""

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Be the recorder."""
        self.journalled.append((kind, body))
        return Entry(0, "", kind, subject, actor, body, "")

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Write one after the other."""
        return [self.record(fact.kind, fact.subject, fact.actor, fact.body) for fact in facts]

    def pass_away(self) -> None:
        """Let what is stopping end."""
        self.found = {n: replace(r, shim_alive=False, pid=None) if r.stopping else r for n, r in self.found.items()}

    def names(self, revision: str = "") -> list[str]:
        """Return the names of what lives, of one revision or all."""
        return [n for n, r in self.found.items() if r.shim_alive and r.spec.revision_hash.startswith(revision)]

    def traffic(self, environment: str = "prod") -> set[str]:
        """Return the servers that get new requests."""
        config = self.configs.get(environment)
        return {server.name for _, server in config.servers if not server.draining} if config else set()


class FakeProxy:
    """The proxy's side of the fake: `stop` means something else there."""

    def __init__(self, host: FakeHost) -> None:
        self.apply, self.sessions, self.stop = host.apply, host.sessions, host.stop_proxy
        self.counters, self.applied = host.counters, host.configs.get


def parts(host: FakeHost, clock: ManualClock) -> RolloutParts:
    """Return what the engine works with."""
    rollouts = Rollouts(host, host, clock)
    return RolloutParts(host, FakeProxy(host), host, clock, host, rollouts, Engine(rollouts, clock), Returning(rollouts, host, clock))


def rollout_of(host: FakeHost, clock: ManualClock) -> HostRollout:
    """Return an engine without memory: a server that has just started."""
    return HostRollout(parts(host, clock))


def release_of(
    revision: str,
    *,
    app: str = "web",
    environment: str = "prod",
    replicas: int = 2,
    liveness: Probe | None = None,
    names: Sequence[str] = ("web",),
) -> Release:
    """Return a release of one application: every workload has the revision, the first one the route."""
    container = Container("c", IMAGE, None, None, {}, {}, 80, PROBE, liveness)
    workloads = tuple(Workload(app, environment, name, replicas, {}, container, revision * 12) for name in names)
    routes = (Route(app, (), f"/{app}", False, ((names[0], 1),)),) if names else ()
    identity = Identity(app, environment, "c" * 40, "", f"p-{revision}", revision)
    return Release(DesiredState(app, environment, workloads, routes, "d"), identity, f"pin-{revision}")


def run_pass(rollout: HostRollout, host: FakeHost, *desired: Release, environment: str = "prod") -> dict[str, list[WorkloadStatus]]:
    """Let what is stopping end, and take one pass."""
    host.pass_away()
    return rollout.advance(environment, "127.0.0.1:7502", desired)


def settle(rollout: HostRollout, host: FakeHost, *desired: Release) -> list[WorkloadStatus]:
    """Take passes until everything is up."""
    for _ in range(30):
        statuses = [status for rows in run_pass(rollout, host, *desired).values() for status in rows]
        if all(status.ready >= status.wanted and status.old == 0 for status in statuses):
            return statuses
    pytest.fail(f"it does not settle: {statuses}")
