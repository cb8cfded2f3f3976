"""What is done when the stable side of a canary cannot be rendered: nothing while that may pass, and no split when it is gone."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from setpoint.core.errors import SetpointError, UnreachableError, UserError, WorldError
from setpoint.promotion.model import Candidate, Pin
from setpoint.reconcile.cluster.shapes import Shapes
from setpoint.reconcile.cluster.shaping import Asked, Shaped
from setpoint.reconcile.effective import Effective


def _pin(name: str) -> Pin:
    return Pin(Candidate("web", "prod", {}, "t", None), f"p-{name}", "hello", "c" * 40, name, "", name)


class World:
    """An application that runs revision `old`, whose render fails."""

    def __init__(self, error: SetpointError) -> None:
        self.error = error
        self.asked: list[Asked] = []

    def objects(self, _candidate: Candidate, _repository: str) -> tuple[dict[str, Any], ...]:
        """Fail to render."""
        raise self.error

    def pin_at(self, *_where: str) -> Pin:
        """Return the stable pin."""
        return _pin("old")

    def stable_pin(self, _app: str, _environment: str) -> str:
        """Return the stable pin's commit."""
        return "old"

    def concerns(self, *_asked: object) -> bool:
        """Say that it runs in revisions."""
        return True

    def shape(self, asked: Asked) -> Shaped:
        """Take a step."""
        self.asked.append(asked)
        return Shaped(())

    def inventory(self, _app: str, _environment: str) -> Any:
        """Return that nothing was made."""
        return SimpleNamespace(objects={})

    def promotion(self, _name: str) -> None:
        """Know no promotion."""

    def step(self) -> None:
        """Take a pass."""
        mine = cast("Any", self)
        environment = SimpleNamespace(rollout=SimpleNamespace(canary=None))
        delivery = cast("Any", SimpleNamespace(environment=lambda _name: environment, repository="delivery"))
        where = cast("Any", (self, SimpleNamespace(namespace="prod")))
        effective = Effective(_pin("new"), cast("Any", None), ())
        Shapes(mine, mine, mine, mine, mine).of(delivery, where, effective, (), step=True)


def test_a_stable_side_that_cannot_be_rendered_now_stops_the_application() -> None:
    """Without it a canary would begin as a plain rollout, and be journalled so: no step is taken, and the application says why."""
    world = World(WorldError("SP640", "the renderer has no room"))
    with pytest.raises(UserError, match=r"SP653.*no room"):
        world.step()
    assert world.asked == []
    dead = World(UnreachableError("SP682", "nobody answers"))
    with pytest.raises(UnreachableError):
        dead.step()


def test_a_stable_side_that_nobody_can_render_any_more_leaves_no_split() -> None:
    """What a person has to mend does not pass: the rollout is asked without a stable side, and says itself if it needs one."""
    world = World(UserError("SP610", "the chart is gone"))
    world.step()
    assert [one.stable for one in world.asked] == [None]
