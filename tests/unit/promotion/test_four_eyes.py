"""Attempts to get in without a second person: by trailers, merges, upper case, removed people, replays, machines and old approvals."""

from dataclasses import replace

import pytest

from setpoint.core.errors import NotAllowedError, WorldError
from setpoint.core.records import encode
from setpoint.evidence.model import APPROVAL
from setpoint.ground.hold.model import Hold
from setpoint.ground.identity.model import Principal
from setpoint.promotion.model import Approval
from setpoint.promotion.service import PromotionService
from unit.builders_home import DELIVERY, OPERATOR, PAT, SAM, SETPOINT, World


def _waiting(world: World) -> PromotionService:
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    return service


def _approvals(service: PromotionService) -> str:
    found = service.explain("web", "prod").verdict.reasons
    return next(f"{reason.code}: {reason.found}" for reason in found if reason.subject == "approvals")


def test_a_co_author_is_an_author(world: World) -> None:
    """`Co-authored-by:` in any case and anywhere in the message excludes the person behind the address."""
    world.register()
    world.message = "feature\n\nco-Authored-By: Pat <PAT@Example.com>\n\nCo-authored-by: Sam <sam@example.com>\nSigned-off-by: x\n"
    world.build("1")
    service = _waiting(world)
    with pytest.raises(NotAllowedError, match="co-author of"):
        service.approve(world.promotions("prod")[0].promotion, PAT, "")
    with pytest.raises(NotAllowedError, match="co-author of"):
        service.approve(world.promotions("prod")[0].promotion, SAM, "")


def test_a_merge_brings_its_authors_along(world: World) -> None:
    """Who wrote the side branch, who merged, and who pushed the merge are all excluded."""
    world.register()
    world.build("1")
    world.to_prod(world.service())
    first = world.git.heads("hello")["main"]
    side = world.commit("hello", {"d": b"4"}, author="pat@example.com", pusher=None)
    main = world.commit("hello", {"e": b"5"}, parents=[first], author="ada@example.com", pusher=None)
    world.commit("hello", {"d": b"4"}, parents=[main, side], author="ada@example.com", pusher="sam@example.com")
    world.build("2", author="ada@example.com")
    service = _waiting(world)
    excluded = _approvals(service)
    assert "pat: author of" in excluded
    assert "sam: pushed" in excluded
    assert "too few people may approve" in excluded


def test_an_address_in_another_case_is_the_same_person(world: World) -> None:
    """Four eyes are not two spellings: author, token and directory are compared without case."""
    world.register()
    world.build("1", author="PAT@EXAMPLE.COM")
    service = _waiting(world)
    with pytest.raises(NotAllowedError, match="author of"):
        service.approve(world.promotions("prod")[0].promotion, Principal("person", "Pat@Example.Com"), "")
    service.approve(world.promotions("prod")[0].promotion, Principal("person", "SAM@example.com"), "")
    service.advance()
    assert world.version("prod") == "1"


def test_an_approval_that_is_journalled_is_given_although_its_statement_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signer that is gone, or a registry without room, is no reason to say that it failed; the statement follows with the decision."""
    world.register()
    world.build("1")
    service = _waiting(world)
    name = world.promotions("prod")[0].promotion

    def gone(*_: object) -> None:
        raise WorldError("SP405", "the signer is gone")

    with monkeypatch.context() as without:
        without.setattr(world.evidence, "attach_approval", gone)
        assert service.approve(name, SAM, "yes").promotion == name
    assert [a.email for a in world.records.approvals(name)] == ["sam@example.com"]
    service.advance()
    assert len([e for e in world.records.evidence(promotion=name) if e.predicate_type == APPROVAL]) == 1


def test_a_machine_cannot_approve(world: World) -> None:
    """A machine account in the approving team is nobody's second pair of eyes; an entry it gets into the journal does not count."""
    world.register()
    world.build("1")
    service = _waiting(world)
    waiting = world.promotions("prod")[0]
    with pytest.raises(NotAllowedError, match="may not approve"):
        service.approve(waiting.promotion, Principal("person", "bot@example.com"), "")
    forged = Approval(waiting.promotion, "bot", "bot@example.com", waiting.binding, "", "2026-11-23T06:00:00.000Z")
    world.recorder.record("approval.given", waiting.promotion, "person:bot@example.com", encode(forged))
    service.advance()
    assert world.version("prod") == ""
    assert "bot: not one of" in _approvals(service)


