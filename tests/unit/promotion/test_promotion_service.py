"""The promotion service over real Git, journal and projection: what is proposed, decided, pinned, taken back; and what a crash leaves."""

from dataclasses import replace

import pytest

from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, WorldError
from setpoint.core.reasons import Outcome
from setpoint.core.records import encode
from setpoint.ground.identity.model import Principal
from setpoint.promotion.facts import FactGatherer
from setpoint.promotion.model import GateFacts, Promotion, PromotionState
from setpoint.promotion.repository import Delivery
from unit.builders_home import ADA, DELIVERY, OPERATOR, PAT, SAM, KilledError, World


def test_a_build_goes_to_the_first_environment_by_itself_and_waits_for_approval_in_the_next(world: World) -> None:
    """Without gates a candidate is pinned at once; prod gets the same content and waits for a person."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    assert world.version("staging") == "1"
    world.healthy("staging")
    service.advance()
    (waiting,) = world.promotions("prod")
    assert waiting.state is PromotionState.OPEN
    explanation = service.explain("web", "prod")
    assert [reason.code for reason in explanation.verdict.blocking()] == ["APPROVAL_MISSING"]
    service.approve(waiting.promotion, PAT, "ship it")
    service.advance()
    staging, prod = world.pinned("staging"), world.pinned("prod")
    assert staging is not None
    assert prod is not None
    assert prod.candidate.same_content(staging.candidate)
    assert prod.candidate.environment_tree != staging.candidate.environment_tree
    assert world.states("prod") == ["pinned"]


def test_nothing_more_happens_when_everything_is_pinned(world: World) -> None:
    """A pass over a settled home writes no entry and no commit."""
    world.register()
    world.build("1")
    service = world.service()
    world.to_prod(service)
    entries, head = len(world.journal), world.git.heads("delivery")
    service.advance()
    world.service().advance()
    assert (len(world.journal), world.git.heads("delivery")) == (entries, head)


def test_a_newer_candidate_supersedes_the_one_that_waits(world: World) -> None:
    """One promotion is open per application and environment; the older names its successor."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
        world.healthy("staging")
        service.advance()
    first, second = world.promotions("prod")
    assert (first.state, first.superseded_by, second.state) == (PromotionState.SUPERSEDED, second.promotion, PromotionState.OPEN)


def test_a_failed_run_is_no_candidate(world: World) -> None:
    """Only a passed run's artifacts are proposed; an older passed one still is."""
    from setpoint.pipeline.model import RunState

    world.register()
    world.build("1")
    world.build("2", state=RunState.FAILED)
    world.service().advance()
    assert world.version("staging") == "1"


def test_a_denied_candidate_is_not_asked_again_by_itself_but_when_a_person_asks(world: World) -> None:
    """A FAILED policy denies once; the loop leaves it, `request` opens it anew, and then it may pass."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    world.passes = False
    service.advance()
    service.advance()
    assert world.states("prod") == ["denied"]
    assert service.explain("web", "prod").verdict.outcome is Outcome.DENY
    world.passes = True
    service.advance()
    assert world.states("prod") == ["denied"]
    asked = service.request("web", "prod", SAM, "again, please")
    assert (asked.requested_by, world.states("prod")) == ("person:sam@example.com", ["denied", "open"])
    with pytest.raises(NotAllowedError, match="requested this promotion"):
        service.approve(asked.promotion, SAM, "")
    service.approve(asked.promotion, PAT, "")
    service.advance()
    assert world.states("prod") == ["denied", "pinned"]


def test_a_denied_candidate_that_comes_back_ends_what_waits_beside_it(world: World) -> None:
    """When HEAD returns to what was denied, the promotion of the configuration in between is no longer open."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    world.passes = False
    service.advance()
    world.passes = True
    world.commit("delivery", {"environments/prod/web/patch.yaml": b"patch 2"})
    service.advance()
    assert world.states("prod") == ["denied", "open"]
    world.commit("delivery", {"environments/prod/web/patch.yaml": b"patch 1"})
    service.advance()
    assert world.states("prod") == ["denied", "superseded"]


