"""Break-glass: a lease has an end, keeps new pins out, is passed by a rollback, and ends by a person or by its time."""

import pytest

from setpoint.core.errors import ConflictError, NotAllowedError, UserError
from setpoint.core.reasons import Outcome
from setpoint.promotion.break_glass import BreakGlass, Terms
from setpoint.promotion.service import PromotionService
from setpoint.promotion.stops import Stops
from unit.builders_home import OPERATOR, SAM, World

TWO_HOURS = Terms(7200, "the queue is stuck")


def _glass(service: PromotionService) -> BreakGlass:
    return BreakGlass(service._parts)


def test_nothing_new_is_pinned_until_the_lease_is_over(world: World) -> None:
    """Who, why, until when and the way out are the reason; at the end of its time the candidate is pinned, and the journal says it."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    lease = _glass(service).open("web", "staging", OPERATOR, TWO_HOURS)
    world.build("2")
    service.advance()
    (reason,) = service.explain("web", "staging").verdict.blocking()
    assert (reason.code, reason.outcome, reason.recheck_at) == ("BREAK_GLASS", Outcome.WAIT, lease.until)
    assert reason.fix == "setpoint break-glass web staging --end"
    assert "operator broke the glass for web in staging" in reason.found
    assert "the queue is stuck" in reason.found
    world.clock.move(7199)
    service.advance()
    assert world.version("staging") == "1"
    world.clock.move(1)
    service.advance()
    assert world.version("staging") == "2"
    (ended,) = world.records.holds("web", "staging", ended=True)
    assert (ended.kind, ended.ended_by, ended.ended_why) == ("break-glass", "setpoint", "its time has passed")


def test_it_is_extended_and_ended_by_who_may(world: World) -> None:
    """An end moves, what comes after it may be changed, each step has its person; a hold beside it is not released with it."""
    world.register()
    service = world.service()
    glass = _glass(service)
    first = glass.open("web", "staging", OPERATOR, TWO_HOURS)
    Stops(service._parts).hold("web", "staging", OPERATOR, None, "audit")
    world.clock.move(3600)
    (later,) = glass.extend("web", "staging", OPERATOR, Terms(7200, "nearly"), "hold")
    (known,) = world.holds.leases("staging")
    assert (known.hold, known.until, known.then) == (first.hold, later.until, "hold")
    assert first.until is not None
    assert later.until is not None
    assert later.until > first.until
    (over,) = glass.end("web", "staging", OPERATOR, Terms(1, "done"), "correct")
    assert over.hold == first.hold
    assert world.holds.leases("staging") == ()
    assert [hold.kind for hold in world.holds.stops("web", "staging")] == ["stop"]
    past = world.holds.named(first.hold)
    assert past is not None
    assert (past.ended_by, past.ended_why, past.then) == ("operator", "done", "correct")
    kinds = [entry.kind for entry in world.journal.entries() if entry.subject == first.hold]
    assert kinds == ["hold.opened", "hold.extended", "hold.closed"]


def test_a_release_ends_no_lease(world: World) -> None:
    """`setpoint release` is about stops only: whoever works on what is live does not lose it by that."""
    world.register()
    service = world.service()
    _glass(service).open("web", "staging", OPERATOR, TWO_HOURS)
    with pytest.raises(ConflictError, match="nobody holds exactly this"):
        Stops(service._parts).release("web", "staging", OPERATOR)
    assert len(world.holds.leases("staging")) == 1


def test_a_rollback_passes_and_a_lease_of_the_whole_environment_is_about_every_application(world: World) -> None:
    """A person may go back in the middle of it; nothing new gets in anywhere."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
    _glass(service).open("", "staging", OPERATOR, TWO_HOURS)
    (lease,) = world.holds.leases("staging", "web")
    assert lease.release == "setpoint break-glass --all staging --end"
    service.rollback("web", "staging", OPERATOR, "", "worse")
    assert world.version("staging") == "1"


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        (Terms(60, " "), "SP560"),
        (Terms(0, "why"), "SP560"),
        (Terms(8 * 86_400, "why"), "SP560"),
        (Terms(60, "why", "web"), "SP560"),
        (Terms(60, "why", "Deployment/web; rm"), "SP560"),
    ],
)
def test_a_lease_has_words_a_near_end_and_objects(world: World, terms: Terms, code: str) -> None:
    """What is none of that is refused with what to write."""
    world.register()
    with pytest.raises(UserError) as caught:
        _glass(world.service()).open("web", "staging", OPERATOR, terms)
    assert caught.value.code == code
    assert caught.value.fix


def test_who_may_not_operate_may_not_break_the_glass_and_nobody_breaks_it_twice(world: World) -> None:
    """Sam owns prod and not staging; a second lease for just the same says how to extend the first; other objects are another lease."""
    world.register()
    glass = _glass(world.service())
    with pytest.raises(NotAllowedError):
        glass.open("web", "staging", SAM, TWO_HOURS)
    glass.open("web", "staging", OPERATOR, TWO_HOURS)
    with pytest.raises(ConflictError) as caught:
        glass.open("web", "staging", OPERATOR, TWO_HOURS)
    assert (caught.value.code, caught.value.fix.startswith("setpoint break-glass web staging --extend")) == ("SP561", True)
    glass.open("web", "staging", OPERATOR, Terms(60, "why", "Deployment/*"))
    with pytest.raises(ConflictError):
        glass.end("", "staging", OPERATOR, Terms(1, ""))
    assert len(glass.end("web", "staging", OPERATOR, Terms(1, "", "Deployment/*"))) == 1
    assert len(world.holds.leases("staging")) == 1
