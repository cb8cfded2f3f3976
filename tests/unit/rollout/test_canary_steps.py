"""Canaries on a machine in memory: steps by weight, a verdict that sends back at once, and a server that may be killed at any time."""

from dataclasses import replace

import pytest

from setpoint.core.errors import ConflictError, WorldError
from setpoint.reconcile.model import CanaryPlan, Release
from setpoint.reconcile.ports import ServerCount, WorkloadStatus
from setpoint.rollout.judge import decide as judging
from setpoint.rollout.model import Phase, Rollout
from unit.builders_home import ManualClock
from unit.rollout_host import FakeHost, release_of, rollout_of, run_pass, settle

PLAN = CanaryPlan((5, 25, 50), hold_s=120)


@pytest.fixture
def host() -> FakeHost:
    """An empty machine."""
    return FakeHost()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


class Play:
    """One application whose pins come one after the other, with the traffic that its proxy counts."""

    def __init__(self, host: FakeHost, clock: ManualClock) -> None:
        self.host, self.clock = host, clock
        self.engine = rollout_of(host, clock)
        self.pins: dict[str, Release] = {}

    def at(self, release: Release) -> Rollout:
        """Take a pass for a pin, as reconcile does, and return where the rollout is."""
        self.pins[release.pin_commit] = replace(release, canary=None)
        commit = self.engine.stable_pin("web", "prod")
        stable = self.pins[commit] if commit and commit != release.pin_commit else None
        self.status = run_pass(self.engine, self.host, replace(release, stable=stable))["web"]
        found = self.engine.rollouts.current(("web", "prod"))
        assert found is not None
        return found

    status: list[WorkloadStatus]

    def until(self, release: Release, phase: Phase) -> Rollout:
        """Take passes until a phase."""
        for _ in range(30):
            found = self.at(release)
            if found.phase is phase:
                return found
        pytest.fail(f"it stays {found.phase}")

    def shares(self) -> dict[str, float]:
        """Return the share of the traffic by revision, as the routes and pools say."""
        config = self.host.configs["prod"]
        (route,) = [route for _, route in config.routes]
        counts = {server.pool or server.workload: 0 for _, server in config.servers}
        for _, server in config.servers:
            counts[server.pool or server.workload] += not server.draining
        alive = {pool: weight for pool, weight in route.backends if counts.get(pool)}
        return {pool: round(weight / sum(alive.values()), 4) for pool, weight in alive.items() if weight}

    def serve(self, canary: tuple[int, int], stable: tuple[int, int], revision: str = "2") -> None:
        """Let both sides answer (requests, errors) on their first replicas, as HAProxy would count them."""
        for (requests, errors), first in ((canary, revision), (stable, "")):
            replica = next(n for n, r in self.host.found.items() if r.spec.revision_hash.startswith(revision) == bool(first))
            before = self.host.counts.get(("b", replica), ServerCount("b", replica, self.host.worker, {"2xx": 0, "5xx": 0}))
            answers = {"2xx": before.responses["2xx"] + requests - errors, "5xx": before.responses["5xx"] + errors}
            self.host.counts["b", replica] = ServerCount("b", replica, self.host.worker, answers)

    def entries(self) -> list[str]:
        """Return the kinds of what was journalled about the rollout."""
        return [kind.partition(".")[2] for kind, _ in self.host.journalled if kind.startswith("rollout.")]


@pytest.fixture
def play(host: FakeHost, clock: ManualClock) -> Play:
    """Revision 1 runs, fully rolled out."""
    found = Play(host, clock)
    found.until(release_of("1", replicas=4), Phase.FINISHED)
    return found


def _new(revision: str = "2", *, plan: CanaryPlan | None = PLAN, replicas: int = 4, names: tuple[str, ...] = ("web",)) -> Release:
    return replace(release_of(revision, replicas=replicas, names=names), canary=plan)


def test_a_good_release_takes_all_traffic_step_by_step(play: Play) -> None:
    """5, 25, 50 and then 100 %, each held for its time, with as many replicas as the weight needs; what ran before is kept warm."""
    play.at(_new())
    assert play.shares() == {f"web@{'1' * 12}": 1.0}, "no traffic before a replica is ready"
    for weight, replicas in ((5, 1), (25, 1), (50, 2)):
        found = play.until(_new(), Phase.HOLDING)
        assert (found.weight, len(play.host.names("2")), len(play.host.names("1"))) == (weight, replicas, 4)
        assert play.shares() == {f"web@{'2' * 12}": weight / 100, f"web@{'1' * 12}": 1 - weight / 100}
        play.serve((100, 0), (900, 1))
        play.clock.move(119)
        assert play.at(_new()).weight == weight
        play.clock.move(2)
        play.at(_new())
    found = play.until(_new(), Phase.FINISHED)
    assert (found.weight, play.shares(), len(play.host.names("2"))) == (100, {"web": 1.0}, 4)
    assert play.host.traffic() == set(play.host.names("2"))
    assert len(play.host.names("1")) == 4, "kept to go back to"
    assert (play.status[0].ready, play.status[0].old) == (4, 0)
    play.clock.move(301)
    for _ in range(4):
        play.at(_new())
    assert play.host.names("1") == []
    assert play.entries().count("stepped") == 7
    assert play.host.taken_back == []