def test_joining_an_open_promotion_makes_the_caller_its_requester(world: World) -> None:
    """Who asks for what waits already is its requester, and so cannot approve it."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    joined = service.request("web", "prod", PAT, "")
    assert joined.promotion == world.promotions("prod")[0].promotion
    with pytest.raises(NotAllowedError, match="requested this promotion"):
        service.approve(joined.promotion, PAT, "")


def test_a_request_without_a_candidate_says_why(world: World) -> None:
    """Nothing to promote is a conflict with the proposal's own reason."""
    world.register()
    with pytest.raises(ConflictError, match="no run of the source has built one yet"):
        world.service().request("web", "staging", ADA)


@pytest.mark.parametrize(
    ("who", "error", "says"),
    [
        (OPERATOR, NotAllowedError, "nobody's approval"),
        (ADA, NotAllowedError, "may not approve here"),
        (Principal("person", "bot@example.com"), NotAllowedError, "may not approve here"),
        (Principal("person", "eve@example.com"), NotAllowedError, "may not approve here"),
    ],
)
def test_who_may_not_approve_is_told_so(world: World, who: Principal, error: type[Exception], says: str) -> None:
    """The operator, people outside the team, machines and strangers cannot approve."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    with pytest.raises(error, match=says):
        service.approve(world.promotions("prod")[0].promotion, who, "")


def test_an_author_pusher_or_twofold_approval_does_not_count(world: World) -> None:
    """The author of the candidate's commit is refused even as an approver; one person approves once; a decided one is closed."""
    world.register()
    world.build("1", author="pat@example.com")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    name = world.promotions("prod")[0].promotion
    with pytest.raises(NotAllowedError, match="author of"):
        service.approve(name, PAT, "")
    service.approve(name, SAM, "")
    with pytest.raises(ConflictError, match="already"):
        service.approve(name, SAM, "")
    service.advance()
    with pytest.raises(ConflictError, match="not open"):
        service.approve(name, SAM, "")


def test_an_environment_without_approvals_asks_for_none(world: World) -> None:
    """Approving where nobody asked for it is a conflict, not a silent yes."""
    world.register()
    world.build("1")
    world.render_error = "broken"
    service = world.service()
    service.advance()
    denied = world.promotions("staging")[0]
    assert denied.state is PromotionState.DENIED
    world.render_error = ""
    asked = service.request("web", "staging", SAM)
    with pytest.raises(ConflictError, match="asks for no approval"):
        service.approve(asked.promotion, SAM, "")


def test_approvals_do_not_survive_a_change_of_policy(world: World) -> None:
    """A new environment.yaml makes a new binding: the approved promotion is superseded and must be approved again."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    service.approve(world.promotions("prod")[0].promotion, PAT, "")
    stricter = DELIVERY["environments/prod/environment.yaml"].replace(b"failed == 0", b"failed < 1")
    world.commit("delivery", {"environments/prod/environment.yaml": stricter}, pusher="sam@example.com")
    service.advance()
    assert world.states("prod") == ["superseded", "open"]
    assert world.version("prod") == ""


def test_a_rollback_pins_the_earlier_candidate_and_bars_the_bad_one(world: World) -> None:
    """Rollback is a new commit; the loop does not promote the barred candidate again; lifting lets it in again."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
    assert world.version("staging") == "2"
    back = service.rollback("web", "staging", OPERATOR, "", "it leaks")
    assert (back.kind, back.state, world.version("staging")) == ("rollback", PromotionState.PINNED, "1")
    service.advance()
    world.service().advance()
    assert world.version("staging") == "1"
    explanation = service.explain("web", "staging")
    assert [reason.code for reason in explanation.proposal.reasons] == ["QUARANTINED"]
    assert "it leaks" in explanation.proposal.reasons[0].found
    assert service.lift("web", "staging", OPERATOR) == 1
    service.advance()
    assert world.version("staging") == "2"
    with pytest.raises(ConflictError, match="nothing is quarantined"):
        service.lift("web", "staging", OPERATOR)


