"""What a canary does wherever it runs: the same steps, verdicts and returns on the host and on a cluster, through the engine's port."""

from dataclasses import replace
from typing import Protocol

import pytest

from setpoint.core.errors import ConflictError
from setpoint.reconcile.model import CanaryPlan, Release
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.model import Phase, Rollout
from setpoint.rollout.rollouts import Rollouts
from unit.builders_home import ManualClock
from unit.rollout_cluster import ClusterPlay
from unit.rollout_host import FakeHost, release_of, rollout_of, run_pass

PLAN = CanaryPlan((25, 50), hold_s=60)
UNJUDGED = replace(PLAN, unjudged=True)


class Somewhere(Protocol):
    """A place where revisions of one application run, with the journal of its home."""

    clock: ManualClock
    journal: FakeHost
    rollouts: Rollouts

    def at(self, revision: str, plan: CanaryPlan | None = None) -> Rollout:
        """Take a pass in which a revision is wanted."""
        ...

    def restart(self) -> None:
        """Be another server."""
        ...

    def serve(self, revision: str, requests: int, errors: int) -> None:
        """Let a revision answer requests."""
        ...

    def share(self, revision: str) -> float:
        """Return a revision's share of the traffic."""
        ...

    def replicas(self, revision: str) -> int:
        """Return how many replicas of a revision there are."""
        ...


