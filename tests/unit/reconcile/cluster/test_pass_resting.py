"""What rests costs lookups only; whatever a look depends on wakes it, and what is not well never rests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.decide import Action, Allowed, ObjectVerdict, Seen
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.owner import Owner
from setpoint.reconcile.cluster.placing import Placing, Wanted
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.cluster.resting import COPIES_S, REST_S, Resting
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason, Health
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.target import Observed

KEY = ObjectKey("", "ConfigMap", "ns", "shop")
WELL = Observed(Health.HEALTHY, (DeployReason("READY", "ns", "fine"),))
ROW = ObjectPlan(KEY, {}, Seen({}, known=True), ObjectVerdict(Action.NOTHING), Allowed("setpoint"))


@dataclass
class World:
    """Everything that a look rests on, to be changed by tests."""

    marks: tuple[object, ...] | None = ("a",)
    inventory: Any = field(default_factory=lambda: SimpleNamespace(objects={str(KEY): "pin"}))
    pin: str = "pin"
    accepted: str = "accepted"
    config: Any = field(default_factory=lambda: SimpleNamespace(drift=SimpleNamespace(ignore=())))
    copied: bool = True
    now: float = 1000.0

    def __post_init__(self) -> None:
        prune = SimpleNamespace(inventory=lambda _app, _environment: self.inventory, leases=lambda _app, _environment: ())
        placing = SimpleNamespace(copied=lambda _candidate, _target: self.copied)
        self.resting = Resting(cast("PruneService", prune), cast("Placing", placing), lambda: self.now, lambda: 0.5)
        self.cluster = cast("Cluster", SimpleNamespace(marks=lambda _keys: self.marks))

    @property
    def effective(self) -> Effective:
        """What should run."""
        candidate = SimpleNamespace(app="shop", environment="cloud")
        return Effective(cast("Any", _Pin(candidate, self.pin)), cast("Any", "desired"), ())

    @property
    def delivery(self) -> Any:
        """The delivery repository."""
        return SimpleNamespace(accepted=self.accepted, environment=lambda _name: self.config)

    def look(self, rows: Sequence[ObjectPlan] = (ROW,), observed: Observed = WELL, before: Mapping[str, Any] | None = None) -> None:
        """Take a whole look."""
        wanted = Wanted(self.effective, (), Owner("h", "shop", "cloud"), (), {KEY: "v1"})
        self.resting.note(self.delivery, self.cluster, {"shop": (wanted, rows, observed)}, before or {"shop": self.marks})

    def rests(self) -> bool:
        """Say whether the application rests."""
        found = self.resting.now(self.delivery, "cloud", (self.cluster, cast("Any", None)), {"shop": self.effective})
        return "shop" in found


@dataclass(frozen=True)
class _Pin:
    candidate: Any
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pin) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def test_what_is_well_rests_until_something_changes() -> None:
    """Nothing rests before a look; after one it holds, for a new but equal pin too."""
    world = World()
    assert not world.rests()
    world.look()
    assert world.rests()
    assert world.rests()


@pytest.mark.parametrize(
    "change",
    [
        {"marks": ("b",)},
        {"marks": None},
        {"inventory": SimpleNamespace(objects={str(KEY): "another"})},
        {"pin": "another"},
        {"accepted": "another"},
        {"config": SimpleNamespace(drift=SimpleNamespace(ignore=()), more=1)},
        {"config": SimpleNamespace(drift=SimpleNamespace(ignore=("a rule",)))},
        {"now": 1000.0 + REST_S},
    ],
)
def test_everything_that_a_look_rests_on_wakes_it(change: dict[str, Any]) -> None:
    """A live object, what is not known of one, the inventory, the pin, the accepted files, a rule, and time."""
    world = World()
    world.look()
    for name, value in change.items():
        setattr(world, name, value)
    assert not world.rests()


def test_copies_are_made_sure_of_meanwhile() -> None:
    """Evidence that came later is copied within a minute; a registry that refuses ends the rest."""
    world = World()
    world.look()
    world.now += COPIES_S
    assert world.rests()
    world.copied = False
    assert world.rests()
    world.now += COPIES_S
    assert not world.rests()


@pytest.mark.parametrize(
    "found",
    [
        {"observed": replace(WELL, health=Health.PROGRESSING)},
        {"observed": replace(WELL, faults=(DeployReason("SP685", "x", "no"),))},
        {"rows": (replace(ROW, drifted=True),)},
        {"rows": (replace(ROW, verdict=ObjectVerdict(Action.APPLY)),)},
        {"before": {"shop": ("of before",)}},
        {"before": {"shop": None}},
    ],
)
def test_what_moves_does_not_rest(found: dict[str, Any]) -> None:
    """What is not well, drifted, was just written, or changed while it was looked at is looked at again."""
    world = World()
    world.look(**found)
    assert not world.rests()


def test_what_is_still_to_be_removed_keeps_it_awake() -> None:
    """An object of the inventory that is no longer wanted may go at any time: when a person, or the end of a lease, lets it."""
    world = World(inventory=SimpleNamespace(objects={str(KEY): "pin", "/ConfigMap/ns/old": "before"}))
    world.look()
    assert not world.rests()


def test_an_application_that_is_gone_is_forgotten() -> None:
    """What does not run any more is not kept in memory, and looked at anew when it comes back."""
    world = World()
    world.look()
    world.resting.now(world.delivery, "cloud", (world.cluster, cast("Any", None)), {})
    assert not world.rests()
