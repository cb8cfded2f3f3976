"""Rollback, traffic first: the hold is there at once, Git follows, and nothing that fails in between changes the end."""

from collections.abc import Sequence

import pytest

from setpoint.core.errors import ConflictError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.hold.model import Hold
from setpoint.ground.journal.model import Entry, Fact
from setpoint.promotion import returning
from setpoint.promotion.model import PromotionState
from setpoint.promotion.returning import ReturnFacts
from setpoint.promotion.service import PromotionService
from unit.builders_home import OPERATOR, START, KilledError, World

BAD = [Reason("JUDGED_BAD", Outcome.DENY, "error rate", "12 % of 900 requests")]


def _two(world: World) -> PromotionService:
    """Pin versions 1 and 2 in staging; 1 was healthy."""
    world.register()
    service = world.service()
    world.build("1")
    service.advance()
    world.healthy("staging")
    world.build("2")
    service.advance()
    return service


def _commit(world: World) -> str:
    pinned = world.pinned("staging")
    assert pinned is not None
    return pinned.commit


def test_hold_promotion_and_quarantine_are_one_write(world: World) -> None:
    """One durable entry batch opens the hold: it names what it overrides, what was bad and what comes back."""
    service = _two(world)
    bad = world.pinned("staging")
    assert bad is not None
    world.signer_gone = True
    before = len(world.journal)
    world.recorder.lives = 0
    with pytest.raises(KilledError):
        service.rollback("web", "staging", OPERATOR, "", "it leaks")
    assert len(world.journal) == before
    world.recorder.lives = None
    done = service.rollback("web", "staging", OPERATOR, "", "it leaks")
    assert world.kinds()[before : before + 3] == ["hold.opened", "promotion.created", "quarantine.set"]
    (hold,) = world.holds.open_ones("web", "staging")
    first = world.promotions("staging")[0]
    assert (hold.overridden, hold.bad, hold.target) == (bad.commit, bad.candidate.digest, first.pin_commit)
    assert (hold.promotion, done.hold, hold.by, hold.why) == (done.promotion, hold.hold, "operator", "it leaks")


def test_a_write_that_a_power_cut_tore_is_made_up_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal keeps hold and promotion and loses the quarantine: the loop sets it, and ends where an untorn write ends."""
    service = _two(world)
    whole = world.recorder.record_all

    def torn(facts: Sequence[Fact]) -> list[Entry]:
        whole(facts[:-1])
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(world.recorder, "record_all", torn)
        with pytest.raises(KilledError):
            service.rollback("web", "staging", OPERATOR, "", "it leaks")
    assert world.records.quarantines("web", "staging") == []
    world.service().advance()
    (barred,) = world.records.quarantines("web", "staging")
    assert (barred.why, barred.by, world.version("staging")) == ("it leaks", "operator", "1")


def test_git_that_lags_is_said_and_tried_again(world: World) -> None:
    """While the commit does not get through, `explain` says what Git still names and why; the commit then names the hold."""
    service = _two(world)
    world.signer_gone = True
    done = service.rollback("web", "staging", OPERATOR, "", "")
    assert done.state is PromotionState.DECIDED
    found = service.explain("web", "staging")
    (lag,) = found.verdict.blocking()
    assert (found.promotion, lag.code) == (done, "GIT_LAGS")
    assert "desired state in Git still names 2" in lag.found
    assert "the signer is gone (SP405)" in lag.found
    assert [hold.hold for hold in found.holds] == [done.hold]
    world.signer_gone = False
    world.service().advance()
    assert world.version("staging") == "1"
    message = world.git.revision("delivery", _commit(world)).message
    assert f"Setpoint-Hold: {done.hold}" in message
    assert "hold.closed" in world.kinds()
    assert service.explain("web", "staging").holds == ()


def test_a_lost_race_leaves_the_hold(world: World) -> None:
    """Somebody commits while the signer works: the hold stays on, and the next pass commits on top."""
    service = _two(world)
    world.moved_by = {"apps/web/app.yaml": b"base 2"}
    service.rollback("web", "staging", OPERATOR, "", "")
    assert [hold.kind for hold in world.holds.open_ones()] == ["rollback"]
    service.advance()
    assert ([p.version for p in world.promotions("staging") if p.kind == "rollback"], world.holds.open_ones()) == (["1"], [])
    assert [p.state for p in world.promotions("staging") if p.kind == "rollback"] == [PromotionState.PINNED]


def test_another_candidate_pinned_in_between_ends_the_rollback(world: World) -> None:
    """A hold never blocks a different candidate: when one was pinned over the bad one, there is nothing to roll back any more."""
    service = _two(world)
    world.signer_gone = True
    service.rollback("web", "staging", OPERATOR, "", "")
    head = world.git.heads("delivery")["main"]
    data = world.git.read("delivery", head, "pins/staging/web.yaml")
    assert data is not None
    world.signer_gone = False
    world.commit("delivery", {"pins/staging/web.yaml": data.replace(b'version: "2"', b'version: "9"')})
    service.advance()
    assert [p.state for p in world.promotions("staging") if p.kind == "rollback"] == [PromotionState.SUPERSEDED]
    assert world.holds.open_ones() == []


def test_what_comes_back_served_before(world: World) -> None:
    """A version that was pinned and never was healthy is passed over; named, it may still be chosen."""
    service = _two(world)
    world.build("3")
    service.advance()
    assert service.rollback("web", "staging", OPERATOR, "", "").version == "1"


def test_a_target_that_no_longer_verifies_is_not_chosen(world: World) -> None:
    """Law 2: signature and quarantine of the target are checked before anything is held."""
    service = _two(world)
    world.inadmissible = "web is not in the registry"
    with pytest.raises(ConflictError, match="web is not in the registry"):
        service.rollback("web", "staging", OPERATOR, "", "")
    assert world.holds.open_ones() == []


def test_a_second_wish_with_another_target_takes_the_first_ones_place(world: World) -> None:
    """Two rollbacks of one pin: the later one's hold is the only one, and only it is committed."""
    service = _two(world)
    world.healthy("staging")
    world.build("3")
    service.advance()
    world.signer_gone = True
    first = service.rollback("web", "staging", OPERATOR, "2", "")
    second = service.rollback("web", "staging", OPERATOR, "1", "")
    assert [hold.promotion for hold in world.holds.open_ones()] == [second.promotion]
    world.signer_gone = False
    service.advance()
    found = world.records.promotion(first.promotion)
    assert found is not None
    assert (found.state, world.version("staging")) == (PromotionState.SUPERSEDED, "1")


