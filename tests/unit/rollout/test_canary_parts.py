"""The parts of a canary by themselves: routes by weight, what counters say, sentences for people, and a death at every entry."""

from dataclasses import replace
from typing import Any

import pytest

from setpoint.app import preflight
from setpoint.observe import rollouts
from setpoint.promotion.config import parse_environment
from setpoint.reconcile.model import CanaryPlan, DesiredState, Release, Route, Workload
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.canary import traffic
from setpoint.rollout.canary.counters import look, raw, requests_of
from setpoint.rollout.judge.model import Stratum
from setpoint.rollout.model import Phase, Rollout
from setpoint.rollout.service import HostRollout
from unit.builders_home import KilledError, ManualClock
from unit.rollout_host import FakeHost, release_of, rollout_of, run_pass

ENVIRONMENT = """apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:7501"}}
rollout: {canary: {weights: [5, 50], hold: 2m, %s}}
"""


def _state(revision: str, *routes: tuple[str, tuple[tuple[str, int], ...]], names: tuple[str, ...] = ("web",)) -> DesiredState:
    base = release_of(revision).desired.workloads[0]
    workloads = tuple(replace(base, name=name) for name in names)
    return DesiredState("web", "prod", workloads, tuple(Route(path[1:] or "r", (), path, False, to) for path, to in routes), "d")


def _weights(route: Route) -> dict[str, float]:
    whole = sum(weight for _, weight in route.backends)
    return {name.partition("@")[0] + name[-1]: weight / whole for name, weight in route.backends if weight}


def test_routes_are_split_whole_whatever_their_own_weights_are() -> None:
    """A route's backends keep their proportions on both sides; one that only one side has leads there."""
    old = _state("1", ("/", (("web", 3), ("api", 1))), ("/old", (("web", 1),)), names=("web", "api"))
    new = _state("2", ("/", (("web", 1),)), ("/new", (("web", 1),)))
    found = {route.path_prefix: _weights(route) for route in traffic.split(old, new, 20)}
    assert found == {"/": {"web1": 0.6, "api1": 0.2, "web2": 0.2}, "/old": {"web1": 1.0}, "/new": {"web2": 1.0}}
    assert traffic.can_split(old, new)
    assert not traffic.can_split(old, replace(old, routes=()))
    assert not traffic.can_split(old, old), "nothing changes"
    assert not traffic.can_split(_state("1", ("/a", (("web", 1),))), _state("2", ("/b", (("web", 1),)))), "nothing to compare with"


def test_a_workload_that_does_not_change_is_one_pool_on_both_sides() -> None:
    """Only what differs is split: the neighbour on the same route keeps its share."""
    old, new = (_state(revision, ("/", (("web", 1), ("api", 1)))) for revision in ("1", "2"))
    api = replace(old.workloads[0], name="api", revision_hash="a" * 12)
    old, new = (replace(state, workloads=(*state.workloads, api)) for state in (old, new))
    (route,) = traffic.split(old, new, 10)
    assert _weights(route) == {"web1": 0.45, "apia": 0.5, "web2": 0.05}
    assert traffic.changed(old, new) == {"web"}


def _count(server: str, good: int, bad: int = 0, *, worker: int = 1, **more: int) -> ServerCount:
    return ServerCount("b", server, worker, {"2xx": good, "5xx": bad, "1xx": 99}, **more)


