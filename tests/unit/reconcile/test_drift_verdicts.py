"""Drift: every deviation is a record before anything is corrected; repeated drift waits longer; Setpoint's own changes are none."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.core import clock, records
from setpoint.core.errors import ConflictError
from setpoint.ground.hold.model import Hold
from setpoint.reconcile.drift import decide
from setpoint.reconcile.drift.model import Deviation, DriftState, Kind, Mode
from setpoint.reconcile.drift.service import DriftParts, DriftService
from setpoint.reconcile.model import (
    Container,
    Deployment,
    DesiredState,
    Difference,
    Health,
    Identity,
    JobLimits,
    ReplicaSpec,
    ReplicaStatus,
    Workload,
)
from unit.builders_home import World

CONTAINER = Container("c", "hello/web@sha256:" + "a" * 64, None, None, {}, {}, 80, None, None)
WEIGHT = Difference("HTTPRoute/web / server a", "traffic", "weight 256", "weight 1")


class Machine:
    """Replicas in memory, and a drift service over them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.found: dict[str, ReplicaStatus] = {}
        self.service = self.restarted()

        self.back: set[str] = set()
        """Replicas of a canary that was sent back."""

    def restarted(self) -> DriftService:
        """The service of a server that has just started."""
        world = self.world
        replicas = lambda: list(self.found.values())  # noqa: E731 - a list that changes
        return DriftService(
            DriftParts(world.records, world.records, world.recorder, world.clock, replicas, world.holds, world.records, self._sent_back)
        )

    def _sent_back(self, replica: ReplicaStatus) -> bool:
        return replica.spec.replica in self.back

    def replica(self, name: str, **changes: object) -> None:
        """Add or change a replica."""
        spec = ReplicaSpec(name, "web", "h", 9001, CONTAINER, Identity("web", "staging", "r", "d", "p-1"), 30.0)
        before = self.found.get(name, ReplicaStatus(spec, True, 4711, "2026-11-23T06:00:00.000Z", 0, ""))
        self.found[name] = replace(before, **changes)  # type: ignore[arg-type]

    def look(self, mode: Mode = "correct", replicas: int = 1) -> None:
        """One pass."""
        workload = Workload("web", "staging", "web", replicas, {}, CONTAINER, "h")
        self.service.look("staging", mode, [DesiredState("web", "staging", (workload,), (), "d")])

    def healthy(self) -> None:
        """Journal that the application serves."""
        seen = Deployment("web", "staging", "p-1", "c", Health.HEALTHY, "2026-11-23T06:00:00.000Z")
        self.world.recorder.record("deployment.observed", "web/staging", "setpoint", records.encode(seen))

    def told(self) -> list[tuple[str, str, str]]:
        """(state, live, done) of every case, oldest first."""
        return [(d.state.value, d.live, d.done) for d in reversed(self.world.records.drifts())]


@pytest.fixture
def machine(world: World) -> Machine:
    """A machine with one serving replica."""
    found = Machine(world)
    found.replica("staging-web-web-h-1")
    found.healthy()
    found.look()
    return found


def _proxy(difference: Difference = WEIGHT, kind: Kind = "proxy") -> Deviation:
    return Deviation("web", "staging", kind, difference)


def test_a_killed_replica_is_a_record_with_its_exit_status_and_ends_when_the_shim_has_restarted_it(machine: Machine) -> None:
    """Found at the first look after the kill, healed when the process is there again; a quiet look says nothing."""
    assert machine.told() == []
    machine.replica("staging-web-web-h-1", pid=None, last_exit="killed by SIGKILL")
    machine.look()
    machine.look()
    assert [(state, live) for state, live, _ in machine.told()] == [("open", "killed by SIGKILL")]
    machine.replica("staging-web-web-h-1", pid=4712, restarts=1)
    machine.look()
    machine.look()
    assert [(state, done) for state, _, done in machine.told()] == [("healed", "its shim started it again (restart 1)")]


def test_a_kill_between_two_looks_is_told_although_it_is_over(machine: Machine) -> None:
    """Only the count of restarts tells of it: found and ended at once; also when the server was down meanwhile."""
    machine.replica("staging-web-web-h-1", pid=4712, restarts=1, last_exit="exit status 3")
    machine.service = machine.restarted()
    machine.look()
    assert machine.told() == [("healed", "exit status 3", "its shim started it again (restart 1)")]


