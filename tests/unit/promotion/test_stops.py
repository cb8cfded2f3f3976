"""A person's hold: nothing new is pinned, what runs stays, a rollback passes, and it ends by a release or by its time."""

import pytest

from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, UserError
from setpoint.core.reasons import Outcome
from setpoint.promotion.model import PromotionState
from setpoint.promotion.service import PromotionService
from setpoint.promotion.stops import Stops
from unit.builders_home import OPERATOR, PAT, SAM, World


def _stops(world: World, service: PromotionService) -> Stops:
    return Stops(service._parts)


def _codes(service: PromotionService, environment: str = "staging") -> list[str]:
    return [reason.code for reason in service.explain("web", environment).verdict.blocking()]


def test_nothing_new_is_pinned_until_it_is_released(world: World) -> None:
    """The candidate stays open with who, why and the way out; released, it is pinned at the next pass."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    held = _stops(world, service).hold("web", "staging", OPERATOR, None, "audit")
    world.build("2")
    service.advance()
    (reason,) = service.explain("web", "staging").verdict.blocking()
    assert (reason.code, reason.outcome, reason.fix, reason.recheck_at) == ("HOLD", Outcome.WAIT, "setpoint release web staging", None)
    assert "by operator: audit" in reason.found
    assert world.version("staging") == "1"
    assert [hold.hold for hold in _stops(world, service).release("web", "staging", OPERATOR)] == [held.hold]
    service.advance()
    assert (world.version("staging"), world.holds.open_ones()) == ("2", [])


def test_it_ends_by_its_time_and_the_journal_says_so(world: World) -> None:
    """The reason tells when; at that instant the candidate is pinned and the hold is closed by setpoint."""
    world.register()
    service = world.service()
    _stops(world, service).hold("web", "staging", OPERATOR, 7200, "audit")
    world.build("1")
    service.advance()
    (reason,) = service.explain("web", "staging").verdict.blocking()
    assert (reason.code, reason.recheck_at) == ("HOLD", "2026-11-23T08:00:00.000Z")
    world.clock.move(7199)
    service.advance()
    assert world.version("staging") == ""
    world.clock.move(1)
    service.advance()
    assert world.version("staging") == "1"
    (ended,) = world.records.holds("web", "staging", ended=True)
    assert (ended.ended_by, ended.ended_why) == ("setpoint", "its time has passed")


def test_the_line_stops_for_a_whole_environment(world: World) -> None:
    """One hold without an application stops each of them; releasing an application does not lift it, and says what would."""
    world.register()
    world.build("1")
    service = world.service()
    stops = _stops(world, service)
    stops.hold("", "staging", OPERATOR, None, "incident 7")
    service.advance()
    assert (_codes(service), world.version("staging")) == (["HOLD"], "")
    with pytest.raises(ConflictError) as refused:
        stops.release("web", "staging", OPERATOR)
    assert refused.value.fix == "setpoint release --all staging"
    stops.release("", "staging", OPERATOR)
    service.advance()
    assert world.version("staging") == "1"


def test_nobody_shortens_anothers_hold(world: World) -> None:
    """Two people hold one place: the end of the shorter one lets nothing in."""
    world.register()
    service = world.service()
    stops = _stops(world, service)
    stops.hold("web", "staging", OPERATOR, None, "audit")
    stops.hold("web", "staging", OPERATOR, 60, "a minute")
    world.build("1")
    world.clock.move(120)
    service.advance()
    assert (_codes(service), world.version("staging")) == (["HOLD"], "")
    assert len(stops.release("web", "staging", OPERATOR)) == 1


def test_what_was_decided_before_a_hold_waits_for_its_end(world: World) -> None:
    """A decision whose commit did not get through is not committed while the line is stopped, and its approvals are not lost."""
    world.register()
    world.build("1")
    service = world.service()
    world.signer_gone = True
    with pytest.raises(Exception, match="signer"):
        service.advance()
    world.signer_gone = False
    _stops(world, service).hold("web", "staging", OPERATOR, None, "audit")
    service.advance()
    assert (world.states("staging"), _codes(service)) == (["decided"], ["HOLD", "GIT_LAGS"])
    _stops(world, service).release("web", "staging", OPERATOR)
    service.advance()
    assert world.states("staging") == ["pinned"]


def test_a_persons_rollback_passes_and_an_automatic_return_does_not(world: World) -> None:
    """The rollback says that it passed the hold, which stays; Setpoint by itself leaves everything at its pin."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
    _stops(world, service).hold("web", "staging", OPERATOR, None, "audit")
    pinned = world.pinned("staging")
    assert pinned is not None
    refused = service.send_back("web", "staging", pinned.commit, ())
    assert (refused.done, [reason.code for reason in refused.verdict.blocking()]) == (False, ["HOLD"])
    done = service.rollback("web", "staging", OPERATOR, "", "bad")
    assert done.state is PromotionState.PINNED
    assert done.verdict is not None
    assert "HOLD_PASSED" in [reason.code for reason in done.verdict.reasons]
    assert [hold.kind for hold in world.holds.open_ones()] == ["stop"]


