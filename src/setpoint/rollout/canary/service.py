"""Carries canaries out on the host: the replicas of both revisions, what the proxy is to do with them, and what the engine asks of both.

Called by the rollout service for each application whose rollout is split or was sent back. It decides nothing: `canary.engine` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from setpoint.reconcile.model import DeployReason, Release, ReplicaStatus, Route, Workload
from setpoint.reconcile.ports import ProxyServer, ServerCount, WorkloadStatus
from setpoint.rollout.canary import decide, reasons, traffic
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.memory import Memory
from setpoint.rollout.model import Arm, Facts, Rollout
from setpoint.rollout.replicas import Replicas
from setpoint.rollout.rollouts import Rollouts
from setpoint.rollout.servers import Shown, servers_of

_AT_ONCE = ("CRASH_LOOP", "SP631")
"""Faults of new replicas that time does not mend: a crash loop, an image that cannot run here."""

Counters = Callable[[str], Sequence[ServerCount]]
"""environment -> what its proxy counted"""


class Canary:
    """The canaries of a home's host."""

    def __init__(self, rollouts: Rollouts, replicas: Replicas, memory: Memory, counters: Counters, engine: Engine) -> None:
        self._rollouts = rollouts
        self._replicas = replicas
        self._memory = memory
        self._counters = counters
        self._engine = engine
        self._faults: dict[str, tuple[DeployReason, ...]] = {}
        """rollout -> what went wrong with its replicas in the last pass"""

    def step(self, rollout: Rollout, release: Release, stable: Release, mine: Sequence[ReplicaStatus]) -> Rollout:
        """Take one step (see the engine)."""
        faults = self._faults.get(rollout.rollout, ())
        return self._engine.step(rollout, _HostSides(self._replicas, self._counters, release, stable, mine, faults))

    def act(self, rollout: Rollout, release: Release, stable: Release, mine: Sequence[ReplicaStatus]) -> list[WorkloadStatus]:
        """Bring the replicas of both revisions to the numbers that the phase wants."""
        rows = [self._stable(workload, release, stable, mine) for workload in stable.desired.workloads]
        new = [w for w in release.desired.workloads if w.name in traffic.changed(stable.desired, release.desired)]
        waiting: list[DeployReason] = []
        if rollout.is_split:
            for workload in new:
                wanted = replace(workload, replicas=decide.needed(workload.replicas, decide.next_weight(rollout)))
                waiting += self._replicas.roll(wanted, release.identity, _of(mine, workload)).waiting
        self._faults[rollout.rollout] = tuple(waiting)
        self._rest(rollout, release, stable, mine, whole=all(row.ready >= row.wanted for row in rows))
        told = (*reasons.of(rollout), *waiting)
        pace = reasons.pace(rollout)
        first, *others = rows or [WorkloadStatus(release.app, 0, 0, 0, ())]
        return [replace(first, waiting=(*told, *first.waiting), pace=pace), *(replace(row, pace=pace) for row in others)]

    def _stable(self, workload: Workload, release: Release, stable: Release, mine: Sequence[ReplicaStatus]) -> WorkloadStatus:
        """Keep the stable revision of a workload whole; one that does not change takes its number and identity from the new pin."""
        for coming in release.desired.workloads:
            if (coming.name, coming.revision_hash) == (workload.name, workload.revision_hash):
                return self._replicas.roll(coming, release.identity, _of(mine, coming))
        return self._replicas.roll(workload, stable.identity, _of(mine, workload))

    def _rest(self, rollout: Rollout, release: Release, stable: Release, mine: Sequence[ReplicaStatus], *, whole: bool) -> None:
        """Retire what belongs to no side; while the stable side is not whole, it stands in for it."""
        rest = [r for r in mine if not self._has_a_place(rollout, release, stable, r)]
        self._replicas.retire([r for r in rest if whole or not r.shim_alive or _is_dropped(rollout, r)])

    def _has_a_place(self, rollout: Rollout, release: Release, stable: Release, replica: ReplicaStatus) -> bool:
        key = (replica.spec.workload, replica.spec.revision_hash)
        if _has(stable, key) or (rollout.is_split and _has(release, key)):
            return True
        return replica.shim_alive and self._rollouts.keeps(rollout, replica)

    def serve(
        self, rollout: Rollout, release: Release, stable: Release, mine: Sequence[ReplicaStatus]
    ) -> tuple[tuple[Route, ...], list[ProxyServer]]:
        """Return the routes by weight, and the servers of both revisions, each in its pool."""
        if not rollout.is_split:
            return stable.desired.routes, servers_of(mine, self._after_return(stable), self._memory.seen)
        pools = traffic.pools_of((release.desired, stable.desired))
        first = {workload.name: pools[workload.name, workload.revision_hash] for workload in stable.desired.workloads}

        def shown(replica: ReplicaStatus) -> Shown | None:
            key = (replica.spec.workload, replica.spec.revision_hash)
            if key in pools:
                return Shown((release if _has(release, key) else stable).identity, pools[key])
            idle = self._rollouts.keeps(rollout, replica) or _is_dropped(rollout, replica)
            return Shown(replica.spec.identity, first.get(replica.spec.workload, ""), traffic=not idle)

        return traffic.split(stable.desired, release.desired, rollout.weight), servers_of(mine, shown, self._memory.seen)

    @staticmethod
    def _after_return(stable: Release) -> Callable[[ReplicaStatus], Shown | None]:
        """Only the stable revision has traffic; the others finish what they have."""

        def shown(replica: ReplicaStatus) -> Shown | None:
            mine = _has(stable, (replica.spec.workload, replica.spec.revision_hash))
            return Shown(stable.identity if mine else replica.spec.identity, traffic=mine)

        return shown