def test_a_second_rollback_goes_one_further_back_and_then_there_is_nothing_left(world: World) -> None:
    """Each rollback bars what it overrides, so it never returns to it."""
    world.register()
    service = world.service()
    for version in ("1", "2", "3"):
        world.build(version)
        service.advance()
    for expected in ("2", "1"):
        service.rollback("web", "staging", OPERATOR, "", "")
        service.advance()
        assert world.version("staging") == expected
    with pytest.raises(ConflictError, match="no earlier candidate"):
        service.rollback("web", "staging", OPERATOR, "", "")
    with pytest.raises(ConflictError, match="never pinned here"):
        service.rollback("web", "staging", OPERATOR, "3", "")


def test_a_new_build_after_a_rollback_is_promoted(world: World) -> None:
    """A quarantine bars the bad candidate, not its successor."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
    service.rollback("web", "staging", OPERATOR, "1", "")
    world.build("3")
    service.advance()
    assert world.version("staging") == "3"


def test_only_owners_approvers_and_the_operator_roll_back(world: World) -> None:
    """Somebody else's rollback or lift is refused and changes nothing."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
    with pytest.raises(NotAllowedError, match="neither owner nor approver"):
        service.rollback("web", "staging", SAM, "", "")
    with pytest.raises(NotAllowedError):
        service.lift("web", "staging", SAM)
    assert "quarantine.set" not in world.kinds()
    assert service.rollback("web", "staging", ADA, "", "").state is PromotionState.PINNED


def test_a_rollback_ends_what_was_decided_but_not_pinned(world: World) -> None:
    """An older decision that could not be pinned never overrides a rollback that came after it."""
    world.register()
    service = world.service()
    for version in ("1", "2", "3"):
        world.build(version)
        service.advance()
    world.signer_gone = True
    assert service.rollback("web", "staging", OPERATOR, "2", "").state is PromotionState.DECIDED
    world.signer_gone = False
    service.rollback("web", "staging", OPERATOR, "1", "")
    service.advance()
    assert world.version("staging") == "1"
    assert sorted(world.states("staging")[-2:]) == ["pinned", "superseded"]


def test_a_lost_race_is_decided_on_the_new_head(world: World) -> None:
    """When somebody commits while the signer works, nothing is forced: the next pass pins on top, with the new configuration."""
    world.register()
    world.build("1")
    world.moved_by = {"apps/web/app.yaml": b"base 2"}
    service = world.service()
    service.advance()
    assert world.version("staging") == ""
    service.advance()
    service.advance()
    pinned = world.pinned("staging")
    assert pinned is not None
    assert pinned.candidate.app_tree == world.reader.tree(world.delivery(), "apps/web")
    head = world.git.heads("delivery")["main"]
    assert world.git.read("delivery", head, "apps/web/app.yaml") == b"base 2"
    assert world.states("staging") == ["superseded", "pinned"]


def test_a_gone_signer_is_waited_for(world: World) -> None:
    """What is decided stays decided while the signer is away, and is pinned when it is back."""
    world.register()
    world.build("1")
    service = world.service()
    world.signer_gone = True
    for _ in range(2):
        with pytest.raises(WorldError):
            service.advance()
    assert world.states("staging") == ["decided"]
    world.signer_gone = False
    service.advance()
    assert world.states("staging") == ["pinned"]


