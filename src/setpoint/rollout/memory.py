"""What the rollout remembers of replicas between passes; all of it can be lost at any time, and is found out again by looking (law 5).

Used by the rollout service and its replicas; each environment's loop touches its own replicas only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from setpoint.core import clock
from setpoint.reconcile.model import ReplicaStatus
from setpoint.reconcile.ports import ReplicaRuntime
from setpoint.rollout import probing
from setpoint.rollout.probing import ProbeState


@dataclass(slots=True)
class Seen(ProbeState):
    """What the last looks at a replica found."""

    environment: str = ""
    draining_since: datetime | None = None
    restarts: int = 0


class Memory:
    """Replicas by name, with what was seen of them."""

    def __init__(self, runtime: ReplicaRuntime, time: clock.Clock, told: Callable[[str], int]) -> None:
        """Told is how many restarts of a replica the journal knows already."""
        self._runtime = runtime
        self._clock = time
        self._told = told
        self._seen: dict[str, Seen] = {}

    def seen(self, replica: ReplicaStatus) -> Seen:
        """Return what is remembered of a replica; empty at first."""
        name = replica.spec.replica
        if name not in self._seen:
            self._seen[name] = Seen(environment=replica.spec.identity.environment, restarts=self._told(name))
        return self._seen[name]

    def probe(self, replica: ReplicaStatus) -> None:
        """Ask the probes that are due; a replica that its liveness or startup probe gives up is stopped, and another one starts."""
        failed = probing.look(self.seen(replica), replica, self._clock.now(), self._runtime.ready)
        if failed is not None:
            self._runtime.stop(replica.spec.replica, failed.grace_s)

    def drain(self, replica: str) -> None:
        """Note that a replica gets no new request from now on; the first time counts."""
        seen = self._seen[replica]
        seen.draining_since = seen.draining_since or self._clock.now()

    def forget(self, environment: str, present: set[str]) -> None:
        """Drop what is remembered of replicas that are gone."""
        for name, seen in list(self._seen.items()):
            if seen.environment == environment and name not in present:
                del self._seen[name]
