"""Probes: when they are asked and what their answers mean."""

from dataclasses import replace
from datetime import datetime, timedelta

from setpoint.core import clock
from setpoint.reconcile.model import Container, Identity, Probe, ReplicaSpec, ReplicaStatus
from setpoint.rollout.probing import Failed, ProbeState, look

BEGAN = datetime.fromisoformat("2026-11-23T06:00:00+00:00")
READY = Probe("/ready", period_s=10)


class Play:
    """A replica whose probes answer as the test says, and a clock that moves when the test says."""

    def __init__(self, **probes: Probe | None) -> None:
        container = Container("c", "r@sha256:a", None, None, {}, {}, 80, None, None)
        container = replace(container, **probes)  # type: ignore[arg-type]
        spec = ReplicaSpec("web-1", "web", "h", 20000, container, Identity("a", "e", "", "", ""), 30.0)
        self.replica = ReplicaStatus(spec, True, 7, clock.to_text(BEGAN), 0, "")
        self.state = ProbeState()
        self.now = BEGAN
        self.answers: dict[str, bool] = {}
        self.asked: list[str] = []

    def ask(self, _replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Answer, true unless the test said otherwise."""
        path = probe.path if probe else "tcp"
        self.asked.append(path)
        return self.answers.get(path, True), "said so"

    def after(self, seconds: float) -> Failed | None:
        """Look once, some seconds later."""
        self.now += timedelta(seconds=seconds)
        return look(self.state, self.replica, self.now, self.ask)


def test_a_startup_probe_holds_the_others_until_it_passes() -> None:
    """Neither readiness nor liveness is asked before, and the replica is not ready."""
    play = Play(startup=Probe("/start", period_s=1), readiness=READY, liveness=Probe("/live", period_s=1))
    play.answers["/start"] = False
    play.after(0)
    play.after(1)
    assert (set(play.asked), play.state.ready) == ({"/start"}, False)
    play.answers["/start"] = True
    play.after(1)
    assert (play.asked[-3:], play.state.ready) == (["/start", "/ready", "/live"], True)


def test_a_startup_probe_gives_a_replica_up_after_its_threshold_of_periods() -> None:
    """Looks within a period count once, so that a quick loop does not use the patience up; its own grace is used."""
    play = Play(startup=Probe("/start", period_s=10, failure_threshold=3, grace_s=4.0))
    play.answers["/start"] = False
    assert [play.after(step) for step in (0, 1, 1, 8, 1)] == [None] * 5
    failed = play.after(9)
    assert failed == Failed("startup probe failed: said so", 4.0)


def test_readiness_asks_for_as_many_passes_as_it_says_one_a_period() -> None:
    """A success threshold counts passes in a row, a period apart."""
    play = Play(readiness=replace(READY, success_threshold=3))
    play.after(0)
    play.after(1)
    assert play.asked == ["/ready"]
    play.after(9)
    assert not play.state.ready
    play.after(10)
    assert play.state.ready


def test_a_failing_look_before_the_first_success_is_repeated_at_once() -> None:
    """A replica is ready as soon as it answers, not a period later."""
    play = Play(readiness=READY)
    play.answers["/ready"] = False
    play.after(0)
    play.answers["/ready"] = True
    play.after(0.1)
    assert play.state.ready


def test_minimum_ready_time_begins_when_it_became_ready() -> None:
    """A replica that becomes ready late is available only after the time; one that a restarted server finds serving, at once."""
    play = Play(readiness=READY)
    play.answers["/ready"] = False
    play.after(100)
    play.answers["/ready"] = True
    play.after(1)
    assert (play.state.available(play.now, 0), play.state.available(play.now, 30)) == (True, False)
    assert play.state.available(play.now + timedelta(seconds=30), 30)
    found = Play(readiness=READY)
    found.after(100)
    assert found.state.available(found.now, 30)


def test_a_restarted_process_begins_anew() -> None:
    """What an earlier process answered says nothing about the next one, but the proxy still knows the replica."""
    play = Play(startup=Probe("/start", period_s=1), readiness=READY, liveness=Probe("/live", period_s=1, failure_threshold=2))
    play.after(0)
    assert play.state.ready
    play.replica = replace(play.replica, started_at=clock.to_text(BEGAN + timedelta(seconds=5)), restarts=1)
    play.answers["/start"] = False
    play.after(5)
    assert (play.state.ready, play.state.was_ready, play.asked[-1]) == (False, True, "/start")


def test_liveness_stops_with_the_grace_of_the_replica_unless_the_probe_has_its_own() -> None:
    """As many failures as its threshold, one a period."""
    play = Play(liveness=Probe("/live", period_s=1, failure_threshold=2))
    play.answers["/live"] = False
    assert play.after(0) is None
    assert play.after(1) == Failed("liveness probe failed: said so", 30.0)
    assert not play.state.ready


def test_the_age_of_the_process_itself_wins_over_the_clock() -> None:
    """A replica that began, says its shim, an hour ago or tomorrow waits for its initial delay all the same, and no longer."""
    for hours in (-1, 24):
        play = Play(readiness=Probe("/", period_s=10, initial_delay_s=5))
        play.replica = replace(play.replica, started_at=clock.to_text(BEGAN + timedelta(hours=hours)), age_s=4.0)
        play.after(0)
        assert (play.state.ready, play.state.found) == (False, "within its initial delay")
        play.replica = replace(play.replica, age_s=5.0)
        play.after(1)
        assert play.state.ready
