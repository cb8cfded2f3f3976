"""Which replicas ended though nobody asked for it: compares the runtime's look with what was known of them before.

Called by the drift service once a pass, before the rollout acts. A replica counts once it has served: what ends on its way up is the
rollout's matter, what Setpoint stops says so in its folder, and neither is drift.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from setpoint.reconcile.drift.decide import Known
from setpoint.reconcile.drift.model import Deviation
from setpoint.reconcile.model import Difference, ReplicaStatus

_FIELD = "process"
_RUNS = "running"


@dataclass(slots=True)
class ReplicaWatch:
    """What was seen of replicas; it can be lost at any time, and is told again by the journal."""

    told: Callable[[str], int]
    """How many restarts of a replica the journal knows."""
    serving: Callable[[str], frozenset[str]]
    """The applications of an environment that were healthy when last judged."""
    _restarts: dict[str, int] = field(default_factory=dict)
    _arrived: set[str] = field(default_factory=set)
    _place: dict[str, str] = field(default_factory=dict)
    """replica -> its environment"""

    def look(
        self, environment: str, present: Sequence[ReplicaStatus], wanted: Mapping[str, int], known: Sequence[Known]
    ) -> list[Deviation]:
        """Return what ended; wanted is how many replicas each application should have, known the open cases of the environment."""
        if any(replica.spec.replica not in self._arrived for replica in present):
            serving = self.serving(environment)
            arrived = {r.spec.replica for r in present if r.spec.identity.app in serving and not r.stopping}
            self._arrived |= arrived
        found = [deviation for replica in present if (deviation := self._ended(environment, replica)) is not None]
        return [*found, *_missing(environment, present, wanted, known)]

    def forget(self, environment: str, present: set[str]) -> None:
        """Drop what was seen of replicas of an environment that are gone."""
        for name in [n for n, place in self._place.items() if place == environment and n not in present]:
            del self._place[name], self._restarts[name]
            self._arrived.discard(name)

    def _ended(self, environment: str, replica: ReplicaStatus) -> Deviation | None:
        name, app = replica.spec.replica, replica.spec.identity.app
        if name not in self._restarts:
            self._restarts[name], self._place[name] = self.told(name), environment
        before = self._restarts[name]
        if name not in self._arrived or replica.stopping:
            self._restarts[name] = replica.restarts
            return None
        live = replica.last_exit or "not running"
        difference = Difference(name, _FIELD, _RUNS, live)
        if not replica.shim_alive:
            return Deviation(app, environment, "replica", difference, event="shim", done="another replica was started in its place")
        if replica.restarts > before:
            if replica.pid is not None:
                self._restarts[name] = replica.restarts
            done = f"its shim started it again (restart {replica.restarts})"
            return Deviation(app, environment, "replica", difference, event=str(replica.restarts), over=replica.pid is not None, done=done)
        if replica.pid is None:
            done = "its shim starts it again"
            return Deviation(app, environment, "replica", difference, event=str(replica.restarts + 1), done=done)
        return None


def _missing(environment: str, present: Sequence[ReplicaStatus], wanted: Mapping[str, int], known: Sequence[Known]) -> list[Deviation]:
    """Return the cases of replicas that were removed while their application does not have its number again."""
    running: dict[str, int] = {}
    for replica in present:
        if replica.shim_alive and replica.pid is not None and not replica.stopping:
            app = replica.spec.identity.app
            running[app] = running.get(app, 0) + 1
    names = {replica.spec.replica for replica in present}
    found = []
    for case in known:
        drift = case.drift
        if drift.subject not in names and running.get(drift.app, 0) < wanted.get(drift.app, 0):
            difference = Difference(drift.subject, drift.field, drift.desired, drift.live)
            found.append(Deviation(drift.app, environment, "replica", difference, drift.writer, case.event, done=drift.done))
    return found