@dataclass(frozen=True, slots=True)
class _HostSides:
    """Both revisions as replicas and servers of the proxy (fills `Sides`)."""

    replicas: Replicas
    counters: Counters
    release: Release
    stable: Release
    mine: Sequence[ReplicaStatus]
    faults: tuple[DeployReason, ...]

    def facts(self, rollout: Rollout) -> Facts:  # noqa: ARG002 - both revisions are all that is there
        """Return what is ready of the workloads whose traffic is shifted."""
        names = traffic.changed(self.stable.desired, self.release.desired)
        shifted = [workload for workload in self.release.desired.workloads if workload.name in names]
        ready = {w.name: sum(1 for r in _of(self.mine, w) if self.replicas.view(r, w.min_ready_s).phase == "ready") for w in shifted}
        waiting = [reason for w in shifted for reason in self.replicas.waiting(w, _of(self.mine, w))]
        problems = tuple(r for r in (*waiting, *self.faults) if r.severity == "problem" and r.code in _AT_ONCE)
        deadline_s = max((w.progress_deadline_s for w in shifted), default=600.0)
        return Facts(ready, {w.name: w.replicas for w in shifted}, problems, deadline_s=deadline_s)

    def counted(self) -> tuple[Sequence[ServerCount], Mapping[str, Arm]]:
        """Return the proxy's counters, and which side each replica counts for."""
        return self.counters(self.release.identity.environment), _arms(self.release, self.stable, self.mine)


def _of(replicas: Sequence[ReplicaStatus], workload: Workload) -> list[ReplicaStatus]:
    """Return the replicas of exactly this revision of a workload."""
    return [r for r in replicas if (r.spec.workload, r.spec.revision_hash) == (workload.name, workload.revision_hash)]


def _has(release: Release, key: tuple[str, str]) -> bool:
    return any((workload.name, workload.revision_hash) == key for workload in release.desired.workloads)


def _is_dropped(rollout: Rollout, replica: ReplicaStatus) -> bool:
    return rollout.dropped.get(replica.spec.workload) == replica.spec.revision_hash


def _arms(release: Release, stable: Release, replicas: Sequence[ReplicaStatus]) -> dict[str, Arm]:
    """Return which side each replica counts for; one that is the same on both sides counts for neither."""
    arms: dict[str, Arm] = {}
    for replica in replicas:
        key = (replica.spec.workload, replica.spec.revision_hash)
        new, old = _has(release, key), _has(stable, key)
        if new != old:
            arms[replica.spec.replica] = "canary" if new else "stable"
    return arms