def test_a_replica_whose_shim_died_stays_open_until_another_serves_in_its_place(machine: Machine) -> None:
    """The record outlives the replica's folder, and a restart of the server."""
    machine.replica("staging-web-web-h-1", shim_alive=False, pid=None, last_exit="killed with its shim")
    machine.look()
    machine.found.clear()
    machine.service = machine.restarted()
    machine.look()
    assert [state for state, _, _ in machine.told()] == ["open"]
    machine.replica("staging-web-web-h-2")
    machine.look()
    assert machine.told() == [("healed", "killed with its shim", "another replica was started in its place")]


def test_what_setpoint_stops_and_what_never_served_is_no_drift(world: World) -> None:
    """A drained replica, and one that fails on its way up, are the rollout's own matter."""
    machine = Machine(world)
    machine.replica("staging-web-web-h-1", pid=None, restarts=4, last_exit="exit status 1")
    machine.look()
    machine.replica("staging-web-web-h-1", pid=5)
    machine.healthy()
    machine.look()
    machine.replica("staging-web-web-h-1", stopping=True, shim_alive=False, pid=None)
    machine.look()
    assert machine.told() == []


def test_a_crashed_canary_is_no_drift_any_more_once_it_was_sent_back(machine: Machine) -> None:
    """Its replica is kept to be looked into and may crash on; the case ends with the return, and no other begins."""
    machine.replica("staging-web-web-h2-1")
    machine.look(replicas=2)
    machine.replica("staging-web-web-h2-1", pid=None, last_exit="exit status 1")
    machine.look(replicas=2)
    assert [state for state, _, _ in machine.told()] == ["open"]
    machine.back = {"staging-web-web-h2-1"}
    machine.look()
    assert machine.told() == [("gone", "exit status 1", "its release was sent back, and it serves nobody")]
    for restarts in range(2, 6):
        machine.replica("staging-web-web-h2-1", pid=None, restarts=restarts)
        machine.look()
    assert len(machine.told()) == 1
    assert machine.world.records.drifts(ended=False) == []


def test_a_job_that_ends_is_no_drift(machine: Machine) -> None:
    """Its process is meant to end; its shim ends with it and nobody asked it to."""
    spec = machine.found["staging-web-web-h-1"].spec
    machine.found["job"] = ReplicaStatus(replace(spec, replica="job", job=JobLimits(0, None)), True, 9, None, 0, "")
    machine.look()
    machine.replica("job", shim_alive=False, pid=None, last_exit="exit status 0")
    machine.look()
    assert machine.told() == []


def test_a_crash_loop_is_one_record_that_ends_after_quiet(machine: Machine) -> None:
    """From the third time on a case stays open until half a minute was quiet: the journal does not fill up."""
    for number in range(1, 40):
        machine.replica("staging-web-web-h-1", pid=5000 + number, restarts=number, last_exit="exit status 1")
        machine.look()
        machine.world.clock.move(2)
        machine.look()
    cases = machine.world.records.drifts()
    assert [d.state.value for d in cases] == ["open", "healed", "healed"]
    entries = [e for e in machine.world.journal.entries() if e.kind.startswith("drift.")]
    assert len(entries) < 12
    machine.world.clock.move(decide.QUIET_S)
    machine.look()
    assert machine.world.records.drifts()[0].state is DriftState.HEALED
    assert machine.world.records.drifts()[0].count == 39


def test_a_difference_is_recorded_then_corrected_and_ended_by_the_next_look(machine: Machine) -> None:
    """The judge returns what may be corrected only after the record is written."""
    assert machine.service.judge("staging", "proxy", [_proxy()]) == {WEIGHT}
    assert [state for state, _, _ in machine.told()] == ["open"]
    assert machine.service.judge("staging", "proxy", []) == frozenset()
    assert machine.told() == [("healed", "weight 1", "set back by run-time commands")]


def test_a_fight_over_one_field_is_corrected_later_each_time(machine: Machine) -> None:
    """At once, then after 2, 6, 18 s; ten quiet minutes make it forget."""
    waited = []
    for _ in range(4):
        since = machine.world.clock.now()
        while WEIGHT not in machine.service.judge("staging", "proxy", [_proxy()]):
            machine.world.clock.move(1)
        waited.append((machine.world.clock.now() - since).total_seconds())
        machine.world.clock.move(1)
        machine.service.judge("staging", "proxy", [])
        machine.world.clock.move(decide.QUIET_S)
        machine.service.judge("staging", "proxy", [])
    assert waited == [0, 2, 6, 18]
    machine.world.clock.move(decide.WINDOW_S + 1)
    assert machine.service.judge("staging", "proxy", [_proxy()]) == {WEIGHT}


