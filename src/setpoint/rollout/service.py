"""Carries rolling updates out on the host: looks at replicas, asks `decide.step`, acts, and keeps the proxy equal to it.

Called by reconcile on every pass through its `WorkloadRollout` port. What it remembers between passes (readiness, since when a replica
drains) can be lost at any time: it is found out again by looking (law 5).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from setpoint.core import clock
from setpoint.core.errors import SetpointError
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import DeployReason, DesiredState, Identity, ReplicaSpec, ReplicaStatus, Route, Workload
from setpoint.reconcile.ports import Proxy, ProxyConfig, ProxyServer, ReplicaRuntime, WorkloadStatus
from setpoint.rollout import decide, probing
from setpoint.rollout.model import Action, Limits, ReplicaView
from setpoint.rollout.probing import ProbeState

_DRAIN_LIMIT_S = 60.0
_CRASH_LOOP = 3


@dataclass(slots=True)
class _Seen(ProbeState):
    """What the last looks at a replica found; it can be lost at any time."""

    environment: str = ""
    draining_since: datetime | None = None
    restarts: int = 0


class HostRollout:
    """The rollout engine on the host runtime."""

    def __init__(
        self, runtime: ReplicaRuntime, proxy: Proxy, recorder: Recorder, time: clock.Clock, told: Callable[[str], int] = lambda _replica: 0
    ) -> None:
        """Told is how many restarts of a replica the journal knows already, so that a restarted server does not repeat itself."""
        self._runtime = runtime
        self._told = told
        self._proxy = proxy
        self._recorder = recorder
        self._clock = time
        self._memory: dict[str, _Seen] = {}
        """replica -> what was seen of it; each environment's loop touches its own replicas only"""
        self._routes: dict[tuple[str, str], tuple[Route, ...]] = {}
        """(environment, app) -> the routes it had last"""
        self._proxied: set[str] = set()
        """environments whose proxy had routes: it is told when the last one goes"""

    def advance(self, environment: str, listen: str, desired: Sequence[tuple[DesiredState, Identity]]) -> dict[str, list[WorkloadStatus]]:
        """Take one step for every application of an environment (see the port)."""
        present = [r for r in self._runtime.replicas() if r.spec.identity.environment == environment]
        self._report_exits(present)
        statuses: dict[str, list[WorkloadStatus]] = {}
        servers: list[tuple[str, ProxyServer]] = []
        known = {state.app for state, _ in desired}
        for state, identity in desired:
            mine = [r for r in present if r.spec.identity.app == state.app]
            wanted = {workload.name: workload for workload in state.workloads}
            rows = [
                self._workload(workload, identity, [r for r in mine if r.spec.workload == workload.name]) for workload in state.workloads
            ]
            self._retire([r for r in mine if r.spec.workload not in wanted])
            statuses[state.app] = rows
            servers += [(state.app, server) for server in self._servers(mine, wanted, identity)]
        untouched = [r for r in present if r.spec.identity.app not in known]
        for replica in untouched:
            self._probe(replica)
        servers += [(r.spec.identity.app, s) for r in untouched for s in self._servers([r], {}, r.spec.identity)]
        routes = self._all_routes(environment, desired, {replica.spec.identity.app for replica in untouched})
        if routes or environment in self._proxied:
            self._proxied.add(environment)
            self._proxy.apply(ProxyConfig(environment, listen, routes, tuple(servers)))
        self._forget(environment, {replica.spec.replica for replica in present})
        return statuses

    def _all_routes(
        self, environment: str, desired: Sequence[tuple[DesiredState, Identity]], untouched: set[str]
    ) -> tuple[tuple[str, Route], ...]:
        """Return the routes of an environment; an application that is left alone keeps those it had."""
        self._routes.update({(environment, state.app): state.routes for state, _ in desired})
        kept = [app for app in sorted(untouched) if (environment, app) in self._routes]
        apps = [*(state.app for state, _ in desired), *kept]
        return tuple((app, route) for app in apps for route in self._routes[environment, app])

    def _workload(self, workload: Workload, identity: Identity, replicas: Sequence[ReplicaStatus]) -> WorkloadStatus:
        """Take one step for one workload."""
        for replica in replicas:
            self._probe(replica)
        views = [self._view(replica, workload.min_ready_s) for replica in replicas]
        limits = Limits(workload.revision_hash, workload.replicas, workload.max_surge, workload.max_unavailable, _DRAIN_LIMIT_S)
        waiting = self._waiting(workload, replicas)
        for action in decide.step(limits, views):
            try:
                self._do(action, workload, identity)
            except SetpointError as error:
                # One workload that cannot go on must not stop the others of its environment.
                waiting.append(DeployReason(error.code, f"Deployment/{workload.name}", error.what, error.fix, "problem"))
        ready = sum(1 for v in views if v.phase == "ready" and v.revision_hash == workload.revision_hash)
        old = sum(1 for v in views if v.revision_hash != workload.revision_hash and v.phase != "dead")
        return WorkloadStatus(workload.name, workload.replicas, ready, old, tuple(waiting))

    def _do(self, action: Action, workload: Workload, identity: Identity) -> None:
        if action.what == "start":
            self._runtime.start(self._spec(workload, identity))
        elif action.what == "drain":
            seen = self._memory[action.replica]
            seen.draining_since = seen.draining_since or self._clock.now()
        elif action.what == "stop":
            self._runtime.stop(action.replica, workload.grace_s)
        else:
            self._runtime.remove(action.replica)

    def _spec(self, workload: Workload, identity: Identity) -> ReplicaSpec:
        name = f"{workload.environment}-{workload.app}-{workload.name}-{workload.revision_hash[:8]}-{secrets.token_hex(3)}"
        digest = workload.container.image.partition("@")[2]
        return ReplicaSpec(
            replica=name,
            workload=workload.name,
            revision_hash=workload.revision_hash,
            port=self._runtime.free_port(),
            container=workload.container,
            identity=replace(identity, digest=digest),
            grace_s=workload.grace_s,
        )

    def _retire(self, replicas: Sequence[ReplicaStatus]) -> None:
        """Drain, stop and remove replicas of workloads that the application no longer has."""
        for replica in replicas:
            name, seen, now = replica.spec.replica, self._seen(replica), self._clock.now()
            if not replica.shim_alive:
                self._runtime.remove(name)
            elif seen.draining_since is None:
                seen.draining_since = now
            elif (now - seen.draining_since).total_seconds() > _DRAIN_LIMIT_S or self._sessions(replica) == 0:
                self._runtime.stop(name, replica.spec.grace_s)

    def _seen(self, replica: ReplicaStatus) -> _Seen:
        name = replica.spec.replica
        if name not in self._memory:
            self._memory[name] = _Seen(environment=replica.spec.identity.environment, restarts=self._told(name))
        return self._memory[name]

    def _sessions(self, replica: ReplicaStatus) -> int:
        return self._proxy.sessions(replica.spec.identity.environment, replica.spec.replica)

    def _probe(self, replica: ReplicaStatus) -> None:
        """Ask the probes that are due; a replica that its liveness or startup probe gives up is stopped, and another one starts."""
        failed = probing.look(self._seen(replica), replica, self._clock.now(), self._runtime.ready)
        if failed is not None:
            self._runtime.stop(replica.spec.replica, failed.grace_s)

    def _view(self, replica: ReplicaStatus, min_ready_s: float) -> ReplicaView:
        name, seen = replica.spec.replica, self._seen(replica)
        if not replica.shim_alive:
            return ReplicaView(name, replica.spec.revision_hash, "dead")
        if replica.stopping:
            return ReplicaView(name, replica.spec.revision_hash, "stopping")
        if seen.draining_since is not None:
            drained_s = (self._clock.now() - seen.draining_since).total_seconds()
            return ReplicaView(name, replica.spec.revision_hash, "draining", self._sessions(replica), drained_s)
        available = seen.available(self._clock.now(), min_ready_s)
        return ReplicaView(name, replica.spec.revision_hash, "ready" if available else "starting")

    def _servers(self, replicas: Sequence[ReplicaStatus], wanted: dict[str, Workload], identity: Identity) -> list[ProxyServer]:
        """Return the proxy's servers: ready ones get traffic, draining and suddenly unready ones finish what they have."""
        servers = []
        for replica in replicas:
            state = self._seen(replica)
            if not replica.shim_alive or replica.stopping or not state.was_ready:
                continue
            workload = wanted.get(replica.spec.workload)
            current = workload is not None and workload.revision_hash == replica.spec.revision_hash
            shown = replace(identity, digest=replica.spec.identity.digest) if current else replica.spec.identity
            draining = state.draining_since is not None or not state.ready
            servers.append(ProxyServer(replica.spec.replica, replica.spec.workload, replica.spec.port, shown, draining))
        return servers

    def _waiting(self, workload: Workload, replicas: Sequence[ReplicaStatus]) -> list[DeployReason]:
        """Return why replicas of the wanted revision are not ready."""
        reasons = []
        for replica in replicas:
            state = self._seen(replica)
            if replica.spec.revision_hash != workload.revision_hash or state.ready or not replica.shim_alive:
                continue
            crashing = replica.restarts >= _CRASH_LOOP
            code, what = (
                ("CRASH_LOOP", f"restarted {replica.restarts} times, {replica.last_exit}") if crashing else ("NOT_READY", state.found)
            )
            fix = f"setpoint log {replica.spec.replica}"
            reasons.append(DeployReason(code, replica.spec.replica, what, fix, "problem" if crashing else "info"))
        return reasons

    def _report_exits(self, replicas: Sequence[ReplicaStatus]) -> None:
        """Journal every end of a replica's process that nobody asked for, also those from while the server was down."""
        for replica in replicas:
            name = replica.spec.replica
            seen = self._seen(replica)
            if replica.restarts > seen.restarts and not replica.stopping:
                body = {
                    "app": replica.spec.identity.app,
                    "environment": replica.spec.identity.environment,
                    "exit": replica.last_exit,
                    "restarts": replica.restarts,
                }
                self._recorder.record("replica.exited", name, "setpoint", body)
            seen.restarts = replica.restarts

    def _forget(self, environment: str, present: set[str]) -> None:
        for name, seen in list(self._memory.items()):
            if seen.environment == environment and name not in present:
                del self._memory[name]
