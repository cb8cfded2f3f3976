"""When a replica's probes are asked, and what their answers mean: readiness, liveness and startup, as Kubernetes counts them.

Called by the rollout service for each replica on every pass; it asks through the callable it is given and stops nothing itself. What it
remembers can be lost at any time: it is found out again by asking (law 5).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock
from setpoint.reconcile.decide import UNPROBED_PERIOD_S
from setpoint.reconcile.model import Probe, ReplicaStatus

_TCP: Final = Probe("", period_s=UNPROBED_PERIOD_S)
"""What decides readiness when no probe is written."""

Ask = Callable[[ReplicaStatus, Probe | None], tuple[bool, str]]
"""One look: (passed, what was found); without a probe a TCP connect."""


@dataclass(slots=True)
class Count:
    """The consecutive answers of one probe."""

    asked_at: datetime | None = None
    counted_at: datetime | None = None
    """When an answer last counted: one that is asked early, to be ready soon, counts only when it passes."""
    passes: int = 0
    failures: int = 0

    def is_due(self, probe: Probe, now: datetime) -> bool:
        """Say whether a period has gone by since it was last asked."""
        return self.asked_at is None or now - self.asked_at >= timedelta(seconds=probe.period_s)

    def note(self, probe: Probe, now: datetime, *, passed: bool) -> None:
        """Count an answer; failures count once a period at most."""
        self.asked_at = now
        early = self.counted_at is not None and now - self.counted_at < timedelta(seconds=probe.period_s)
        if passed:
            self.passes, self.failures, self.counted_at = self.passes + 1, 0, now
        elif self.passes or not early:
            self.passes, self.failures, self.counted_at = 0, self.failures + 1, now


@dataclass(frozen=True, slots=True)
class Failed:
    """A replica whose process has to be replaced."""

    why: str
    grace_s: float


@dataclass(slots=True)
class ProbeState:
    """What the probes of one replica have said so far."""

    ready: bool = False
    was_ready: bool = False
    """It served once: from then on the proxy knows it."""
    ready_since: datetime | None = None
    found: str = "not asked yet"
    process: str | None = None
    """When the process that the counts are about began."""
    is_started: bool = False
    """Its startup probe has passed, or there is none."""
    served: bool = False
    """This process has been ready once."""
    startup: Count = field(default_factory=Count)
    readiness: Count = field(default_factory=Count)
    liveness: Count = field(default_factory=Count)

    def available(self, now: datetime, min_ready_s: float) -> bool:
        """Say whether it has been ready for long enough to count (Deployment `minReadySeconds`)."""
        return self.ready and self.ready_since is not None and now - self.ready_since >= timedelta(seconds=min_ready_s)


def look(state: ProbeState, replica: ReplicaStatus, now: datetime, ask: Ask) -> Failed | None:
    """Ask what is due and update state; returns why the replica has to be stopped, if it has to.

    The startup probe holds the others until it passes. Readiness is asked on every pass until it passes, then once a period. Liveness
    is asked once the replica has been ready. A restarted process begins anew.
    """
    if not replica.shim_alive or replica.pid is None:
        state.ready, state.ready_since, state.found = False, None, replica.last_exit or "its process is not running"
        return None
    if state.process != replica.started_at:
        _begin(state, replica)
    failed = _startup(state, replica, now, ask)
    if failed is not None or not state.is_started:
        state.ready, state.ready_since = False, None
        return failed
    _readiness(state, replica, now, ask)
    return _liveness(state, replica, now, ask)


def _begin(state: ProbeState, replica: ReplicaStatus) -> None:
    """Forget what an earlier process of the replica answered."""
    state.process, state.is_started, state.served = replica.started_at, False, False
    state.ready, state.ready_since = False, None
    state.startup, state.readiness, state.liveness = Count(), Count(), Count()


def _startup(state: ProbeState, replica: ReplicaStatus, now: datetime, ask: Ask) -> Failed | None:
    probe = replica.spec.container.startup
    if state.is_started or probe is None:
        state.is_started = True
        return None
    if _age_s(replica, now) < probe.initial_delay_s:
        state.found = "within the initial delay of its startup probe"
        return None
    passed, found = ask(replica, probe)
    state.startup.note(probe, now, passed=passed)
    state.is_started, state.found = passed, f"startup probe: {found}"
    return _failed(replica, probe, state.startup, f"startup probe failed: {found}")


def _readiness(state: ProbeState, replica: ReplicaStatus, now: datetime, ask: Ask) -> None:
    written = replica.spec.container.readiness
    probe, count = written or _TCP, state.readiness
    if count.asked_at is None and _age_s(replica, now) < probe.initial_delay_s:
        state.found = "within its initial delay"
        return
    hurry = not state.ready and count.passes == 0
    if not hurry and not count.is_due(probe, now):
        return
    first = count.asked_at is None
    passed, state.found = ask(replica, written)
    count.note(probe, now, passed=passed)
    if state.ready:
        state.ready = passed or count.failures < probe.failure_threshold
    elif count.passes >= probe.success_threshold:
        # One that answers at the first look was ready before it: a server that has just started again need not wait anew.
        state.ready, state.ready_since = True, now - timedelta(seconds=_age_s(replica, now)) if first else now
    state.ready_since = state.ready_since if state.ready else None
    state.was_ready, state.served = state.was_ready or state.ready, state.served or state.ready


def _liveness(state: ProbeState, replica: ReplicaStatus, now: datetime, ask: Ask) -> Failed | None:
    probe = replica.spec.container.liveness
    if probe is None or not state.served or not state.liveness.is_due(probe, now) or _age_s(replica, now) < probe.initial_delay_s:
        return None
    alive, found = ask(replica, probe)
    state.liveness.note(probe, now, passed=alive)
    failed = _failed(replica, probe, state.liveness, f"liveness probe failed: {found}")
    if failed is not None:
        state.ready, state.ready_since, state.found = False, None, failed.why
    return failed


def _failed(replica: ReplicaStatus, probe: Probe, count: Count, why: str) -> Failed | None:
    if count.failures < probe.failure_threshold:
        return None
    return Failed(why, replica.spec.grace_s if probe.grace_s is None else probe.grace_s)


def _age_s(replica: ReplicaStatus, now: datetime) -> float:
    """Return how long the replica's process has been running; by the clock only where nobody knows better, for a clock can be set."""
    if replica.age_s is not None:
        return replica.age_s
    return (now - clock.from_text(replica.started_at)).total_seconds() if replica.started_at else 0.0
