"""What a pass does about adoptions: one that fails stops no other, a merge that was taken back is over, and every kind of drift is told."""

from typing import Any, cast

import pytest

from setpoint.core.records import encode
from setpoint.ground.hold.model import Hold
from setpoint.reconcile.adopt.model import AdoptedField, Adoption, AdoptionState, Edit
from setpoint.reconcile.adopt.service import AdoptionService, AdoptParts
from setpoint.reconcile.drift.model import Deviation, DriftState, Kind
from setpoint.reconcile.drift.service import DriftParts, DriftService
from setpoint.reconcile.model import Difference
from unit.builders_home import World

AT = "2026-11-23T06:00:00.000Z"
PATH = "apps/web/app.yaml"


class _BrokenSigner:
    """A signer with a fault that is none of Setpoint's errors."""

    def sign(self, *_what: str) -> Any:
        raise RuntimeError("a fault")


def _drift(world: World) -> DriftService:
    service = DriftService(DriftParts(world.records, world.records, world.recorder, world.clock, list, world.holds, world.records))
    service.remember("staging", "correct")
    return service


def _service(world: World, drift: DriftService) -> AdoptionService:
    nothing = cast("Any", None)
    parts = AdoptParts(
        world.reader, world.git, nothing, nothing, drift, world.records, world.recorder, cast("Any", _BrokenSigner()), world.holds
    )
    return AdoptionService(parts)


def _intend(world: World, name: str, parent: str) -> None:
    edit = Edit(PATH, world.git.tree_id("delivery", parent, PATH) or "", 5, "1", "2")
    field = AdoptedField(f"d-{name}", f"ConfigMap/{name}", "data.a", "y")
    made = Adoption(name, "web", "staging", (field,), "operator", "right", "delivery", parent, (edit,), AT)
    world.recorder.record("adoption.intended", name, "operator", encode(made))


def _open(world: World, name: str, parent: str, commit: str) -> None:
    _intend(world, name, parent)
    world.recorder.record("adoption.opened", name, "setpoint", {"app": "web", "environment": "staging", "commit": commit})


def _known(world: World, name: str) -> Adoption:
    return next(one for one in world.records.adoptions(ended=True) if one.adoption == name)


def _lease_is_over(world: World, drift: DriftService, kind: Kind, app: str) -> None:
    """Have a lease hold a case, and end it with the word to adopt what it held."""
    lease = world.holds.open(Hold("", "break-glass", "staging", app, "operator", "stuck", "", "2027-01-01T00:00:00.000Z", then="adopt"))
    deviation = Deviation(app, "staging", kind, Difference(f"{kind} of web", "weight", "1", "2"), "somebody")
    drift.judge("staging", kind, [deviation])
    world.holds.close(lease, "operator", "done")
    drift.judge("staging", kind, [deviation])
    (case,) = drift.cases("staging", kind)
    assert (case.state, case.then) == (DriftState.HELD, "adopt")


def test_an_adoption_that_fails_by_any_fault_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The pass goes on, the next adoption is looked at, a lease that is over is dealt with, and the fault is logged."""
    parent = world.register()
    _intend(world, "a-1", parent)
    _open(world, "a-2", parent, world.commit("delivery", {PATH: b"base 2"}))
    drift = _drift(world)
    _lease_is_over(world, drift, "image", "web")
    _service(world, drift).settle(world.delivery(), "staging")
    assert (_known(world, "a-1").state, _known(world, "a-2").state) == (AdoptionState.INTENDED, AdoptionState.MERGED)
    assert [case.then for case in drift.cases("staging", "image")] == ["hold"]
    assert "adopting a-1 of staging failed" in caplog.text


@pytest.mark.parametrize("seen_between", [True, False])
def test_a_merge_that_was_taken_back_before_it_was_pinned_is_over(world: World, *, seen_between: bool) -> None:
    """No promotion brings it any more: it is dropped, whether a pass saw it merged or not; a later change of the file is no such thing."""
    parent = world.register()
    _open(world, "a-2", parent, world.commit("delivery", {PATH: b"base 2"}))
    service = _service(world, _drift(world))
    if seen_between:
        service.settle(world.delivery(), "staging")
        world.commit("delivery", {PATH: b"base 3"})
        service.settle(world.delivery(), "staging")
        assert _known(world, "a-2").state is AdoptionState.MERGED
    world.commit("delivery", {PATH: b"base 1"})
    service.settle(world.delivery(), "staging")
    found = _known(world, "a-2")
    assert (found.state, found.ended_why) == (AdoptionState.DROPPED, "it was merged and taken back")


@pytest.mark.parametrize(("kind", "app", "why"), [("proxy", "", "no file holds it"), ("image", "web", "made by its build")])
def test_what_a_lease_held_on_the_host_is_left_to_a_person_with_its_reason(world: World, kind: Kind, app: str, why: str) -> None:
    """It does not wait for ever with nothing to do: the reason and the command stand in the case."""
    world.register()
    drift = _drift(world)
    _lease_is_over(world, drift, kind, app)
    _service(world, drift).settle(world.delivery(), "staging")
    (case,) = drift.cases("staging", kind)
    assert (case.state, case.then, case.held_fix) == (DriftState.HELD, "hold", f"setpoint heal {app or 'APP'} staging")
    assert why in case.held_why
