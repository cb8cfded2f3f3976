"""The rolling update as a pure function, driven through every small world: it never serves less than allowed, never too much, and ends."""

import itertools
from collections.abc import Iterator

import pytest

from setpoint.rollout.decide import step
from setpoint.rollout.model import Limits, ReplicaView

LIMITS = Limits("new", 2, 1, 0, 60.0)
WORLDS = [
    (replicas, old, surge, unavailable, slow)
    for replicas, old, surge, unavailable, slow in itertools.product((1, 2, 3), (0, 1, 2, 3), (0, 1, 2), (0, 1), (0, 1, 3))
    if surge + unavailable > 0
]


def _view(name: str, revision: str = "new", phase: str = "ready", in_flight: int = 0, draining_s: float = 0.0) -> ReplicaView:
    return ReplicaView(name, revision, phase, in_flight, draining_s)  # type: ignore[arg-type]


def _done(limits: Limits, *views: ReplicaView) -> list[tuple[str, str]]:
    return [(action.what, action.replica) for action in step(limits, views)]


class _Machine:
    """Carries actions out as the host does: a start takes `slow` passes to be ready, a drain one to be empty, a stop one to be dead."""

    def __init__(self, old: int, slow: int) -> None:
        self.phases = {f"old-{number}": "ready" for number in range(old)}
        self.age: dict[str, int] = {}
        self._slow = slow
        self._names: Iterator[int] = itertools.count()

    def views(self) -> list[ReplicaView]:
        return [_view(name, name.split("-")[0], phase, in_flight=1 if self.age[name] == 0 else 0) for name, phase in self.phases.items()]

    def turn(self, limits: Limits) -> bool:
        """Let time pass and take a step; returns whether anything was done or is on its way."""
        for name, phase in list(self.phases.items()):
            self.age[name] = self.age.get(name, 0) + 1
            if phase == "starting" and self.age[name] >= self._slow:
                self.phases[name] = "ready"
            elif phase == "stopping":
                self.phases[name] = "dead"
        actions = step(limits, self.views())
        for action in actions:
            name = action.replica or f"{limits.revision_hash}-{next(self._names)}"
            if action.what == "remove":
                del self.phases[name]
            else:
                self.phases[name] = {"start": "starting", "drain": "draining", "stop": "stopping"}[action.what]
                self.age[name] = 0 if action.what != "drain" else -1
        return bool(actions) or any(phase in ("starting", "stopping", "draining") for phase in self.phases.values())

    def count(self, *phases: str) -> int:
        return sum(phase in phases for phase in self.phases.values())


@pytest.mark.parametrize(("replicas", "old", "surge", "unavailable", "slow"), WORLDS)
def test_an_update_keeps_its_limits_and_ends(replicas: int, old: int, surge: int, unavailable: int, slow: int) -> None:
    """From any number of old replicas to `replicas` new ones: never fewer ready than allowed, never more than surge allows, and it ends."""
    limits = Limits("new", replicas, surge, unavailable, 60.0)
    machine = _Machine(old, slow)
    least = min(old, replicas - unavailable)
    for _ in range(60):
        serving = machine.count("starting", "ready")
        busy = machine.turn(limits)
        assert machine.count("ready") >= least
        assert machine.count("starting", "ready") <= max(serving, replicas + surge)
        if not busy:
            break
    else:
        pytest.fail("it never ends")
    assert sorted(machine.phases.values()) == ["ready"] * replicas
    assert all(name.startswith("new") for name in machine.phases)
    assert step(limits, machine.views()) == []


@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (0, 1), (2, 1)])
def test_a_new_revision_that_never_gets_ready_leaves_enough_of_the_old(surge: int, unavailable: int) -> None:
    """A broken version costs at most what `maxUnavailable` allows, for ever."""
    limits = Limits("new", 3, surge, unavailable, 60.0)
    machine = _Machine(3, slow=1000)
    for _ in range(50):
        machine.turn(limits)
    assert machine.count("ready") >= 3 - unavailable
    assert machine.count("starting", "ready") <= 3 + surge


def test_taking_a_broken_update_back_starts_nothing_that_runs_already() -> None:
    """Back to the revision that still serves: the broken ones drain, the good ones stay."""
    views = (_view("a"), _view("b"), _view("c", "bad", "starting"))
    assert _done(LIMITS, *views) == [("drain", "c")]


def test_what_is_dead_is_removed_and_replaced() -> None:
    """A replica whose shim is gone goes, and another starts in its place."""
    assert _done(LIMITS, _view("a"), _view("b", phase="dead")) == [("remove", "b"), ("start", "")]


def test_a_drained_replica_stops_when_it_is_empty_or_its_time_is_over() -> None:
    """Requests that are open keep it alive until the drain limit, and no longer."""
    ready = (_view("a"), _view("b"))
    assert _done(LIMITS, *ready, _view("c", phase="draining")) == [("stop", "c")]
    assert _done(LIMITS, *ready, _view("c", phase="draining", in_flight=1, draining_s=60.0)) == []
    assert _done(LIMITS, *ready, _view("c", phase="draining", in_flight=1, draining_s=60.1)) == [("stop", "c")]


def test_fewer_wanted_drains_the_surplus_and_zero_drains_all() -> None:
    """Scaling down drains; scaling to nothing leaves nothing serving."""
    assert _done(Limits("new", 1, 1, 0, 60.0), _view("a"), _view("b"), _view("c")) == [("drain", "b"), ("drain", "c")]
    assert _done(Limits("new", 0, 1, 0, 60.0), _view("a")) == [("drain", "a")]


def test_an_old_replica_that_is_not_ready_costs_nothing_and_goes_first() -> None:
    """Unready old replicas are drained before ready ones, even when no ready one may go."""
    views = (_view("a", "old"), _view("b", "old", "starting"))
    assert _done(LIMITS, *views) == [("start", ""), ("drain", "b")]