class OnHost:
    """Replicas and a proxy in memory."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.journal = clock, FakeHost()
        self.pins: dict[str, Release] = {}
        self.restart()

    def restart(self) -> None:
        """Be another server."""
        self.engine = rollout_of(self.journal, self.clock)
        self.rollouts = self.engine.rollouts

    def at(self, revision: str, plan: CanaryPlan | None = None) -> Rollout:
        """Take a pass."""
        release = release_of(revision, replicas=4)
        self.pins[release.pin_commit] = release
        commit = self.engine.stable_pin("web", "prod")
        stable = self.pins[commit] if commit and commit != release.pin_commit else None
        run_pass(self.engine, self.journal, replace(release, canary=plan, stable=stable))
        found = self.rollouts.current(("web", "prod"))
        assert found is not None
        return found

    def serve(self, revision: str, requests: int, errors: int) -> None:
        """Let the first replica of a revision answer, as HAProxy would count it."""
        name = self.journal.names(revision)[0]
        before = self.journal.counts.get(("b", name), ServerCount("b", name, 1, {"2xx": 0, "5xx": 0})).responses
        answers = {"2xx": before["2xx"] + requests - errors, "5xx": before["5xx"] + errors}
        self.journal.counts["b", name] = ServerCount("b", name, 1, answers)

    def share(self, revision: str) -> float:
        """Return a share by the weights."""
        config = self.journal.configs["prod"]
        (route,) = [route for _, route in config.routes]
        alive = {server.pool or server.workload: server.name for _, server in config.servers if not server.draining}
        weights = {pool: weight for pool, weight in route.backends if pool in alive}
        mine = sum(weight for pool, weight in weights.items() if alive[pool] in self.journal.names(revision))
        return mine / sum(weights.values())

    def replicas(self, revision: str) -> int:
        """Return a number."""
        return len(self.journal.names(revision))


class OnCluster(ClusterPlay):
    """A namespace in memory."""

    def share(self, revision: str) -> float:
        """Return a share by the weights."""
        weights = self.weights()
        return weights.get(self.name(revision), 0) / sum(weights.values())

    def replicas(self, revision: str) -> int:
        """Return a number."""
        count: int = self.object("Deployment", self.name(revision))["spec"]["replicas"]
        return count


@pytest.fixture(params=[OnHost, OnCluster])
def place(request: pytest.FixtureRequest) -> Somewhere:
    """Revision 1 runs, fully rolled out."""
    found: Somewhere = request.param(ManualClock())
    _until(found, "1", Phase.FINISHED)
    return found


def _until(place: Somewhere, revision: str, phase: Phase, plan: CanaryPlan | None = None) -> Rollout:
    for _ in range(60):
        found = place.at(revision, plan)
        if found.phase is phase:
            return found
        place.clock.move(1)
    pytest.fail(f"it stays {found.phase}")


def _kinds(place: Somewhere) -> list[str]:
    return [kind.partition(".")[2] for kind, _ in place.journal.journalled if kind.startswith("rollout.")]


def test_a_good_release_takes_its_weights_one_after_the_other(place: Somewhere) -> None:
    """Replicas first, then the weight; each step is held for its time; all traffic comes last."""
    found = place.at("2", PLAN)
    assert found.phase is Phase.PREPARING
    assert place.share("1") == 1
    found = _until(place, "2", Phase.HOLDING, PLAN)
    assert (found.weight, place.share("2"), place.replicas("2")) == (25, 0.25, 1)
    place.at("2", PLAN)
    place.serve("1", 300, 1)
    place.serve("2", 100, 0)
    place.clock.move(61)
    found = _until(place, "2", Phase.PREPARING, PLAN)
    assert (found.step, place.share("2")) == (1, 0.25)
    found = _until(place, "2", Phase.HOLDING, PLAN)
    assert (found.weight, place.share("2"), place.replicas("2")) == (50, 0.5, 2)
    place.serve("1", 200, 1)
    place.serve("2", 200, 1)
    place.clock.move(61)
    found = _until(place, "2", Phase.FINISHED, PLAN)
    assert (place.share("2"), found.counts.canary_requests, found.counts.stable_errors) == (1, 300, 2)
    assert found.kept[0].why == "to go back to"


def test_a_bad_release_goes_back_at_once_and_leaves_git(place: Somewhere) -> None:
    """The evidence moves all traffic in the very pass that sees it, and the return in Git is asked for once."""
    _until(place, "2", Phase.HOLDING, PLAN)
    place.clock.move(6)
    place.at("2", PLAN)
    place.serve("1", 300, 0)
    place.serve("2", 100, 60)
    place.clock.move(6)
    found = place.at("2", PLAN)
    assert (found.phase, place.share("1")) == (Phase.RETURNED, 1)
    assert "CANARY_ERRORS" in [reason.code for reason in found.reasons]
    place.at("2", PLAN)
    assert [promotion for promotion, _why in place.journal.taken_back] == ["p-2"]
    found = _until(place, "1", Phase.FINISHED)
    assert (found.new.version, found.sent_back, place.share("1")) == ("1", "2", 1)


def test_a_step_that_nobody_asked_is_held_until_somebody_says_so(place: Somewhere) -> None:
    """NODATA never promotes; a person resumes it; unjudged it goes on by time."""
    _until(place, "2", Phase.HOLDING, PLAN)
    place.clock.move(61)
    found = place.at("2", PLAN)
    assert (found.phase, [reason.code for reason in found.reasons]) == (Phase.HELD, ["NODATA"])
    place.rollouts.resume("web", "prod", "person:sam", "quiet night")
    found = _until(place, "2", Phase.HOLDING, PLAN)
    assert found.weight == 50
    _until(place, "1", Phase.FINISHED)
    _until(place, "3", Phase.HOLDING, UNJUDGED)
    place.clock.move(61)
    assert _until(place, "3", Phase.HOLDING, UNJUDGED).weight == 50


def test_a_server_that_was_killed_goes_on_and_counts_nothing_twice(place: Somewhere) -> None:
    """Another server in every pass comes to the same end with the same numbers."""
    _until(place, "2", Phase.HOLDING, PLAN)
    place.at("2", PLAN)
    place.serve("1", 300, 1)
    place.serve("2", 100, 1)
    for _ in range(4):
        place.restart()
        place.clock.move(6)
        found = place.at("2", PLAN)
        assert (found.phase, found.weight, place.share("2")) == (Phase.HOLDING, 25, 0.25)
    assert (found.counts.canary_requests, found.counts.canary_errors) == (100, 1)
    place.clock.move(61)
    place.restart()
    assert _until(place, "2", Phase.HOLDING, PLAN).weight in (25, 50)


def test_a_person_aborts_and_the_traffic_is_back(place: Somewhere) -> None:
    """An abort is a return with the person's words; what is not under way cannot be aborted."""
    with pytest.raises(ConflictError, match="SP656"):
        place.rollouts.abort("web", "prod", "person:sam", "no")
    _until(place, "2", Phase.HOLDING, PLAN)
    place.rollouts.abort("web", "prod", "person:sam", "looks odd")
    found = place.at("2", PLAN)
    assert (found.phase, found.message, place.share("1")) == (Phase.RETURNED, "looks odd", 1)
    assert "returned" in _kinds(place)


def test_a_newer_pin_supersedes_a_canary_and_is_compared_with_what_was_rolled_out(place: Somewhere) -> None:
    """The canary in the middle gets no traffic any more; the stable side stays the first revision."""
    _until(place, "2", Phase.HOLDING, PLAN)
    found = place.at("3", PLAN)
    assert (found.phase, found.stable and found.stable.version, place.share("1")) == (Phase.PREPARING, "1", 1)


def test_a_rollback_within_the_keep_is_a_change_of_weights(place: Somewhere) -> None:
    """What was kept serves again in a moment, without a canary."""
    _until(place, "2", Phase.FINISHED, replace(UNJUDGED, hold_s=1))
    assert place.replicas("1") == 4
    for _ in range(2):
        place.at("1")
    assert place.share("1") == 1
