"""One promotion is under way per place: whoever is replaced names its successor, whatever the server died at (law 5)."""

from contextlib import suppress
from dataclasses import replace

import pytest

from setpoint.core.errors import WorldError
from setpoint.core.records import encode
from setpoint.promotion.model import Promotion, PromotionState
from setpoint.promotion.service import PromotionService
from unit.builders_home import OPERATOR, KilledError, World


def _waiting(world: World) -> PromotionService:
    """Register, and have version 1 wait for an approval in prod."""
    world.register()
    service = world.service()
    world.build("1")
    service.advance()
    world.healthy("staging")
    service.advance()
    return service


def _told(world: World, environment: str) -> list[tuple[str, str, str]]:
    """Return (version, state, version of the successor) of every promotion."""
    version = {p.promotion: p.version for p in world.promotions(environment)}
    return [(p.version, p.state.value, version.get(p.superseded_by, p.superseded_by)) for p in world.promotions(environment)]


def _killed(world: World, service: PromotionService) -> None:
    """Have the server die where it would have ended a promotion."""
    world.recorder.dies_at = "promotion.superseded"
    with pytest.raises(KilledError):
        service.advance()
    world.recorder.dies_at = ""


def _two_open(world: World, service: PromotionService) -> list[Promotion]:
    """Build version 2, and have the server die after prod's new promotion, before the end of the old one."""
    world.build("2")
    _killed(world, service)
    return [p for p in world.promotions("prod") if p.state is PromotionState.OPEN]


def test_a_death_between_the_new_promotion_and_the_end_of_the_old_one_is_mended(world: World) -> None:
    """The next life finds both open, and ends the older one in the name of the newer; a further pass writes nothing."""
    assert len(_two_open(world, _waiting(world))) == 2
    service = world.service()
    service.advance()
    assert _told(world, "prod") == [("1", "superseded", "2"), ("2", "open", "")]
    entries = len(world.journal)
    service.advance()
    assert len(world.journal) == entries


def test_a_person_who_asks_after_the_death_mends_it_too(world: World) -> None:
    """`promote` joins the newer promotion and ends the older one, before the loop comes."""
    _two_open(world, _waiting(world))
    joined = world.service().request("web", "prod", OPERATOR)
    assert joined.version == "2"
    assert _told(world, "prod") == [("1", "superseded", "2"), ("2", "open", "")]


def test_what_is_older_is_told_by_the_journal_and_not_by_a_clock(world: World) -> None:
    """With a clock that was set back before the newer one was created, the older one still ends."""
    service = _waiting(world)
    world.clock.move(-1)
    older, newer = _two_open(world, service)
    assert newer.created_at < older.created_at
    world.service().advance()
    assert _told(world, "prod") == [("1", "superseded", "2"), ("2", "open", "")]


def test_what_a_rollback_replaces_ends_in_its_name_in_the_next_life(world: World) -> None:
    """A death after the rollback began, before the end of what was decided there: the next pass ends it, and pins the rollback."""
    world.register()
    service = world.service()
    for version in ("1", "2", "3"):
        world.signer_gone = version == "3"
        world.build(version)
        with suppress(WorldError):
            service.advance()
    world.recorder.dies_at = "promotion.superseded"
    with pytest.raises(KilledError):
        service.rollback("web", "staging", OPERATOR, "1", "bad")
    world.signer_gone, world.recorder.dies_at = False, ""
    waiting = [(p.kind, p.version) for p in world.records.unfinished() if p.candidate.environment == "staging"]
    assert waiting == [("advance", "3"), ("rollback", "1")]
    world.service().advance()
    (back,) = (p for p in world.promotions("staging") if p.kind == "rollback")
    third = next(p for p in world.promotions("staging") if p.version == "3")
    assert (third.superseded_by, back.state) == (back.promotion, PromotionState.PINNED)


def test_what_waits_beside_a_denied_candidate_ends_in_its_name(world: World) -> None:
    """A candidate that was denied and comes up again stays denied, and what waits there is ended in its name, also in the next life."""
    service = _waiting(world)
    world.render_error = "no"
    service = world.service()
    service.advance()
    (denied,) = (p for p in world.promotions("prod") if p.state is PromotionState.DENIED)
    beside = replace(denied, promotion="p-beside", state=PromotionState.OPEN, binding="another", verdict=None)
    world.recorder.record("promotion.created", beside.promotion, "setpoint", encode(beside))
    _killed(world, service)
    world.service().advance()
    found = world.records.promotion("p-beside")
    assert found is not None
    assert (found.state, found.superseded_by) == (PromotionState.SUPERSEDED, denied.promotion)
    assert world.records.promotion(denied.promotion) == denied


def test_other_places_are_left_alone(world: World) -> None:
    """A candidate that ends another one in prod ends nothing in staging."""
    service = _waiting(world)
    _two_open(world, service)
    world.signer_gone = True
    world.build("3")
    with suppress(WorldError):
        service.advance()
    assert [told[1] for told in _told(world, "staging")] == ["pinned", "pinned", "decided"]
    assert _told(world, "prod") == [("1", "superseded", "2"), ("2", "open", "")]