def test_a_bad_release_is_sent_back_at_once_with_numbers(play: Play) -> None:
    """Twelve of 240 against three of 4,600: no traffic in the same pass, a rollback asked for once, the replicas kept to look into."""
    play.until(_new(), Phase.HOLDING)
    play.serve((240, 12), (4600, 3))
    play.clock.move(5)
    found = play.at(_new())
    assert (found.phase, found.weight) == (Phase.RETURNED, 0)
    assert play.host.traffic() == set(play.host.names("1"))
    (reason,) = [reason for reason in found.reasons if reason.code == "CANARY_ERRORS"]
    text = "12 of 240 requests failed in the canary, 3 of 4,600 in the stable one: 76.7x, evidence 3.61e+10 of 100 needed"
    assert reason.found == text
    assert play.entries()[-2:] == ["returned", "returned"]
    assert [promotion for promotion, _ in play.host.taken_back] == ["p-2"]
    assert "12 of 240" in play.host.taken_back[0][1]
    assert {(r.code, r.severity) for r in play.status[0].waiting} == {("CANARY_ERRORS", "problem"), ("RETURNED", "info")}
    for _ in range(3):
        play.at(_new())
    assert len(play.host.names("2")) == 1
    found = play.until(replace(release_of("1", replicas=4), pin_commit="pin-back"), Phase.FINISHED)
    assert (len(play.host.names("2")), play.host.traffic()) == (1, set(play.host.names("1")))
    play.clock.move(301)
    for _ in range(3):
        play.at(replace(release_of("1", replicas=4), pin_commit="pin-back"))
    assert (play.host.names("2"), len(play.host.names("1"))) == ([], 4)


def test_a_step_without_requests_is_held_until_they_come(play: Play) -> None:
    """NODATA never promotes: the step waits; enough requests resume it, and a person may."""
    play.until(_new(), Phase.HOLDING)
    play.serve((19, 0), (4000, 0))
    play.clock.move(121)
    found = play.at(_new())
    assert (found.phase, found.reasons[0].code, found.weight) == (Phase.HELD, "NODATA", 5)
    assert play.status[0].pace == "held"
    play.clock.move(3600)
    assert play.at(_new()).phase is Phase.HELD
    play.serve((1, 0), (9, 0))
    play.clock.move(5)
    assert (play.at(_new()).step, play.entries()[-1]) == (1, "resumed")
    play.until(_new(), Phase.HOLDING)
    play.clock.move(121)
    assert play.at(_new()).phase is Phase.HELD
    found = play.engine.rollouts.resume("web", "prod", "person:sam@example.com", "quiet night")
    assert (found.step, found.message) == (2, "quiet night")
    with pytest.raises(ConflictError, match="no rollout is held"):
        play.engine.rollouts.resume("web", "prod", "person:sam@example.com", "again")


def test_unjudged_steps_go_on_by_time_but_evidence_still_counts(play: Play) -> None:
    """`unjudged: true` is about too little traffic, not about ignoring what is seen."""
    plan = replace(PLAN, unjudged=True)
    play.until(_new(plan=plan), Phase.HOLDING)
    play.clock.move(121)
    assert play.at(_new(plan=plan)).step == 1
    play.until(_new(plan=plan), Phase.HOLDING)
    play.serve((100, 50), (300, 0))
    play.clock.move(5)
    assert play.at(_new(plan=plan)).phase is Phase.RETURNED


def test_a_person_aborts(play: Play) -> None:
    """The same way back as a verdict's, in the person's name; without a canary there is nothing to abort."""
    play.until(_new(), Phase.HOLDING)
    play.engine.rollouts.abort("web", "prod", "person:sam@example.com", "looks odd")
    found = play.at(_new())
    assert (found.phase, found.reasons[0].found) == (Phase.RETURNED, "sent back by sam@example.com: looks odd")
    assert play.host.traffic() == set(play.host.names("1"))
    with pytest.raises(ConflictError, match="no canary is under way"):
        play.engine.rollouts.abort("web", "prod", "operator", "again")


