"""What is never adopted, and what a case of drift becomes while a branch waits, is merged, or is deleted."""

from dataclasses import replace
from typing import Any

import pytest

from setpoint.core.errors import UserError
from setpoint.core.records import encode
from setpoint.ground.hold.model import Hold
from setpoint.reconcile.adopt.model import AdoptedField, Adoption, AdoptionState, Edit
from setpoint.reconcile.adopt.service import _ON_HOST, _adoptable
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.decide import Action, Allowed, ObjectVerdict, Seen
from setpoint.reconcile.cluster.live_field import LiveField, find
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.drift.model import Deviation, Drift, DriftState
from setpoint.reconcile.drift.service import DriftParts, DriftService
from setpoint.reconcile.model import Difference
from unit.builders_home import World

AT = "2026-11-23T06:00:00.000Z"
CASE = Drift("d-1", "web", "staging", "object", "ConfigMap/web", "data.a", "x", "y", "kubectl", AT, DriftState.OPEN)
DIFFERENCE = Difference("ConfigMap/web", "data.a", "x", "y")
DEVIATION = Deviation("web", "staging", "object", DIFFERENCE, "kubectl")


def live_field(kind: str, rendered: dict[str, Any], live: dict[str, Any], text: str) -> LiveField | None:
    """Return what is found of a field."""
    meta = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "web"}}
    row = ObjectPlan(
        ObjectKey("", kind, "", "web"), meta | rendered, Seen(meta | live, known=True), ObjectVerdict(Action.NOTHING), Allowed("setpoint")
    )
    return find([row], f"{kind}/web", text)


@pytest.mark.parametrize(
    ("kind", "rendered", "live", "text", "why"),
    [
        ("Secret", {"data": {"a": "eA=="}}, {"data": {"a": "eQ=="}}, "data.a", "a secret's value"),
        ("ConfigMap", {"data": {"API_TOKEN": "x"}}, {"data": {"API_TOKEN": "y"}}, "data.API_TOKEN", "a secret's value"),
        ("ConfigMap", {"data": {"a": "x"}}, {"data": {}}, "data.a", "took away"),
        ("Thing", {"spec": {"a": ["x"]}}, {"spec": {"a": ["y", "z"]}}, "spec.a", "counts as one value"),
    ],
)
def test_what_is_not_one_plain_value_is_refused(kind: str, rendered: dict[str, Any], live: dict[str, Any], text: str, why: str) -> None:
    """A secret never gets into Git in clear; what was taken away, and a list, are a person's to write."""
    with pytest.raises(UserError, match=why) as caught:
        _adoptable(CASE, live_field(kind, rendered, live, text))
    assert caught.value.code == "SP576"
    assert caught.value.fix


def test_a_field_is_found_as_it_is_and_not_as_people_may_see_it() -> None:
    """A number stays a number, and a long text is not cut."""
    found = live_field("ConfigMap", {"data": {"a": "x"}}, {"data": {"a": "y" * 1000}}, "data.a")
    assert found is not None
    assert (found.live, found.desired, found.secret, found.path) == ("y" * 1000, "x", False, ("f:data", "f:a"))
    assert live_field("ConfigMap", {"data": {"a": "x"}}, {"data": {"a": "y"}}, "data.b") is None


def test_every_kind_of_drift_on_the_host_says_why_no_file_holds_it() -> None:
    """Replicas, the proxy and files of images: each has its own words."""
    assert _ON_HOST.keys() == {"replica", "proxy", "image"}


def _service(world: World) -> DriftService:
    return DriftService(DriftParts(world.records, world.records, world.recorder, world.clock, list, world.holds, world.records))


def _waits(world: World) -> Adoption:
    made = Adoption(
        "a-1",
        "web",
        "staging",
        (AdoptedField("d-1", "ConfigMap/web", "data.a", "y"),),
        "operator",
        "right",
        "delivery",
        "d" * 40,
        (Edit("apps/web/a.yaml", "b" * 40, 0, "x", "y"),),
        AT,
    )
    world.recorder.record("adoption.intended", "a-1", "operator", encode(made))
    world.recorder.record("adoption.opened", "a-1", "setpoint", {"app": "web", "environment": "staging", "commit": "c" * 40})
    return made