def test_who_left_the_team_after_approving_does_not_count(world: World) -> None:
    """The directory in force when it is decided says who may approve, not the one of the moment of approving."""
    world.register(
        {**DELIVERY, "environments/prod/environment.yaml": DELIVERY["environments/prod/environment.yaml"].replace(b"d: 1", b"d: 2")}
    )
    world.build("1")
    service = _waiting(world)
    service.approve(world.promotions("prod")[0].promotion, PAT, "")
    third = SETPOINT.replace(b"sre: [sam, pat, bot]", b"sre: [sam, cleo]").replace(
        b"people:", b"people:\n  cleo: {emails: [cleo@example.com]}"
    )
    world.commit("delivery", {"setpoint.yaml": third}, pusher="sam@example.com", author="sam@example.com")
    service.advance()
    assert _approvals(service).startswith("APPROVAL_MISSING: 0 of 2 (nobody); does not count: pat: not one of team:sre")


def test_who_adds_himself_to_the_team_gains_nothing(world: World) -> None:
    """Law 9: the push that makes ada an approver is judged by the files before it."""
    world.register()
    world.build("1", author="sam@example.com")
    service = _waiting(world)
    mine = SETPOINT.replace(b"sre: [sam, pat, bot]", b"sre: [sam, pat, bot, ada]")
    world.commit("delivery", {"setpoint.yaml": mine}, pusher="ada@example.com")
    service.advance()
    with pytest.raises(NotAllowedError, match="may not approve"):
        service.approve(world.promotions("prod")[0].promotion, Principal("person", "ada@example.com"), "")


def test_an_approval_for_another_promotion_is_not_replayed(world: World) -> None:
    """An approval belongs to one binding: copied to another promotion's entry it is void, and says so."""
    world.register()
    world.build("1")
    service = _waiting(world)
    first = world.promotions("prod")[0]
    service.approve(first.promotion, PAT, "")
    world.build("2")
    service = _waiting(world)
    second = world.promotions("prod")[-1]
    given = world.records.approvals(first.promotion)[0]
    world.recorder.record("approval.given", second.promotion, "person:pat@example.com", encode(replace(given, promotion=second.promotion)))
    service.advance()
    assert world.version("prod") != "2"
    assert "pat: given to another render" in _approvals(service)


def test_a_loss_that_came_later_needs_a_new_approval(world: World) -> None:
    """Approvals bind to what is removed: when the candidate now also removes something, the approved promotion is superseded."""
    world.register()
    world.build("1")
    world.to_prod(world.service())
    world.build("2")
    service = _waiting(world)
    service.approve(world.promotions("prod")[-1].promotion, PAT, "")
    world.lost = ("Deployment/worker: its replicas stop",)
    service.advance()
    assert (world.states("prod"), world.version("prod")) == (["pinned", "superseded", "open"], "1")
    assert "DESTRUCTIVE" in [reason.code for reason in service.explain("web", "prod").verdict.reasons]


def test_an_expired_approval_lets_nothing_in_and_is_given_again(world: World) -> None:
    """What waits behind a hold for longer than an approval lasts asks the person once more; the second yes counts."""
    world.register()
    world.build("1")
    service = _waiting(world)
    name = world.promotions("prod")[0].promotion
    world.passes = True
    held = world.holds.open(replace(_stop(), environment="prod"))
    service.approve(name, PAT, "")
    world.clock.move(86_400)
    world.holds.close(held, "operator", "released")
    service.advance()
    assert (_approvals(service).partition(":")[0], world.version("prod")) == ("APPROVAL_EXPIRED", "")
    service.approve(name, PAT, "still good")
    service.advance()
    assert world.version("prod") == "1"


def _stop() -> Hold:
    return Hold("", "stop", "", "web", "operator", "audit", "")


def test_only_a_rollback_moves_back(world: World) -> None:
    """Staging goes back to 1 while prod runs 2: 1 is not promoted over 2, and the reason says how one goes back."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version, author="sam@example.com")
        _waiting(world)
        service.approve(world.promotions("prod")[-1].promotion, PAT, "")
        service.advance()
    assert world.version("prod") == "2"
    service.rollback("web", "staging", OPERATOR, "", "bad")
    world.healthy("staging")
    service.advance()
    found = service.explain("web", "prod")
    assert (world.version("staging"), world.version("prod"), found.promotion) == ("1", "2", None)
    assert found.proposal.reasons[0].code == "MOVES_BACK"
    assert found.proposal.reasons[0].fix == "setpoint rollback web prod"


def test_a_git_revert_deploys(world: World) -> None:
    """The order is that of commits, not of digests: a revert that builds the old digest anew is newer than what it reverts."""
    world.register()
    service = world.service()
    for number, content in (("1", "1"), ("2", "2"), ("3", "1")):
        world.build(number, content=content, author="sam@example.com")
        _waiting(world)
        service.approve(world.promotions("prod")[-1].promotion, PAT, "")
        service.advance()
        assert world.version("prod") == number