def test_a_bad_verdict_goes_back_once(world: World) -> None:
    """The automatic return is a rollback by `setpoint` with the verdict's words; asked again, nothing is doubled."""
    service = _two(world)
    bad = _commit(world)
    done = service.send_back("web", "staging", bad, BAD)
    entries = len(world.journal)
    again = service.send_back("web", "staging", bad, BAD)
    assert (done.done, again.done, again.promotion, len(world.journal)) == (True, True, done.promotion, entries)
    service.advance()
    assert world.version("staging") == "1"
    (barred,) = world.records.quarantines("web", "staging")
    assert (barred.by, barred.why) == ("setpoint", "error rate: 12 % of 900 requests")
    assert not service.send_back("web", "staging", bad, BAD).done, "the verdict is about a pin that is not at HEAD"
    assert service.sent_back("web", "staging", bad) == done.promotion, "its hold is over, and still it is known who did it"
    assert service.sent_back("web", "staging", _commit(world)) == ""


def test_never_back_from_a_return_nor_from_what_is_not_at_head(world: World) -> None:
    """What came back by a rollback is never sent back by itself, and a verdict about an older pin changes nothing."""
    service = _two(world)
    old = world.promotions("staging")[0].pin_commit
    stale = service.send_back("web", "staging", old, BAD)
    service.rollback("web", "staging", OPERATOR, "", "")
    returned = service.send_back("web", "staging", _commit(world), BAD)
    codes = [[reason.code for reason in found.verdict.blocking()] for found in (stale, returned)]
    assert codes == [["VERDICT_STALE"], ["RETURN_OF_A_RETURN"]]
    assert "hold.opened" not in world.kinds()[world.kinds().index("hold.closed") :]


def test_without_an_earlier_candidate_a_person_decides(world: World) -> None:
    """The first candidate of an environment has nothing behind it."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    found = service.send_back("web", "staging", _commit(world), BAD)
    assert (found.done, [reason.code for reason in found.verdict.blocking()]) == (False, ["NOWHERE_TO_RETURN"])


def _facts(earlier: tuple[str, ...] = (), stops: tuple[Hold, ...] = ()) -> ReturnFacts:
    return ReturnFacts("c" * 40, "c" * 40, "advance", stops, earlier, "web staging")


def test_returns_are_limited_in_time_and_by_a_persons_hold() -> None:
    """A third return within the hour is the last one, with the instant of the next; a person's hold keeps everything at its pin."""
    at = ("2026-11-23T05:10:00.000Z", "2026-11-23T05:20:00.000Z", "2026-11-23T05:30:00.000Z")
    (reason,) = returning.decide(_facts(at), START).blocking()
    assert (reason.code, reason.recheck_at) == ("RETURNS_TOO_OFTEN", "2026-11-23T06:10:00.000Z")
    assert returning.decide(_facts(("2026-11-23T05:00:00.000Z", *at[:2])), START).outcome is Outcome.ALLOW
    stop = Hold("hold-1", "stop", "staging", "web", "person:sam@example.com", "audit", "2026-11-23T05:00:00.000Z")
    (held,) = returning.decide(_facts(stops=(stop,)), START).blocking()
    assert (held.code, "setpoint release web staging" in held.fix) == ("HOLD", True)
