"""Touched images: recorded for every application that runs from them, replaced once, and over only when no replica of the old tree runs."""

from dataclasses import dataclass, field, replace

import pytest

from setpoint.core.errors import WorldError
from setpoint.reconcile.drift.images import ImageDrift
from setpoint.reconcile.drift.model import Mode
from setpoint.reconcile.model import Difference, ImageMount
from unit.builders_home import World
from unit.reconcile.test_drift_verdicts import CONTAINER, Machine

EDIT = Difference("image aaaaaaa /app/main.py", "content", "sha256 1", "sha256 2")


@dataclass
class Looks:
    """Images in memory."""

    found: list[Difference] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    fault: Exception | None = None

    def differences(self, _image: str) -> list[Difference]:
        """Look, or fail."""
        if self.fault is not None:
            raise self.fault
        return list(self.found)

    def replace(self, image: str) -> None:
        """Bring back."""
        self.replaced.append(image)
        self.found = []

    def sweep(self, images: set[str]) -> None:
        """Forget."""


@pytest.fixture
def machine(world: World) -> Machine:
    """Two serving replicas of one image."""
    found = Machine(world)
    for number in (1, 2):
        found.replica(f"staging-web-web-h-{number}")
    return found


def _drift(machine: Machine, looks: Looks, mode: Mode = "correct") -> ImageDrift:
    machine.look(mode)
    return ImageDrift(looks, machine.service, lambda: list(machine.found.values()))


def _states(machine: Machine) -> list[str]:
    return [drift.state.value for drift in machine.world.records.drifts() if drift.kind == "image"]


def test_a_touched_image_is_replaced_and_the_case_ends_with_its_last_outdated_replica(machine: Machine) -> None:
    """One case, one replacement; also over a restart of the server in between."""
    looks = Looks([EDIT])
    images = _drift(machine, looks)
    images.advance()
    assert (_states(machine), looks.replaced) == (["open"], [CONTAINER.image])
    for name in list(machine.found):
        machine.replica(name, outdated=True)
    images.advance()
    machine.service = machine.restarted()
    images = _drift(machine, looks)
    images.advance()
    assert (_states(machine), looks.replaced) == (["open"], [CONTAINER.image])
    del machine.found["staging-web-web-h-1"]
    images.advance()
    assert _states(machine) == ["open"]
    machine.replica("staging-web-web-h-2", outdated=False)
    images.advance()
    [case] = machine.world.records.drifts()
    assert (case.state.value, case.subject, case.app) == ("healed", EDIT.subject, "web")
    assert case.done == "the image was unpacked anew, and its replicas were replaced one by one"


def test_report_records_and_leaves_the_tree_until_it_is_ordered(machine: Machine) -> None:
    """Nothing is replaced; `heal` replaces."""
    looks = Looks([EDIT])
    images = _drift(machine, looks, "report")
    images.advance()
    images.advance()
    assert (_states(machine), looks.replaced) == (["reported"], [])
    machine.service.heal("web", "staging", "operator")
    images.advance()
    assert looks.replaced == [CONTAINER.image]
    images.advance()
    assert _states(machine) == ["healed"]


def test_a_comparison_that_cannot_be_made_ends_nothing(machine: Machine) -> None:
    """No room to unpack: what is known stays known, and nothing is said to be healed."""
    looks = Looks([EDIT])
    images = _drift(machine, looks, "report")
    images.advance()
    looks.fault = WorldError("SP636", "no room")
    images.advance()
    assert _states(machine) == ["reported"]
    looks.fault, looks.found = None, []
    images.advance()
    assert _states(machine) == ["gone"]


def test_every_application_that_runs_from_the_image_has_its_case(machine: Machine) -> None:
    """Also in another environment: the tree is shared."""
    first = machine.found["staging-web-web-h-1"]
    other = replace(first.spec, replica="prod-shop-web-h-1", identity=replace(first.spec.identity, app="shop", environment="prod"))
    machine.found[other.replica] = replace(first, spec=other)
    looks = Looks([EDIT])
    images = _drift(machine, looks, "report")
    images.advance()
    assert looks.replaced == [], "the mode of prod is not known before its first pass"
    machine.service.look("prod", "correct", [])
    images.advance()
    cases = {(case.app, case.environment): case.state.value for case in machine.world.records.drifts()}
    assert cases == {("web", "staging"): "reported", ("shop", "prod"): "open"}
    assert looks.replaced == [CONTAINER.image]


def test_an_artifact_that_is_mounted_is_looked_at_like_the_image(machine: Machine) -> None:
    """A model beside the container is compared too, once for all replicas that mount it, and brought back by its own digest."""
    model = "hello/model@sha256:" + "b" * 64
    for name, status in list(machine.found.items()):
        container = replace(status.spec.container, mounts=(ImageMount("/models", model), ImageMount("/one", model, "model.bin")))
        machine.replica(name, spec=replace(status.spec, container=container))

    class Touched(Looks):
        def differences(self, image: str) -> list[Difference]:
            return super().differences(image) if image == model else []

    looks = Touched([replace(EDIT, subject="image bbbbbbb /model.bin")])
    _drift(machine, looks).advance()
    assert looks.replaced == [model]
    [case] = machine.world.records.drifts()
    assert (case.subject, case.state.value) == ("image bbbbbbb /model.bin", "open")
