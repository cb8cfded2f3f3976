"""The replicas of one environment's workloads: looked at, started, drained, stopped; called by the rollout on every pass.

It carries out what `decide.step` and the canary ask for, and never decides which revision gets traffic.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from setpoint.core import clock
from setpoint.core.errors import SetpointError
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import DeployReason, Identity, ReplicaSpec, ReplicaStatus, Workload
from setpoint.reconcile.ports import Proxy, ReplicaRuntime, WorkloadStatus
from setpoint.rollout import decide
from setpoint.rollout.memory import Memory
from setpoint.rollout.model import Action, Limits, ReplicaView

_DRAIN_LIMIT_S = 60.0
_CRASH_LOOP = 3


class Replicas:
    """The hands of the rollout."""

    def __init__(self, runtime: ReplicaRuntime, proxy: Proxy, memory: Memory, time: clock.Clock) -> None:
        self._runtime = runtime
        self._proxy = proxy
        self._memory = memory
        self._clock = time

    def roll(self, workload: Workload, identity: Identity, replicas: Sequence[ReplicaStatus]) -> WorkloadStatus:
        """Take one step of a rolling update of one workload, whose replicas were asked already."""
        views = [self.view(replica, workload.min_ready_s) for replica in replicas]
        limits = Limits(workload.revision_hash, workload.replicas, workload.max_surge, workload.max_unavailable, _DRAIN_LIMIT_S)
        waiting = self.waiting(workload, replicas)
        waiting += self.do_all(decide.step(limits, views), workload, identity)
        ready = sum(1 for v in views if v.phase == "ready" and v.revision_hash == workload.revision_hash)
        old = sum(1 for v in views if v.revision_hash != workload.revision_hash and v.phase != "dead")
        return WorkloadStatus(workload.name, workload.replicas, ready, old, tuple(waiting), notes(workload, replicas))

    def do_all(self, actions: Sequence[Action], workload: Workload, identity: Identity) -> list[DeployReason]:
        """Carry actions out; one workload that cannot go on must not stop the others of its environment, so faults are returned."""
        faults = []
        for action in actions:
            try:
                self._do(action, workload, identity)
            except SetpointError as error:
                faults.append(DeployReason(error.code, f"Deployment/{workload.name}", error.what, error.fix, "problem"))
        return faults

    def _do(self, action: Action, workload: Workload, identity: Identity) -> None:
        if action.what == "start":
            self._runtime.start(self._spec(workload, identity))
        elif action.what == "drain":
            self._memory.drain(action.replica)
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

    def retire(self, replicas: Sequence[ReplicaStatus]) -> None:
        """Drain, stop and remove replicas that nobody wants any more."""
        for replica in replicas:
            name, seen = replica.spec.replica, self._memory.seen(replica)
            if not replica.shim_alive:
                self._runtime.remove(name)
            elif seen.draining_since is None:
                self._memory.drain(name)
            elif self.view(replica).draining_s > _DRAIN_LIMIT_S or self._sessions(replica) == 0:
                self._runtime.stop(name, replica.spec.grace_s)

    def _sessions(self, replica: ReplicaStatus) -> int:
        return self._proxy.sessions(replica.spec.identity.environment, replica.spec.replica)

    def view(self, replica: ReplicaStatus, min_ready_s: float = 0.0) -> ReplicaView:
        """Return a replica as the decisions see it."""
        name, seen = replica.spec.replica, self._memory.seen(replica)
        if not replica.shim_alive:
            return ReplicaView(name, replica.revision_hash, "dead")
        if replica.stopping:
            return ReplicaView(name, replica.revision_hash, "stopping")
        if seen.draining_since is not None:
            drained_s = (self._clock.now() - seen.draining_since).total_seconds()
            return ReplicaView(name, replica.revision_hash, "draining", self._sessions(replica), drained_s)
        available = seen.available(self._clock.now(), min_ready_s)
        return ReplicaView(name, replica.revision_hash, "ready" if available else "starting")

    def waiting(self, workload: Workload, replicas: Sequence[ReplicaStatus]) -> list[DeployReason]:
        """Return why replicas of the wanted revision are not ready."""
        reasons = []
        for replica in replicas:
            state = self._memory.seen(replica)
            if replica.revision_hash != workload.revision_hash or state.ready or not replica.shim_alive:
                continue
            crashing = replica.restarts >= _CRASH_LOOP
            code, what = (
                ("CRASH_LOOP", f"restarted {replica.restarts} times, {replica.last_exit}") if crashing else ("NOT_READY", state.found)
            )
            fix = f"setpoint log {replica.spec.replica}"
            reasons.append(DeployReason(code, replica.spec.replica, what, fix, "problem" if crashing else "info"))
        return reasons

    def report_exits(self, replicas: Sequence[ReplicaStatus], recorder: Recorder) -> None:
        """Journal every end of a replica's process that nobody asked for, also those from while the server was down."""
        for replica in replicas:
            name = replica.spec.replica
            seen = self._memory.seen(replica)
            if replica.restarts > seen.restarts and not replica.stopping:
                body = {
                    "app": replica.spec.identity.app,
                    "environment": replica.spec.identity.environment,
                    "exit": replica.last_exit,
                    "restarts": replica.restarts,
                }
                recorder.record("replica.exited", name, "setpoint", body)
            seen.restarts = replica.restarts


def notes(workload: Workload, replicas: Sequence[ReplicaStatus]) -> tuple[DeployReason, ...]:
    """Return what a person should know of a workload that runs well: limits that this machine does not enforce."""
    found = sorted({r.unenforced for r in replicas if r.unenforced and r.spec.revision_hash == workload.revision_hash})
    return tuple(DeployReason("LIMITS_NOT_ENFORCED", f"Deployment/{workload.name}", text, "setpoint doctor") for text in found)
