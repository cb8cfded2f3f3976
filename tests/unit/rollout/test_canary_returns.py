"""What became of a return is noted on the canary that was sent back, whatever the server died at (law 5)."""

from dataclasses import replace

import pytest

from setpoint.core.errors import WorldError
from setpoint.reconcile.model import CanaryPlan, Release
from setpoint.rollout.model import Phase, Rollout
from setpoint.rollout.service import HostRollout
from unit.builders_home import ManualClock
from unit.rollout_host import FakeHost, release_of, rollout_of, run_pass

STABLE = release_of("1", replicas=1)
BAD = replace(release_of("2", replicas=1), canary=CanaryPlan((50,), hold_s=120))
BACK = replace(release_of("1", replicas=1), pin_commit="pin-back")


def _at(engine: HostRollout, host: FakeHost, release: Release) -> Rollout:
    stable = STABLE if release.pin_commit != STABLE.pin_commit else None
    run_pass(engine, host, replace(release, stable=stable))
    found = engine.rollouts.current(("web", "prod"))
    assert found is not None
    return found


def _until(engine: HostRollout, host: FakeHost, release: Release, phase: Phase) -> Rollout:
    for _ in range(30):
        found = _at(engine, host, release)
        if found.phase is phase:
            return found
    pytest.fail(f"it stays {found.phase}")


def _sent_back(host: FakeHost, clock: ManualClock) -> HostRollout:
    """Send a canary back, and have the server die before it noted what became of that; return the next life."""
    engine = rollout_of(host, clock)
    _until(engine, host, STABLE, Phase.FINISHED)
    _until(engine, host, BAD, Phase.HOLDING)
    engine.rollouts.abort("web", "prod", "operator", "odd")
    host.no_way_back = WorldError("SP000", "the server dies here")
    assert _until(engine, host, BAD, Phase.RETURNED).rollback == ""
    return rollout_of(host, clock)


def _returned(host: FakeHost) -> list[str]:
    return [body["rollback"] for kind, body in host.journalled if kind == "rollout.returned"]


def test_a_return_that_was_made_before_its_answer_was_noted_is_answered_before_the_next_rollout() -> None:
    """The rollback was pinned first in the next life: the canary still says which one took it back, once."""
    host, clock = FakeHost(), ManualClock()
    engine = _sent_back(host, clock)
    host.asked_earlier = {"p-2": "taken back by p-9"}
    for _ in range(3):
        assert _at(engine, host, BACK).new.pin_commit == "pin-back"
    assert _returned(host) == ["", "taken back by p-9"]


def test_a_canary_that_nobody_took_back_gets_no_answer() -> None:
    """Another pin came instead of a return: nothing is said that did not happen."""
    host, clock = FakeHost(), ManualClock()
    engine = _sent_back(host, clock)
    _at(engine, host, BACK)
    assert _returned(host) == [""]