def test_counters_become_strata_once() -> None:
    """The first look only sets the baseline; then only what is new counts, a reload begins anew, and strangers are left out."""
    arms: dict[str, Any] = {"c": "canary", "s": "stable"}
    strata, baseline = look(None, [_count("c", 50), _count("s", 500, 5), _count("x", 9)], arms, ("5xx",))
    assert strata == []
    strata, baseline = look(baseline, [_count("c", 60, 1), _count("s", 590, 6)], arms, ("5xx",))
    assert strata == [Stratum(11, 1, 91, 1)]
    assert look(baseline, [_count("c", 60, 1), _count("s", 590, 6)], arms, ("5xx",))[0] == []
    strata, _ = look(baseline, [_count("c", 4, worker=2), _count("s", 30, 2, worker=2)], arms, ("5xx",))
    assert strata == [Stratum(4, 0, 32, 2)]
    strata, _ = look(baseline, [_count("c", 80, 2, worker=2), _count("s", 700, 7, worker=2)], arms, ("5xx",))
    assert strata == [Stratum(82, 2, 707, 7)], "another worker began at nothing, also when it counted more by now"
    one, kept = look(baseline, [_count("c", 61, 2)], arms, ("5xx",))
    assert one == [], "one side alone waits"
    strata, _ = look(kept, [_count("c", 61, 2), _count("s", 600, 6)], arms, ("5xx",))
    assert strata == [Stratum(2, 1, 10, 0)]
    assert look(baseline, [_count("c", 61, 2)], arms, ("5xx",), close=True)[0] == [Stratum(2, 1, 0, 0)]


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (_count("c", 8, 2, ended=10), (10, 2)),
        (_count("c", 8, unanswered_signs=2, ended=9), (9, 1)),
        (_count("c", 8, unanswered_signs=2, ended=10), (10, 2)),
        (_count("c", 8, unanswered_signs=2, ended=11, client_aborts=2), (9, 1)),
        (_count("c", 8, unanswered_signs=1, ended=8), (9, 1)),
        (_count("c", 8, connect_errors=3, ended=11), (11, 3)),
        (_count("c", 8, broken=1, ended=8), (8, 1)),
        (_count("c", 8, ended=12, client_aborts=4), (8, 0)),
    ],
    ids=["answered", "closed", "two late", "closed, two clients gone", "sign before end", "refused", "torn", "clients gone"],
)
def test_a_lost_answer_counts_once(count: ServerCount, wanted: tuple[int, int]) -> None:
    """Signs are one or two for each; what ended decides within these bounds, and a client that goes away is nobody's failure."""
    assert requests_of(None, raw(count, ("5xx",))) == wanted


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ("traffic: {rate: 200, errors: 0.001}", []),
        ("traffic: {rate: 20, errors: 0.001}", ["SP549", "SP549"]),
        ("traffic: {rate: 20, errors: 0.001}, unjudged: true", []),
        ("look: 5s", []),
    ],
)
def test_check_refuses_steps_that_could_find_nothing(more: str, codes: list[str]) -> None:
    """With declared traffic a step has to find ten times the errors; unknown traffic is a note, and `unjudged` is a decision."""
    document = parse_environment((ENVIRONMENT % more).encode(), "environment.yaml")
    assert [finding.code for finding in preflight.findings(document)] == codes
    (note,) = preflight.notes("prod", document.model)
    assert ("detects >= " in note) == more.startswith("traffic")
    (uncovered,) = preflight.uncovered(document.model, _state("1", ("/", (("web", 1),)), names=("web", "worker")))
    assert "`worker` has no route" in uncovered


def _at(engine: HostRollout, host: FakeHost, release: Release, pins: dict[str, Release]) -> Rollout:
    pins[release.pin_commit] = replace(release, canary=None)
    commit = engine.stable_pin("web", "prod")
    stable = pins[commit] if commit and commit != release.pin_commit else None
    run_pass(engine, host, replace(release, stable=stable))
    found = engine.rollouts.current(("web", "prod"))
    assert found is not None
    return found


