"""Carries rollouts out on the host: looks at replicas, takes one step for every application, and keeps the proxy equal to it.

Called by reconcile on every pass through its `WorkloadRollout` port. What it remembers between passes (readiness, since when a replica
drains) can be lost at any time: it is found out again by looking (law 5); where a rollout is stands in the journal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock
from setpoint.core.errors import WorldError
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import Release, ReplicaStatus, Route
from setpoint.reconcile.ports import Proxy, ProxyConfig, ProxyServer, ReplicaRuntime, WorkloadStatus
from setpoint.rollout.canary import traffic
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.canary.service import Canary
from setpoint.rollout.memory import Memory
from setpoint.rollout.model import Coming, Facts, Phase, Rollout, Side
from setpoint.rollout.ports import RolloutRecords
from setpoint.rollout.replicas import Replicas
from setpoint.rollout.returning import Returning
from setpoint.rollout.rollouts import Rollouts
from setpoint.rollout.servers import Shown, servers_of


@dataclass(frozen=True, slots=True)
class RolloutParts:
    """What the rollout works with."""

    runtime: ReplicaRuntime
    proxy: Proxy
    recorder: Recorder
    clock: clock.Clock
    records: RolloutRecords
    rollouts: Rollouts
    """Where every rollout is, whatever its target: what people resume and abort."""
    engine: Engine
    returning: Returning


class HostRollout:
    """The rollout engine on the host runtime."""

    def __init__(self, parts: RolloutParts) -> None:
        self._parts = parts
        self._memory = Memory(parts.runtime, parts.clock, parts.records.restarts_told)
        self._replicas = Replicas(parts.runtime, parts.proxy, self._memory, parts.clock)
        self.rollouts = parts.rollouts
        self._canary = Canary(self.rollouts, self._replicas, self._memory, parts.proxy.counters, parts.engine)
        self._releases: dict[tuple[str, str], Release] = {}
        """(app, environment) -> what it was handed last, with its stable side"""

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the commit of the pin that was fully rolled out last; empty when there is none (see the port)."""
        return self.rollouts.stable_pin(app, environment)

    def advance(self, environment: str, listen: str, releases: Sequence[Release]) -> dict[str, list[WorkloadStatus]]:
        """Take one step for every application of an environment (see the port)."""
        present = [r for r in self._parts.runtime.replicas() if r.spec.identity.environment == environment and r.spec.job is None]
        self._replicas.report_exits(present, self._parts.recorder)
        for replica in present:
            self._memory.probe(replica)
        before = self._parts.proxy.applied(environment)
        apps = [release.app for release in releases]
        apps += sorted({r.spec.identity.app for r in present} | {app for app, _ in (before.routes if before else ())} - set(apps))
        statuses: dict[str, list[WorkloadStatus]] = {}
        routes: list[tuple[str, Route]] = []
        servers: list[tuple[str, ProxyServer]] = []
        wanted = {release.app: release for release in releases}
        present_of: dict[str, list[ReplicaStatus]] = {}
        for replica in present:
            present_of.setdefault(replica.spec.identity.app, []).append(replica)
        for app in dict.fromkeys(apps):
            mine, release = present_of.get(app, []), wanted.get(app)
            if release is not None:
                statuses[app] = self._act(release, mine)
            served = self._left_alone((app, environment), mine, before) if release is None else self._serve(release, mine)
            routes += [(app, route) for route in served[0]]
            servers += [(app, server) for server in served[1]]
        if routes or before is not None:  # the proxy is told when the last route goes
            self._parts.proxy.apply(ProxyConfig(environment, listen, tuple(routes), tuple(servers)))
        self._memory.forget(environment, {replica.spec.replica for replica in present})
        for release in releases:
            self._parts.returning.take_back((release.app, environment), release.pin_commit)
        return statuses

    def _act(self, release: Release, mine: Sequence[ReplicaStatus]) -> list[WorkloadStatus]:
        """Take one step of an application's rollout."""
        place = (release.app, release.identity.environment)
        with self.rollouts.locked(place):
            self._parts.returning.answer_late(place, release.pin_commit)
            rollout = self.rollouts.begin(_coming(release))
            release = self._with_stable(rollout, release)
            self._releases[place] = release
            if rollout.is_split and release.stable is not None:
                rollout = self._canary.step(rollout, release, release.stable, mine)
            if release.stable is not None and (rollout.is_split or rollout.phase is Phase.RETURNED):
                return self._canary.act(rollout, release, release.stable, mine)
            return self._roll(rollout, release, mine)

    def _with_stable(self, rollout: Rollout, release: Release) -> Release:
        """Return the release with its stable side, which a split cannot do without; an earlier pass may have seen it.

        Raises:
            WorldError: it cannot be had now (SP657).
        """
        if release.stable is not None or not (rollout.is_split or rollout.phase is Phase.RETURNED):
            return release
        before = self._releases.get((release.app, release.identity.environment))
        if before is None or before.stable is None:
            pin = rollout.stable.pin_commit if rollout.stable is not None else ""
            what = f"the stable revision of {release.app} cannot be rendered from its pin {pin[:12]}, so nothing is changed"
            raise WorldError("SP657", what, where=release.identity.environment, fix="setpoint verify says what is damaged")
        return replace(release, stable=before.stable)

    def _roll(self, rollout: Rollout, release: Release, mine: Sequence[ReplicaStatus]) -> list[WorkloadStatus]:
        """Take one step of the rolling update of every workload; what is kept without traffic is left alone."""
        rest = [r for r in mine if not self._is_idle(rollout, release, r)]
        wanted = {workload.name for workload in release.desired.workloads}
        rows = [
            self._replicas.roll(workload, release.identity, [r for r in rest if r.spec.workload == workload.name])
            for workload in release.desired.workloads
        ]
        self._replicas.retire([r for r in rest if r.spec.workload not in wanted])
        gone = not any(r.spec.workload not in wanted for r in rest)
        settled = gone and all(row.ready >= row.wanted and not row.old for row in rows)
        self._parts.engine.roll(rollout, Facts({}, {}, settled=settled))
        return rows

    def _is_idle(self, rollout: Rollout, release: Release, replica: ReplicaStatus) -> bool:
        """Say whether a living replica of a revision that is not wanted is kept for a while."""
        wanted = {workload.name: workload.revision_hash for workload in release.desired.workloads}
        current = wanted.get(replica.spec.workload) == replica.spec.revision_hash
        return not current and replica.shim_alive and not replica.stopping and self.rollouts.keeps(rollout, replica)

    def _serve(self, release: Release, mine: Sequence[ReplicaStatus]) -> tuple[tuple[Route, ...], list[ProxyServer]]:
        """Return routes and servers of an application after its step."""
        place = (release.app, release.identity.environment)
        rollout, release = self.rollouts.current(place), self._releases[place]
        if rollout is None:
            return (), []
        if release.stable is not None and (rollout.is_split or rollout.phase is Phase.RETURNED):
            return self._canary.serve(rollout, release, release.stable, mine)

        def shown(replica: ReplicaStatus) -> Shown | None:
            wanted = {workload.name: workload.revision_hash for workload in release.desired.workloads}
            if wanted.get(replica.spec.workload) == replica.spec.revision_hash:
                return Shown(release.identity)
            return Shown(replica.spec.identity, traffic=not self._is_idle(rollout, release, replica))

        return release.desired.routes, servers_of(mine, shown, self._memory.seen)

    def _left_alone(
        self, place: tuple[str, str], mine: Sequence[ReplicaStatus], before: ProxyConfig | None
    ) -> tuple[tuple[Route, ...], list[ProxyServer]]:
        """Return the routes that an application had, and its servers as they stood; what was sent back still gets nothing."""
        rollout = self.rollouts.current(place)
        pools = {server.name: server.pool for _, server in (before.servers if before is not None else ())}

        def shown(replica: ReplicaStatus) -> Shown:
            name, key = replica.spec.replica, (replica.spec.workload, replica.spec.revision_hash)
            back = rollout is not None and rollout.phase is Phase.RETURNED and rollout.stable is not None and not rollout.stable.has(*key)
            kept = rollout is not None and not rollout.new.has(*key) and self.rollouts.keeps(rollout, replica)
            return Shown(replica.spec.identity, pools.get(name, ""), traffic=not (back or kept))

        routes = tuple(route for app, route in (before.routes if before is not None else ()) if app == place[0])
        return routes, servers_of(mine, shown, self._memory.seen)


def _coming(release: Release) -> Coming:
    """Return what a release is, by name and by hashes, and whether its traffic can be split."""
    workloads = {workload.name: workload.revision_hash for workload in release.desired.workloads}
    side = Side(release.identity.promotion, release.pin_commit, release.identity.version, workloads)
    split = release.stable is not None and traffic.can_split(release.stable.desired, release.desired)
    return Coming(release.app, release.identity.environment, side, release.canary, split)
