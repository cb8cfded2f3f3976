"""What is not looked at twice: calls are counted, with many applications in one delivery repository."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from setpoint.promotion.candidates import Candidates
from setpoint.promotion.facts import FactGatherer
from setpoint.promotion.service import PromotionService
from unit.builders_home import DELIVERY, PAT, World

COUNT = 12
APPS = tuple(f"app-{number}" for number in range(COUNT))


def _setpoint() -> bytes:
    """Return the file that names `web` and all the others."""
    named = "".join(f", {app}: {{}}" for app in APPS)
    return DELIVERY["setpoint.yaml"].replace(b"{source: hello}", b"{source: hello}" + named.encode())


@pytest.fixture
def many(world: World) -> PromotionService:
    """Register many applications, and have all of them pinned in staging and waiting for approval in prod."""
    world.register({**DELIVERY, "setpoint.yaml": _setpoint(), **{f"apps/{app}/app.yaml": b"1" for app in APPS}})
    service = world.service()
    service.advance()
    for app in APPS:
        world.healthy("staging", app)
    service.advance()
    service.advance()
    return service


@pytest.fixture
def calls(many: PromotionService, world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count proposals, gathered facts, renders and looks into Git and tables, from when all is settled."""
    assert many is not None
    told: Counter[str] = Counter()

    def counted(name: str, owner: Any, method: str) -> None:
        real: Callable[..., Any] = getattr(owner, method)

        def call(*words: Any, **named: Any) -> Any:
            told[name] += 1
            return real(*words, **named)

        monkeypatch.setattr(owner, method, call)

    counted("propose", Candidates, "next")
    counted("gather", FactGatherer, "gather")
    counted("render", world, "render_facts")
    for method in ("history", "first_parents", "changed_paths", "last_change", "tree_id", "read"):
        counted("walk", world.git, method)
    for method in ("promotions", "approvals", "pushers"):
        counted("query", world.records, method)
    return told


def test_a_pass_over_what_did_not_change_looks_at_nothing(many: PromotionService, calls: Counter[str]) -> None:
    """However many applications wait: nothing is proposed, gathered, rendered, walked or asked while head and journal are the same."""
    for _ in range(3):
        assert many.advance() is None
    assert calls == Counter()


def test_a_commit_of_one_application_costs_that_application(many: PromotionService, calls: Counter[str], world: World) -> None:
    """One is proposed, rendered and decided in its environment; the others rest."""
    world.commit("delivery", {"apps/app-3/app.yaml": b"2"}, pusher=None)
    many.advance()
    pin = world.pinned("staging", "app-3")
    assert pin is not None
    assert pin.candidate.app_tree == world.git.tree_id("delivery", world.delivery().head, "apps/app-3")
    assert calls["propose"] <= 2, "the place in staging, and the one in prod that comes after it"
    assert calls["gather"] <= 2
    calls.clear()
    many.advance()
    assert calls["propose"] <= 2
    calls.clear()
    many.advance()
    assert calls == Counter()


def test_explanations_of_all_cost_nothing_while_nothing_changed(many: PromotionService, calls: Counter[str], world: World) -> None:
    """The first time the loop's verdicts are shown; after that nothing is put together again, and one entry costs one place."""
    delivery = world.delivery()
    explain = many.explaining(delivery)
    places = [(app, environment) for environment in delivery.ordered() for app in delivery.setpoint.apps]
    first = [explain(*place) for place in places]
    assert (calls["gather"], calls["render"]) == (0, 0)
    calls.clear()
    again = many.explaining(delivery)
    assert [again(*place) for place in places] == first
    assert calls == Counter()
    (waiting,) = (p for p in world.records.unfinished("app-5", "prod"))
    many.approve(waiting.promotion, PAT, "yes")
    calls.clear()
    again = many.explaining(delivery)
    changed = [place for place, old in zip(places, first, strict=True) if again(*place) != old]
    assert changed == [("app-5", "prod")]
    assert calls["propose"] == 1


def test_every_place_is_looked_at_again_after_a_minute(many: PromotionService, calls: Counter[str], world: World) -> None:
    """Level-triggered: what no head, entry or instant tells is found all the same (law 5)."""
    world.clock.move(60)
    many.advance()
    assert calls["propose"] >= 2 * COUNT
    assert calls["gather"] == COUNT


def test_why_does_not_wait_for_a_pass(many: PromotionService, world: World) -> None:
    """While promotions are decided and pinned, reading them takes no turn."""
    import threading

    done = threading.Event()

    def ask() -> None:
        many.explain("app-1", "prod")
        done.set()

    with many._parts.deciding:
        asking = threading.Thread(target=ask)
        asking.start()
        assert done.wait(30)
    asking.join()