def test_the_promotion_of_an_environment_that_is_gone_ends(world: World) -> None:
    """An environment that its owners removed leaves no decision behind that can never be carried out."""
    world.register()
    world.build("1")
    service = world.service()
    world.signer_gone = True
    with pytest.raises(WorldError):
        service.advance()
    world.signer_gone = False
    alone = DELIVERY["environments/prod/environment.yaml"].replace(b"after: [staging]\n", b"")
    removed = ["environments/staging/environment.yaml"]
    files = {"environments/prod/environment.yaml": alone}
    world.commit("delivery", files, remove=removed, pusher="sam@example.com")
    world.recorder.record(
        "baseline.accepted", "delivery", "operator", {"commit": world.git.heads("delivery")["main"], "why": "by commit id"}
    )
    service.advance()
    assert world.states("staging") == ["superseded"]


def _end_state(world: World) -> tuple[object, ...]:
    commits = [c.title for c in world.git.history("delivery", world.git.heads("delivery")["main"])]
    statements = sorted((e.promotion, e.result) for e in world.records.evidence())
    return (world.version("staging"), world.version("prod"), sorted(commits), len(statements), world.states("staging"))


def test_killed_before_any_entry_and_started_again_the_end_is_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Law 5: a server that dies before the n-th entry of a pass ends, after restart, where one that never died ends; nothing is doubled."""

    def prepared(name: str) -> World:
        made = World(tmp_path_factory.mktemp(name))
        made.register()
        made.build("1")
        return made

    calm = prepared("calm")
    calm.service().advance()
    calm.service().advance()
    wanted = _end_state(calm)
    for lives in range(8):
        world = prepared(f"killed{lives}")
        world.recorder.lives = lives
        died = False
        try:
            world.service().advance()
        except KilledError:
            died = True
        world.recorder.lives = None
        for _ in range(2):
            world.service().advance()
        assert _end_state(world) == wanted, lives
        assert world.kinds().count("promotion.pinned") == 1
        assert world.kinds().count("promotion.created") == calm.kinds().count("promotion.created")
        assert died == (lives < 6), lives


def test_a_rollback_killed_anywhere_ends_with_one_rollback(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A rollback whose server dies before its n-th entry is finished by the loop, or begun again by a person; the bad one stays out."""
    for lives in range(7):
        world = World(tmp_path_factory.mktemp(f"back{lives}"))
        world.register()
        service = world.service()
        for version in ("1", "2"):
            world.build(version)
            service.advance()
        world.recorder.lives = lives
        try:
            service.rollback("web", "staging", OPERATOR, "", "bad")
        except KilledError:
            world.recorder.lives = None
            service = world.service()
            service.advance()
            if world.version("staging") == "2":
                service.rollback("web", "staging", OPERATOR, "", "bad")
        world.recorder.lives = None
        world.service().advance()
        assert world.version("staging") == "1", lives
        head = world.git.heads("delivery")["main"]
        titles = [c.title for c in world.git.history("delivery", head)]
        assert sum(title.startswith("Roll back") for title in titles) == 1, lives


def test_a_denial_killed_before_its_statement_gets_it_at_the_next_pass(world: World) -> None:
    """The FAILED statement of a denied candidate is attached even when the server died between decision and statement."""
    world.register()
    world.build("1")
    world.render_error = "no"
    world.recorder.lives = 2
    with pytest.raises(KilledError):
        world.service().advance()
    world.recorder.lives = None
    assert world.records.evidence() == []
    world.service().advance()
    assert [e.result for e in world.records.evidence()] == ["FAILED"]