def test_a_killed_server_goes_on_and_counts_nothing_twice(play: Play) -> None:
    """A new engine in every pass, and one whose looks were not journalled, end with the same sums as one that lived on."""
    play.until(_new(), Phase.HOLDING)
    for number in range(6):
        play.serve((30, number % 2), (500, 1))
        play.clock.move(5)
        found = play.at(_new())
    play.engine = rollout_of(play.host, play.clock)
    play.clock.move(5)
    again = play.at(_new())
    assert (again.counts.canary_requests, again.counts.canary_errors) == (180, 3)
    assert again.counts.stable_requests == 3000
    assert (again.phase, again.weight, again.rollout) == (Phase.HOLDING, 5, found.rollout)
    one = judging.judge(found.sums, found.rule).evidence
    assert judging.judge(again.sums, again.rule).evidence == pytest.approx(one, rel=0.2), "looks that were not journalled became one"
    play.clock.move(5)
    assert play.at(_new()).sums == again.sums, "asking twice adds nothing"


def test_a_reload_of_the_proxy_and_a_clock_that_goes_back_add_nothing_wrong(play: Play) -> None:
    """Another worker began at nothing; a silent proxy is no look; a look from before the last one is none."""
    play.until(_new(), Phase.HOLDING)
    play.serve((100, 0), (1000, 0))
    play.clock.move(5)
    assert play.at(_new()).counts.canary_requests == 100
    play.host.worker, play.host.counts = 2, {}
    play.clock.move(5)
    assert play.at(_new()).counts.canary_requests == 100
    play.serve((7, 0), (70, 0))
    play.clock.move(5)
    assert play.at(_new()).counts.canary_requests == 107
    play.clock.move(-60)
    play.serve((5, 0), (50, 0))
    assert play.at(_new()).counts.canary_requests == 107
    play.clock.move(65)
    assert play.at(_new()).counts.canary_requests == 112


def test_a_newer_pin_supersedes_a_canary_and_stable_stays(play: Play) -> None:
    """The canary of a canary is compared with what was fully rolled out; the superseded one has no traffic any more, and goes."""
    play.until(_new(), Phase.HOLDING)
    play.at(_new("3"))
    assert play.host.traffic() == set(play.host.names("1"))
    found = play.until(_new("3"), Phase.HOLDING)
    assert found.stable is not None
    assert (found.stable.promotion, found.weight, found.counts.canary_requests) == ("p-1", 5, 0)
    for _ in range(3):
        play.at(_new("3"))
    assert (play.host.names("2"), len(play.host.names("1"))) == ([], 4)


def test_what_cannot_come_up_is_sent_back(play: Play, clock: ManualClock) -> None:
    """A crash loop at once, replicas that never get ready after the deadline; the stable revision serves all the time."""
    play.at(_new())
    (new,) = play.host.names("2")
    play.host.unready = {new}
    play.at(_new())
    clock.move(601)
    found = play.at(_new())
    assert (found.phase, found.reasons[0].code) == (Phase.RETURNED, "CANARY_NOT_READY")
    assert len(play.host.traffic()) == 4
    play.at(_new("3"))
    (new,) = play.host.names("3")
    play.host.found[new] = replace(play.host.found[new], restarts=3, last_exit="exit status 1")
    play.host.unready = {new}
    play.at(_new("3"))
    found = play.until(_new("3"), Phase.RETURNED)
    assert found.reasons[0].code == "CRASH_LOOP"


def test_no_way_back_in_git_is_said_and_asked_no_more(play: Play) -> None:
    """Without a target the stable revision keeps the traffic; a repository that is away is asked again."""
    play.host.no_way_back = WorldError("SP000", "away")
    play.until(_new(), Phase.HOLDING)
    play.serve((240, 12), (4600, 3))
    play.clock.move(5)
    assert play.at(_new()).rollback == ""
    play.at(_new())
    assert len(play.host.taken_back) == 1
    play.host.no_way_back = ConflictError("SP513", "nothing to go back to")
    play.clock.move(11)
    play.at(_new())
    found = play.engine.rollouts.current(("web", "prod"))
    assert found is not None
    assert "not taken back by itself: nothing to go back to" in found.rollback
    for _ in range(3):
        play.clock.move(11)
        play.at(_new())
    assert (len(play.host.taken_back), len(play.host.traffic())) == (2, 4)


def test_a_rollback_within_the_keep_is_a_change_of_weights(play: Play) -> None:
    """After all traffic moved, going back starts nothing: the kept replicas take over in one pass."""
    play.until(_new(plan=replace(PLAN, unjudged=True, hold_s=0)), Phase.FINISHED)
    started = len(play.host.found)
    back = replace(release_of("1", replicas=4), pin_commit="pin-back")
    play.at(back)
    assert play.host.traffic() == {name for name, r in play.host.found.items() if r.spec.revision_hash.startswith("1")}
    assert len(play.host.found) == started