def test_people_read_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix has a few words, the report the step, the numbers, what each step finds, and what to do when it is held."""
    host, clock, pins = FakeHost(), ManualClock(), dict[str, Release]()
    engine = rollout_of(host, clock)
    for _ in range(4):
        found = _at(engine, host, release_of("1"), pins)
    assert (rollouts.short(found), rollouts.report(found).sentence) == ("", "web in prod: 1 is rolled out")
    plan = CanaryPlan((25, 50), hold_s=60, traffic_rate=100, traffic_errors=0.01)
    new = replace(release_of("2"), canary=plan)
    for _ in range(3):
        found = _at(engine, host, new, pins)
    report = rollouts.report(found)
    assert rollouts.short(found) == "canary 25 %"
    assert report.sentence == "web in prod: canary of 2, step 1 of 2: 25 % of the traffic for 1m"
    assert [(step.weight, step.state) for step in report.steps] == [(25, "now"), (50, "to come")]
    assert report.steps[0].note.startswith("detects >= ")
    assert report.found.startswith("evidence against it: 1 of 100 needed; 0 of 0 requests failed in the canary")
    assert report.next == "nothing to do: it goes on by itself; setpoint rollout web prod --abort sends it back"
    clock.move(61)
    found = _at(engine, host, new, pins)
    assert rollouts.short(found) == "canary held at 25 %"
    assert rollouts.report(found).next == "setpoint rollout web prod --resume, or setpoint rollout web prod --abort"
    engine.rollouts.abort("web", "prod", "operator", "odd")
    found = _at(engine, host, new, pins)
    assert rollouts.short(found) == "canary sent back"
    assert rollouts.report(found).kept[0].startswith("web to look into until ")


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_a_death_before_any_entry_changes_nothing(bad: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Killed at each write in turn and started again: the same phases in the end, the same traffic, and no rollback asked for twice."""
    for lives in range(12):
        host, clock, pins = FakeHost(), ManualClock(), dict[str, Release]()
        engine, left = rollout_of(host, clock), lives
        record = host.record

        def mortal(kind: str, subject: str, actor: str, body: dict[str, Any], write: Any = record) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                raise KilledError(kind)
            return write(kind, subject, actor, body)

        host.record = mortal  # type: ignore[method-assign]
        plan = CanaryPlan((25, 50), hold_s=10, least_requests=5)
        served: dict[str, list[int]] = {}
        for number in range(60):
            release = release_of("1") if number < 5 else replace(release_of("2"), canary=plan)
            for name, replica in host.found.items():
                counts = served.setdefault(name, [0, 0])
                new = replica.spec.revision_hash.startswith("2")
                counts[0] += 10
                counts[1] += 9 if bad and new else 0
                host.counts["b", name] = ServerCount("b", name, 1, {"2xx": counts[0] - counts[1], "5xx": counts[1]}, ended=counts[0])
            clock.move(5)
            try:
                found = _at(engine, host, release, pins)
            except KilledError:
                engine = rollout_of(host, clock)
        assert found.phase is (Phase.RETURNED if bad else Phase.FINISHED), lives
        assert {host.found[name].spec.revision_hash[0] for name in host.traffic()} == ({"1"} if bad else {"2"})
        assert len({promotion for promotion, _ in host.taken_back}) == (1 if bad else 0)


def test_a_rolling_release_that_never_came_up_stands_in_until_stable_is_whole() -> None:
    """A canary after an unfinished rolling update: traffic never depends on the few stable replicas that were left."""
    host, clock, pins = FakeHost(), ManualClock(), dict[str, Release]()
    engine = rollout_of(host, clock)
    for _ in range(4):
        _at(engine, host, release_of("1", replicas=4), pins)
    for _ in range(3):
        _at(engine, host, release_of("2", replicas=4), pins)
    assert host.names("2")
    plan = CanaryPlan((25,), hold_s=60)
    for _ in range(12):
        _at(engine, host, replace(release_of("3", replicas=4), canary=plan), pins)
        assert len(host.traffic()) >= 3
    assert (len(host.names("1")), host.names("2")) == (4, [])


def test_workloads_are_told_apart_by_hash() -> None:
    """A pool is a workload and its revision."""
    workload: Workload = release_of("1").desired.workloads[0]
    assert traffic.pool(workload.name, workload.revision_hash) == f"web@{'1' * 12}"