def test_who_may_not_operate_may_not_hold(world: World) -> None:
    """Owners, approvers and the operator hold and release; a hold without words, a place that is none, and an empty release are refused."""
    world.register()
    service = world.service()
    stops = _stops(world, service)
    with pytest.raises(NotAllowedError, match="neither owner nor approver"):
        stops.hold("web", "staging", SAM, None, "audit")
    assert stops.hold("web", "prod", PAT, None, "audit").by == "person:pat@example.com"
    with pytest.raises(UserError, match="needs a reason"):
        stops.hold("web", "prod", PAT, None, "  ")
    with pytest.raises(NotFoundError):
        stops.hold("", "moon", OPERATOR, None, "audit")
    with pytest.raises(NotFoundError):
        stops.hold("wob", "prod", OPERATOR, None, "audit")
    with pytest.raises(ConflictError, match="nobody holds"):
        stops.release("web", "staging", OPERATOR)


def test_a_clock_behind_the_journal_decides_nothing_timed(world: World) -> None:
    """WAIT(CLOCK): a wall clock that went back ends no hold, and what depends on time waits until it is right again."""
    world.register()
    service = world.service()
    _stops(world, service).hold("web", "staging", OPERATOR, 7200, "audit")
    world.build("1")
    world.clock.move(-3600)
    service.advance()
    clock, hold = service.explain("web", "staging").verdict.blocking()
    assert (clock.code, clock.outcome, hold.code) == ("CLOCK", Outcome.WAIT, "HOLD")
    assert clock.recheck_at == "2026-11-23T06:00:00.000Z"
    world.clock.move(3600 + 7200)
    service.advance()
    assert world.version("staging") == "1"


def test_holds_come_back_from_the_journal(world: World) -> None:
    """Law 4: folded anew, open and ended holds are equal as JSON."""
    world.register()
    service = world.service()
    stops = _stops(world, service)
    stops.hold("web", "staging", OPERATOR, 60, "one")
    stops.release("web", "staging", OPERATOR, "over")
    stops.hold("", "prod", OPERATOR, None, "two")
    before = world.records.holds(ended=True)
    world.forget_the_database()
    assert world.records.holds(ended=True) == before
    assert [hold.ended_why for hold in before] == ["over", ""]


def test_a_person_bars_what_waits_or_a_digest(world: World) -> None:
    """The waiting candidate, or any with a bare digest, stays out until it is lifted; the next build comes in."""
    world.register()
    service = world.service()
    world.build("1")
    service.advance()
    stops = _stops(world, service)
    stops.hold("web", "staging", OPERATOR, None, "look first")
    world.build("2")
    service.advance()
    barred = service.quarantine("web", "staging", OPERATOR, "", "it logs passwords")
    third = world.build("3")
    bare = service.quarantine("web", "staging", OPERATOR, third.digest, "so does this")
    assert (barred.bare, bare.bare, bare.candidate) == (False, True, third.digest)
    stops.release("web", "staging", OPERATOR)
    service.advance()
    assert world.version("staging") == "1"
    assert [reason.code for reason in service.explain("web", "staging").proposal.reasons] == ["QUARANTINED"]
    world.commit("delivery", {"apps/web/app.yaml": b"base 2"})
    service.advance()
    assert world.version("staging") == "1", "configuration moves on with the pinned digests, the barred ones stay out"
    world.build("4")
    service.advance()
    assert world.version("staging") == "4"
    assert service.lift("web", "staging", OPERATOR) == 2


def test_what_runs_is_rolled_back_and_not_barred(world: World) -> None:
    """A quarantine of what is pinned, of nothing, of no digest, twice, or without words is refused with the way out."""
    world.register()
    service = world.service()
    built = world.build("1")
    service.advance()
    with pytest.raises(ConflictError, match="what is pinned") as refused:
        service.quarantine("web", "staging", OPERATOR, built.digest, "bad")
    assert refused.value.fix == "setpoint rollback web staging"
    with pytest.raises(ConflictError, match="no candidate waits"):
        service.quarantine("web", "staging", OPERATOR, "", "bad")
    with pytest.raises(UserError, match="no digest"):
        service.quarantine("web", "staging", OPERATOR, "latest", "bad")
    with pytest.raises(UserError, match="needs a reason"):
        service.quarantine("web", "staging", OPERATOR, "", " ")
    with pytest.raises(NotAllowedError):
        service.quarantine("web", "staging", SAM, "sha256:" + "1" * 64, "bad")
    service.quarantine("web", "staging", OPERATOR, "sha256:" + "1" * 64, "bad")
    with pytest.raises(ConflictError, match="already"):
        service.quarantine("web", "staging", OPERATOR, "sha256:" + "1" * 64, "bad")