def test_scaling_and_another_name_for_the_same_are_no_rollout(play: Play) -> None:
    """Only a revision that differs is one: replicas go up and down at once, and the stable pin follows."""
    play.until(replace(_new("1", replicas=6), pin_commit="pin-6"), Phase.FINISHED)
    for _ in range(3):
        play.at(replace(_new("1", replicas=6), pin_commit="pin-6"))
    assert (len(play.host.names("1")), play.engine.stable_pin("web", "prod")) == (6, "pin-6")
    found = play.until(_new(replicas=6), Phase.HOLDING)
    same = replace(_new(replicas=6), pin_commit="pin-2b")
    again = play.at(same)
    assert (again.rollout, again.phase, again.new.pin_commit) == (found.rollout, Phase.HOLDING, "pin-2b")


def test_a_first_release_and_one_without_a_route_only_roll(host: FakeHost, clock: ManualClock) -> None:
    """There is nothing to compare with, or nothing to weigh."""
    play = Play(host, clock)
    assert play.at(_new("1")).strategy == "rolling"
    settle(play.engine, host, _new("1"))
    silent = replace(_new("2"), desired=replace(_new("2").desired, routes=()))
    assert play.at(silent).strategy == "rolling"


def test_workloads_without_a_route_follow_when_the_canary_is_through(host: FakeHost, clock: ManualClock) -> None:
    """They cannot be judged, so they change last; a canary that goes back has never touched them."""
    play = Play(host, clock)
    play.until(release_of("1", replicas=2, names=("web", "worker")), Phase.FINISHED)
    play.until(_new(replicas=2, names=("web", "worker")), Phase.HOLDING)
    assert sorted(r.spec.workload for r in host.found.values() if r.spec.revision_hash.startswith("2")) == ["web"]
    for _ in range(3):
        play.until(_new(replicas=2, names=("web", "worker")), Phase.HOLDING)
        play.serve((100, 0), (100, 0))
        clock.move(121)
        play.at(_new(replicas=2, names=("web", "worker")))
    play.until(_new(replicas=2, names=("web", "worker")), Phase.FINISHED)
    assert sorted(r.spec.workload for r in host.found.values() if r.spec.revision_hash.startswith("2")) == [
        "web",
        "web",
        "worker",
        "worker",
    ]


def test_a_renamed_workload_is_a_canary_of_its_route(play: Play) -> None:
    """The route stays, what is behind it has another name: traffic is split between the two names."""
    renamed = _new("2")
    workload = replace(renamed.desired.workloads[0], name="site")
    route = replace(renamed.desired.routes[0], backends=(("site", 1),))
    renamed = replace(renamed, desired=replace(renamed.desired, workloads=(workload,), routes=(route,)))
    found = play.until(renamed, Phase.HOLDING)
    assert (found.strategy, play.shares()) == ("canary", {f"site@{'2' * 12}": 0.05, f"web@{'1' * 12}": 0.95})


def test_looks_are_journalled_when_they_matter_and_a_minute_at_most(play: Play) -> None:
    """An hour of quiet looks is sixty entries, not seven hundred; ten times the evidence is told at once."""
    plan = replace(PLAN, hold_s=7200)
    play.until(_new(plan=plan), Phase.HOLDING)
    for _ in range(720):
        play.serve((10, 0), (100, 0))
        play.clock.move(5)
        play.at(_new(plan=plan))
    assert 60 <= play.entries().count("judged") <= 64
    before = play.entries().count("judged")
    play.serve((2, 2), (20, 0))
    play.clock.move(5)
    found = play.at(_new(plan=plan))
    assert judging.judge(found.sums, found.rule).evidence > 10
    assert play.entries().count("judged") == before + 1


def test_a_journal_that_cannot_be_written_does_not_keep_traffic_on_a_bad_release(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The return goes on without its entry, which follows when the disk takes it again."""
    play.until(_new(), Phase.HOLDING)
    play.serve((240, 12), (4600, 3))
    play.clock.move(5)
    full = WorldError("SP002", "the disk is full")

    def refuse(*_arguments: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(play.engine.rollouts._recorder, "record", refuse)
        play.host.no_way_back = full
        assert play.at(_new()).phase is Phase.RETURNED
        assert play.host.traffic() == set(play.host.names("1"))
    play.at(_new())
    assert play.entries()[-1] == "returned"


def test_requests_of_one_side_alone_wait_for_the_other(play: Play) -> None:
    """At one request in five seconds no look has both sides; what failed is kept until it can be compared, and nothing counts twice."""
    plan = replace(PLAN, weights=(50,), least_requests=5)
    play.until(_new(plan=plan), Phase.HOLDING)
    for number in range(22):
        play.serve((1, 1) if number % 2 else (0, 0), (0, 0) if number % 2 else (1, 0))
        play.clock.move(5)
        found = play.at(_new(plan=plan))
        if found.phase is Phase.RETURNED:
            break
    assert found.phase is Phase.RETURNED
    assert found.counts.canary_requests == found.counts.canary_errors