def _tell(world: World, kind: str, **body: str) -> None:
    world.recorder.record(kind, "a-1", "setpoint", {"app": "web", "environment": "staging", "why": "seen", **body})


def test_a_case_is_held_while_its_branch_waits_and_adopted_when_it_is_pinned(world: World) -> None:
    """Nothing is corrected from the intent on, over a restart too; when what is live is what is rendered, the case ends as adopted."""
    _waits(world)
    service = _service(world)
    service.remember("staging", "correct")
    assert service.judge("staging", "object", [DEVIATION]) == frozenset()
    (case,) = world.records.drifts()
    assert (case.state, case.held_by, case.held_fix) == (DriftState.HELD, "a-1", "merge setpoint/adopt/a-1, or delete it")
    _tell(world, "adoption.merged")
    service = _service(world)
    service.remember("staging", "correct")
    assert service.judge("staging", "object", [DEVIATION]) == frozenset()
    (case,) = world.records.drifts()
    assert (case.held_fix, "is being promoted" in case.held_why) == ("", True)
    _tell(world, "adoption.ended", state="adopted")
    service.judge("staging", "object", [])
    (case,) = world.records.drifts()
    assert (case.state, case.done) == (DriftState.ADOPTED, "its value is the desired one now (a-1)")


@pytest.mark.parametrize("state", [AdoptionState.DROPPED, AdoptionState.ADOPTED])
def test_what_still_differs_when_the_branch_is_over_is_corrected(world: World, state: AdoptionState) -> None:
    """A deleted branch lets the correction go on, and so does a merge that something else overtook."""
    _waits(world)
    service = _service(world)
    service.remember("staging", "correct")
    service.judge("staging", "object", [DEVIATION])
    _tell(world, "adoption.ended", state=state.value)
    assert service.judge("staging", "object", [DEVIATION]) == frozenset({DIFFERENCE})
    (case,) = world.records.drifts()
    assert (case.state, case.held_by) == (DriftState.OPEN, "")


def test_a_person_may_still_bring_it_back(world: World) -> None:
    """`heal` wins over a branch that waits."""
    _waits(world)
    service = _service(world)
    service.remember("staging", "correct")
    service.judge("staging", "object", [DEVIATION])
    service.heal("web", "staging", "operator")
    assert service.judge("staging", "object", [DEVIATION]) == frozenset({DIFFERENCE})


def test_what_a_lease_could_not_have_adopted_is_left_to_a_person(world: World) -> None:
    """The reason stands in the case, and it stays held over the looks that follow."""
    service = _service(world)
    service.remember("staging", "correct")
    lease = world.holds.open(replace(_lease(), then="adopt"))
    service.judge("staging", "object", [DEVIATION])
    world.holds.close(lease, "operator", "done")
    service.judge("staging", "object", [DEVIATION])
    (case,) = service.cases("staging", "object")
    assert (case.state, case.then) == (DriftState.HELD, "adopt")
    service.leave(case.key, "it cannot be adopted: no file")
    assert service.judge("staging", "object", [DEVIATION]) == frozenset()
    (case,) = world.records.drifts()
    assert (case.then, case.held_why, case.held_fix) == ("hold", "it cannot be adopted: no file", "setpoint heal web staging")


def _lease() -> Hold:
    return Hold("", "break-glass", "staging", "web", "operator", "stuck", "", "2027-01-01T00:00:00.000Z")


def test_an_edit_is_the_shortest_and_fits_its_file_only() -> None:
    """Letters that stay are not in it; another file is refused."""
    edit = Edit.between("a", "b", "one two three", "one 2 three")
    assert (edit.start, edit.old, edit.new) == (4, "two", "2")
    assert edit.applied("one two three") == "one 2 three"
    with pytest.raises(ValueError, match="another"):
        edit.applied("one too three")
    with pytest.raises(ValueError, match="another"):
        Edit("a", "", 0, "", "x").applied("there")