def test_report_leaves_alone_what_serves_until_a_person_or_the_mode_says_otherwise(machine: Machine) -> None:
    """The case is reported and survives a restart; `heal` opens it for correction, and only once."""
    machine.look("report")
    assert machine.service.judge("staging", "proxy", [_proxy()]) == frozenset()
    assert [state for state, _, _ in machine.told()] == ["reported"]
    assert [case.state for case in machine.service.cases("staging", "proxy")] == [DriftState.REPORTED]
    assert machine.service.places("proxy") == {"staging"}
    machine.service = machine.restarted()
    machine.look("report")
    assert machine.service.judge("staging", "proxy", [_proxy()]) == frozenset()
    [ordered] = machine.service.heal("web", "staging", "person:sam@example.com")
    assert (ordered.state, ordered.ordered_by) == (DriftState.OPEN, "person:sam@example.com")
    assert machine.service.judge("staging", "proxy", [_proxy()]) == {WEIGHT}
    machine.service.judge("staging", "proxy", [])
    assert machine.told()[0][0] == "healed"
    with pytest.raises(ConflictError, match="SP660"):
        machine.service.heal("web", "staging", "operator")
    machine.service.judge("staging", "proxy", [_proxy()])
    machine.look("correct")
    machine.world.clock.move(3)
    assert machine.service.judge("staging", "proxy", [_proxy()]) == {WEIGHT}


def test_report_never_leaves_anything_dead(machine: Machine) -> None:
    """A proxy that does not run is started in every mode, and a replica too."""
    machine.look("report")
    dead = Difference("proxy of staging", "process", "listening on 127.0.0.1:1", "not running")
    for _ in range(3):
        assert machine.service.judge("staging", "proxy", [_proxy(dead)]) == {dead}
        machine.service.judge("staging", "proxy", [])
    machine.replica("staging-web-web-h-1", pid=None, last_exit="killed by SIGKILL")
    machine.look("report")
    assert machine.world.records.drifts(ended=False)[0].state is DriftState.OPEN


def test_what_ends_before_its_correction_is_gone_not_healed(machine: Machine) -> None:
    """Setpoint claims nothing that it did not do."""
    machine.look("report")
    machine.service.judge("staging", "proxy", [_proxy()])
    machine.service.judge("staging", "proxy", [])
    assert machine.told() == [("gone", "weight 1", "it is as desired again, without a correction by Setpoint")]


def test_cases_survive_the_deletion_of_the_database(machine: Machine, tmp_path: Path) -> None:
    """Open and ended cases are folded from the journal again, equal to before."""
    machine.service.judge("staging", "proxy", [_proxy()])
    machine.service.judge("staging", "proxy", [])
    machine.look("report")
    machine.service.judge("staging", "proxy", [_proxy(replace(WEIGHT, subject="another"))])
    before = machine.world.records.drifts()
    engine = open_database(tmp_path / "anew.db")
    Projection(engine).apply(machine.world.journal.entries())
    assert Records(engine).drifts() == before
    assert {(one.kind, one.state.value, one.count) for one in Records(engine).drift_sums()} == {
        ("proxy", "healed", 1),
        ("proxy", "reported", 1),
    }


def test_reasons_say_what_differs_since_when_and_what_happens_next(machine: Machine) -> None:
    """The same reasons serve why, status and the page."""
    machine.look("report")
    machine.service.judge("staging", "proxy", [_proxy()])
    [reason] = decide.reasons(machine.world.records.drifts(ended=False), "web")
    assert (reason.code, reason.fix) == ("DRIFT_REPORTED", "setpoint heal web staging")
    assert "traffic is weight 1, not weight 256, since 2026-11-23 06:00:00 UTC" in reason.found
    machine.service.heal("web", "staging", "operator")
    [reason] = decide.reasons(machine.world.records.drifts(ended=False), "web")
    assert (reason.code, reason.fix) == ("DRIFT_FOUND", "")


def test_the_backoff_grows_to_five_minutes() -> None:
    """2 s, then three times longer, never more than 300 s."""
    assert [decide.backoff_s(count) for count in range(1, 9)] == [0, 2, 6, 18, 54, 162, 300, 300]


def _lease(world: World, objects: str = "", app: str = "web", then: str = "correct") -> str:
    """Break the glass for an hour."""
    until = clock.to_text(world.holds.journal_now() + timedelta(hours=1))
    wanted = Hold("", "break-glass", "staging", app, "person:sam@example.com", "stuck", "", until, objects=objects)
    return world.holds.open(replace(wanted, then=then)).hold  # type: ignore[arg-type]


