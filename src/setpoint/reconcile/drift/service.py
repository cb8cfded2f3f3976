"""Keeps the records of drift: takes what looks found, journals it, and says what may be corrected now.

Called by the host target (replicas), by the proxy before it converges, and by the look at unpacked images; a person's order to
correct comes in through the API. It corrects nothing itself: who looked does, after the record is written.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock, records
from setpoint.core.errors import ConflictError
from setpoint.ground.hold.service import Holds
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.adopt.ports import AdoptionRecords
from setpoint.reconcile.drift import decide
from setpoint.reconcile.drift.decide import Key, Known
from setpoint.reconcile.drift.holding import holding
from setpoint.reconcile.drift.model import Deviation, Drift, DriftState, Kind, Mode
from setpoint.reconcile.drift.ports import DriftRecords
from setpoint.reconcile.drift.replicas import ReplicaWatch
from setpoint.reconcile.model import DesiredState, Difference, Health, ReplicaStatus
from setpoint.reconcile.ports import DeploymentRecords

_EARLIER = 500


@dataclass(frozen=True, slots=True)
class DriftParts:
    """What the service works with."""

    records: DriftRecords
    deployments: DeploymentRecords
    recorder: Recorder
    clock: clock.Clock
    replicas: Callable[[], list[ReplicaStatus]]
    holds: Holds
    """Under whose break-glass leases drift is left as it is."""
    adoptions: AdoptionRecords
    """Which cases wait on branches."""
    sent_back: Callable[[ReplicaStatus], bool] = lambda _replica: False
    """Whether a replica is of a canary that was sent back: it is kept to be looked into, and serves nobody."""


class DriftService:
    """All cases of drift of a home; safe to call from several threads."""

    def __init__(self, parts: DriftParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._watch = ReplicaWatch(parts.records.restarts_told, self._serving)
        self._modes: dict[str, Mode] = {}
        self._known: dict[Key, Known] | None = None
        self._earlier: dict[Key, Drift] = {}

    def look(self, environment: str, mode: Mode, desired: Sequence[DesiredState]) -> None:
        """Look at the replicas of an environment; remembers its mode for the other looks.

        A Job's process is meant to end, and what was sent back serves nobody: neither is drift, and a case of the latter is over.
        """
        self._modes[environment] = mode
        every = [r for r in self._parts.replicas() if r.spec.identity.environment == environment and r.spec.job is None]
        idle = {replica.spec.replica for replica in every if self._parts.sent_back(replica)}
        present = [replica for replica in every if replica.spec.replica not in idle]
        wanted = {state.app: sum(workload.replicas for workload in state.workloads) for state in desired}
        with self._lock:
            self._withdraw(environment, idle)
            known = [case for case in self._open().values() if case.drift.environment == environment and case.drift.kind == "replica"]
            found = self._watch.look(environment, present, wanted, known)
            self._watch.forget(environment, {replica.spec.replica for replica in present})
            self._take(environment, "replica", found)

    def _withdraw(self, environment: str, idle: Collection[str]) -> None:
        """End the cases of replicas that no longer matter."""
        moot = [(key, case) for key, case in self._open().items() if case.drift.environment == environment and case.drift.subject in idle]
        now = self._parts.clock.now()
        ended = [decide.withdrawn(case.drift, now, "its release was sent back, and it serves nobody") for _key, case in moot]
        self._parts.recorder.record_all([_fact("drift.ended", drift) for drift in ended])
        for key, _case in moot:
            del self._open()[key]

    def judge(self, environment: str, kind: Kind, found: Sequence[Deviation]) -> frozenset[Difference]:
        """Record what a look found, and return what is to be corrected now (see the port)."""
        with self._lock:
            return self._take(environment, kind, found)

    def remember(self, environment: str, mode: Mode) -> None:
        """Take note of an environment's mode, for the looks that follow."""
        self._modes[environment] = mode

    def knows(self, environment: str) -> bool:
        """Say whether the environment was passed since the server started: before that its mode is not known."""
        return environment in self._modes

    def cases(self, environment: str, kind: Kind) -> list[Drift]:
        """Return the open cases of a kind in an environment."""
        with self._lock:
            return [case.drift for case in self._open().values() if (case.drift.environment, case.drift.kind) == (environment, kind)]

    def named(self, drift: str) -> Drift | None:
        """Return the open case of an id, or of the beginning of one that is no other's; None when there is none."""
        with self._lock:
            found = [case.drift for case in self._open().values() if case.drift.drift.startswith(drift)]
        return found[0] if drift and len(found) == 1 else next((one for one in found if one.drift == drift), None)

    def leave(self, key: Key, why: str) -> None:
        """Leave a case that a lease held to a person."""
        with self._lock:
            case = self._open().get(key)
            if case is None:
                return
            fix = f"setpoint heal {case.drift.app or 'APP'} {case.drift.environment}"
            left = replace(case.drift, then="hold", held_why=why, held_fix=fix)
            self._parts.recorder.record_all([_fact("drift.found", left)])
            self._open()[key] = replace(case, drift=left)

    def places(self, kind: Kind) -> set[str]:
        """Return the environments with open cases of a kind."""
        with self._lock:
            return {case.drift.environment for case in self._open().values() if case.drift.kind == kind}

    def heal(self, app: str, environment: str, actor: str) -> list[Drift]:
        """Have every reported or held case of an application corrected, those of its environment's proxy too; returns the cases.

        Raises:
            ConflictError: nothing is left alone there (SP660).
        """
        with self._lock:
            now = clock.to_text(self._parts.clock.now())
            ordered = []
            for key, case in self._open().items():
                drift = case.drift
                if drift.environment == environment and drift.app in (app, "") and drift.state in (DriftState.REPORTED, DriftState.HELD):
                    again = replace(drift, state=DriftState.OPEN, ordered_by=actor, heal_at=now)
                    ordered.append((key, replace(case, drift=again)))
            if not ordered:
                fix = f"setpoint drift {app} {environment} lists what is known"
                raise ConflictError("SP660", "no drift is waiting for an order", where=f"{app} in {environment}", fix=fix)
            self._parts.recorder.record_all([_fact("drift.found", case.drift, actor) for _key, case in ordered])
            self._open().update(ordered)
            return [case.drift for _key, case in ordered]

    def _take(self, environment: str, kind: Kind, found: Sequence[Deviation]) -> frozenset[Difference]:
        every = self._open()
        mine = {key: case for key, case in every.items() if case.drift.environment == environment and case.drift.kind == kind}
        if not mine and not found:
            return frozenset()
        held = holding(self._parts.holds, self._parts.adoptions, environment, [*(one.key for one in found), *mine], mine)
        step = decide.step(mine, self._earlier, found, self._modes.get(environment, "correct"), self._parts.clock.now(), held)
        facts = [_fact("drift.found", drift) for drift in step.found] + [_fact("drift.ended", drift) for drift in step.ended]
        if facts:
            self._parts.recorder.record_all(facts)
        for key in mine:
            del every[key]
        every.update(step.known)
        self._earlier.update({drift.key: drift for drift in step.ended})
        return step.correct

    def _open(self) -> dict[Key, Known]:
        """Return the open cases; read once, for nobody else writes them."""
        if self._known is None:
            self._known = {drift.key: Known(drift) for drift in self._parts.records.drifts(ended=False, limit=10_000)}
            ended = [drift for drift in self._parts.records.drifts(limit=_EARLIER) if drift.ended]
            self._earlier = {drift.key: drift for drift in reversed(ended)}
        return self._known

    def _serving(self, environment: str) -> frozenset[str]:
        every = self._parts.deployments.deployments()
        return frozenset(seen.app for seen in every if seen.environment == environment and seen.health is Health.HEALTHY)


def _fact(kind: str, drift: Drift, actor: str = "setpoint") -> Fact:
    return Fact(kind, drift.drift, actor, records.encode(drift))
