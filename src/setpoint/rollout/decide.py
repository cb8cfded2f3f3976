"""The next actions of a rolling update: pure, so that a killed server takes up where the world is (laws 5 and 6).

Called by the rollout service on every pass. The rules, after Kubernetes' rolling update: 1 what is dead is removed; 2 new replicas start
while surge allows; 3 an old one drains only when enough others are ready; 4 a drained one without requests stops; 5 surplus new ones drain.
"""

from collections.abc import Iterator, Sequence

from setpoint.core.words import counted
from setpoint.rollout.model import Action, Limits, ReplicaView


def step(limits: Limits, replicas: Sequence[ReplicaView]) -> list[Action]:
    """Return what to do now to bring a workload to `limits.replicas` of `limits.revision_hash` without losing a request."""
    new = [r for r in replicas if r.revision_hash == limits.revision_hash]
    old = [r for r in replicas if r.revision_hash != limits.revision_hash]
    actions = [Action("remove", r.replica, "its shim is gone") for r in replicas if r.phase == "dead"]
    actions += _finish_drained(limits, replicas)
    actions += _start(limits, new, old)
    actions += _retire(limits, new, old)
    return actions


def _serving(replicas: Sequence[ReplicaView]) -> list[ReplicaView]:
    return [r for r in replicas if r.phase in ("starting", "ready")]


def _ready(replicas: Sequence[ReplicaView]) -> list[ReplicaView]:
    return [r for r in replicas if r.phase == "ready"]


def _finish_drained(limits: Limits, replicas: Sequence[ReplicaView]) -> Iterator[Action]:
    for replica in replicas:
        if replica.phase != "draining":
            continue
        if replica.in_flight == 0:
            yield Action("stop", replica.replica, "no request is open any more")
        elif replica.draining_s > limits.drain_limit_s:
            yield Action("stop", replica.replica, f"{counted(replica.in_flight, 'request')} still open after {int(limits.drain_limit_s)} s")


def _start(limits: Limits, new: Sequence[ReplicaView], old: Sequence[ReplicaView]) -> Iterator[Action]:
    missing = limits.replicas - len(_serving(new))
    # With neither surge nor unavailability nothing could ever move; Kubernetes refuses that, and so does the subset.
    room = limits.replicas + limits.max_surge - len(_serving(new)) - len(_serving(old))
    for _ in range(max(0, min(missing, room))):
        yield Action("start", why="fewer than wanted of this revision")


def _retire(limits: Limits, new: Sequence[ReplicaView], old: Sequence[ReplicaView]) -> Iterator[Action]:
    least = limits.replicas - limits.max_unavailable
    ready = len(_ready(new)) + len(_ready(old))
    surplus = _serving(new)[limits.replicas :]
    for replica in [*sorted(_serving(old), key=lambda r: r.phase == "ready"), *surplus]:
        costs = 1 if replica.phase == "ready" else 0
        if ready - costs >= least or costs == 0:
            ready -= costs
            yield Action("drain", replica.replica, "another revision or number is wanted")