def _states(world: World) -> list[tuple[str, str]]:
    return [(one.state.value, one.live) for one in reversed(world.records.drifts())]


@pytest.mark.parametrize("mode", ["correct", "report"])
def test_under_a_lease_drift_is_recorded_and_not_corrected(machine: Machine, mode: Mode) -> None:
    """It is held, what people change further is told again, and at the end of the lease's time it is as the environment's mode says."""
    world, service = machine.world, machine.service
    service.remember("staging", mode)
    lease = _lease(world)
    assert service.judge("staging", "proxy", [_proxy()]) == frozenset()
    moved = _proxy(replace(WEIGHT, live="weight 7"))
    assert service.judge("staging", "proxy", [moved]) == frozenset()
    (case,) = world.records.drifts()
    assert (case.state, case.held_by, case.live) == (DriftState.HELD, lease, "weight 7")
    assert case.held_why == "sam@example.com broke the glass: stuck"
    (reason,) = decide.reasons([case], "web")
    assert (reason.code, reason.fix) == ("DRIFT_HELD", "")
    entries = len(world.journal)
    service.judge("staging", "proxy", [moved])
    assert len(world.journal) == entries
    world.clock.move(3600)
    found = service.judge("staging", "proxy", [moved])
    assert found == (frozenset({moved.difference}) if mode == "correct" else frozenset())
    (case,) = world.records.drifts()
    assert (case.state, case.held_by) == (DriftState.OPEN if mode == "correct" else DriftState.REPORTED, "")


def test_a_lease_that_ended_while_the_server_was_down_ends_at_its_start(machine: Machine) -> None:
    """The first look of the next server corrects what the lease held."""
    world = machine.world
    _lease(world)
    machine.service.judge("staging", "proxy", [_proxy()])
    world.clock.move(7200)
    machine.service = machine.restarted()
    assert machine.service.judge("staging", "proxy", [_proxy()]) == frozenset({WEIGHT})


def test_after_a_lease_a_person_may_decide(machine: Machine) -> None:
    """With `hold` what was changed stays, over a restart too, and heal brings it back; what drifts anew is corrected."""
    world = machine.world
    lease = _lease(world, then="hold")
    machine.service.judge("staging", "proxy", [_proxy()])
    world.clock.move(3601)
    machine.service.judge("staging", "proxy", [_proxy()])
    machine.service = machine.restarted()
    other = _proxy(replace(WEIGHT, field="state"))
    assert machine.service.judge("staging", "proxy", [_proxy(), other]) == frozenset({other.difference})
    case = next(one for one in world.records.drifts() if one.field == "traffic")
    assert (case.state, case.held_by, case.then) == (DriftState.HELD, lease, "hold")
    assert [reason.fix for reason in decide.reasons([case], "web")] == ["setpoint heal web staging"]
    machine.service.heal("web", "staging", "operator")
    assert WEIGHT in machine.service.judge("staging", "proxy", [_proxy(), other])


def test_a_lease_is_about_its_objects_only_and_what_is_dead_is_brought_back(machine: Machine) -> None:
    """Another object is corrected, and a killed replica is a case that is open, whoever broke the glass."""
    _lease(machine.world, "HTTPRoute/*")
    other = _proxy(Difference("proxy", "configuration", "ours", "theirs"))
    assert machine.service.judge("staging", "proxy", [_proxy(), other]) == frozenset({other.difference})
    assert _states(machine.world) == [("held", "weight 1"), ("open", "theirs")]
    machine.replica("staging-web-web-h-1", pid=None, last_exit="killed by SIGKILL")
    machine.look()
    assert _states(machine.world)[-1] == ("open", "killed by SIGKILL")


def test_what_an_environment_has_in_common_is_held_by_a_lease_of_the_whole_environment(machine: Machine) -> None:
    """The proxy concerns every application: a lease of one does not hold it."""
    common = Deviation("", "staging", "proxy", Difference("proxy", "configuration", "ours", "theirs"))
    _lease(machine.world)
    assert machine.service.judge("staging", "proxy", [common]) == frozenset({common.difference})
    _lease(machine.world, app="")
    assert machine.service.judge("staging", "proxy", [common]) == frozenset()


def test_what_is_put_back_by_hand_under_a_lease_is_over(machine: Machine) -> None:
    """Nobody corrected it, and the record says so."""
    _lease(machine.world)
    machine.service.judge("staging", "proxy", [_proxy()])
    machine.service.judge("staging", "proxy", [])
    (case,) = machine.world.records.drifts()
    assert (case.state, case.done) == (DriftState.GONE, "it is as desired again, without a correction by Setpoint")
