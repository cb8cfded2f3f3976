"""Carries rollouts out on the host: looks at replicas, takes one step for every application, and keeps the proxy equal to it.

Called by reconcile on every pass through its `WorkloadRollout` port. What it remembers between passes (readiness, since when a replica
drains) can be lost at any time: it is found out again by looking (law 5).
"""

from collections.abc import Callable, Sequence

from setpoint.core import clock
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import Release, ReplicaStatus
from setpoint.reconcile.ports import Proxy, ProxyConfig, ProxyServer, ReplicaRuntime, WorkloadStatus
from setpoint.rollout.memory import Memory
from setpoint.rollout.replicas import Replicas
from setpoint.rollout.servers import servers_of


class HostRollout:
    """The rollout engine on the host runtime."""

    def __init__(
        self, runtime: ReplicaRuntime, proxy: Proxy, recorder: Recorder, time: clock.Clock, told: Callable[[str], int] = lambda _replica: 0
    ) -> None:
        """Told is how many restarts of a replica the journal knows already, so that a restarted server does not repeat itself."""
        self._runtime = runtime
        self._proxy = proxy
        self._recorder = recorder
        self._memory = Memory(runtime, time, told)
        self._replicas = Replicas(runtime, proxy, self._memory, time)

    def advance(self, environment: str, listen: str, releases: Sequence[Release]) -> dict[str, list[WorkloadStatus]]:
        """Take one step for every application of an environment (see the port)."""
        present = [r for r in self._runtime.replicas() if r.spec.identity.environment == environment and r.spec.job is None]
        self._replicas.report_exits(present, self._recorder)
        for replica in present:
            self._memory.probe(replica)
        statuses: dict[str, list[WorkloadStatus]] = {}
        servers: list[tuple[str, ProxyServer]] = []
        for release in releases:
            mine = [r for r in present if r.spec.identity.app == release.app]
            statuses[release.app] = self._roll(release, mine)
            servers += [(release.app, server) for server in servers_of(mine, release, self._memory.seen)]
        known = {release.app for release in releases}
        untouched = [r for r in present if r.spec.identity.app not in known]
        servers += [(r.spec.identity.app, server) for r in untouched for server in servers_of([r], None, self._memory.seen)]
        before = self._proxy.applied(environment)
        # An application that is left alone keeps the routes it had, and the proxy is told when the last route goes.
        kept = [(app, route) for app, route in (before.routes if before is not None else ()) if app not in known]
        routes = (*((release.app, route) for release in releases for route in release.desired.routes), *kept)
        if routes or before is not None:
            self._proxy.apply(ProxyConfig(environment, listen, routes, tuple(servers)))
        self._memory.forget(environment, {replica.spec.replica for replica in present})
        return statuses

    def _roll(self, release: Release, mine: Sequence[ReplicaStatus]) -> list[WorkloadStatus]:
        """Take one step of the rolling update of every workload."""
        wanted = {workload.name for workload in release.desired.workloads}
        rows = [
            self._replicas.roll(workload, release.identity, [r for r in mine if r.spec.workload == workload.name])
            for workload in release.desired.workloads
        ]
        self._replicas.retire([r for r in mine if r.spec.workload not in wanted])
        return rows