def test_an_approval_killed_before_its_statement_gets_it_with_the_decision(world: World) -> None:
    """A journalled approval counts, and its signed statement is attached before the promotion is decided."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    name = world.promotions("prod")[0].promotion
    world.recorder.lives = 1
    with pytest.raises(KilledError):
        service.approve(name, PAT, "")
    world.recorder.lives = None
    world.service().advance()
    assert world.states("prod") == ["pinned"]
    assert len(world.records.evidence(promotion=name)) == 2


def test_more_promotions_than_a_page_of_them_keep_names_of_their_own(world: World) -> None:
    """A candidate that is asked again after a long history gets a promotion of its own."""
    world.register()
    world.build("1")
    world.render_error = "no"
    service = world.service()
    service.advance()
    (denied,) = world.promotions("staging")
    for number in range(100):
        older = replace(denied, promotion=f"p-{number}")
        world.recorder.record("promotion.created", older.promotion, "setpoint", encode(older))
    names = set()
    for _ in range(2):
        world.clock.move(1)
        names.add(service.request("web", "staging", OPERATOR).promotion)
        service.advance()
    assert len(names) == 2
    assert denied.promotion not in names


def test_unknown_names_are_said(world: World) -> None:
    """No delivery repository, application, environment or promotion of that name: not found."""
    with pytest.raises(NotFoundError):
        world.service().explain("web", "prod")
    world.register()
    service = world.service()
    for app, environment in (("shop", "prod"), ("web", "moon")):
        with pytest.raises(NotFoundError):
            service.explain(app, environment)
    with pytest.raises(NotFoundError):
        service.find("p-")


def test_a_promotion_is_found_by_a_unique_beginning(world: World) -> None:
    """People type the first letters."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    name = world.promotions("staging")[0].promotion
    assert service.find(name[:6]).promotion == name


def test_an_approval_binds_to_what_is_destroyed(world: World) -> None:
    """A removal more than was approved needs a new approval; what was approved with a pin is confirmed by it."""
    world.register()
    world.build("1")
    service = world.service()
    world.to_prod(service)
    world.build("2")
    service.advance()
    world.healthy("staging")
    world.lost = ("Deployment/worker: its replicas stop",)
    service.advance()
    waiting = next(p for p in world.promotions("prod") if p.state is PromotionState.OPEN)
    assert waiting.losses == world.lost
    service.approve(waiting.promotion, PAT, "one goes")
    world.lost = ("Deployment/api: its replicas stop", "Deployment/worker: its replicas stop")
    service.advance()
    again = next(p for p in world.promotions("prod") if p.state is PromotionState.OPEN)
    assert again.promotion != waiting.promotion
    assert world.version("prod") == "1"
    service.approve(again.promotion, PAT, "both go")
    service.advance()
    assert world.version("prod") == "2"
    assert world.records.approved_losses(again.promotion) == ("Deployment/api", "Deployment/worker")
    assert world.records.approved_losses(waiting.promotion) == ()


def test_a_verdict_is_shown_again_while_nothing_it_rests_on_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` judges nothing a second time; an entry or commit about the place, or a passed instant, is a reason to (law 6)."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    judged: list[str] = []
    real = FactGatherer.gather

    def gather(self: FactGatherer, promotion: Promotion, delivery: Delivery) -> GateFacts:
        judged.append(promotion.promotion)
        return real(self, promotion, delivery)

    monkeypatch.setattr(FactGatherer, "gather", gather)
    first = service.explain("web", "prod").verdict
    assert service.explain("web", "prod").verdict == first
    assert judged == [], "the loop's own verdict is shown"
    world.recorder.record("repository.created", "other", "operator", {})
    world.commit("delivery", {"apps/api/app.yaml": b"another application's"}, pusher=None)
    assert service.explain("web", "prod").verdict == first
    assert judged == [], "neither an entry nor a commit about something else is a reason"
    world.pushed("delivery", "0" * 40, world.delivery().head, "pat@example.com")
    service.explain("web", "prod")
    assert len(judged) == 1, "who pushed configuration may not approve it: a push that becomes known is a reason"
    world.clock.move(60)
    service.explain("web", "prod")
    assert len(judged) == 2
    world.commit("delivery", {"environments/prod/web/patch.yaml": b"patch 2"})
    service.explain("web", "prod")
    assert len(judged) == 3
    (promotion,) = world.promotions("prod")
    service.approve(promotion.promotion, PAT, "yes")
    assert service.explain("web", "prod").verdict.outcome is Outcome.ALLOW
    assert len(judged) > 2
