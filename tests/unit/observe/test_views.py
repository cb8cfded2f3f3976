"""Status, why, runs and traces: the stages' own words joined, nothing decided anew."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from setpoint.core.errors import NotFoundError, UserError
from setpoint.core.reasons import Outcome
from setpoint.core.records import encode
from setpoint.observe import rollouts
from setpoint.observe.runs import RunsView
from setpoint.observe.status import Beside, StatusView
from setpoint.observe.trace import TraceView
from setpoint.pipeline.model import RunState
from setpoint.promotion.explaining import Explanation
from setpoint.reconcile.model import Container, Deployment, DeployReason, Health, Identity, ReplicaSpec, ReplicaStatus
from setpoint.rollout.canary.decide import begin
from setpoint.rollout.model import Coming, Phase, Rollout, Side
from unit.builders_home import ADA, DELIVERY, PAT, World


def _status(world: World) -> StatusView:
    return StatusView(world.reader, world.service(), world.records)


def _replica(world: World) -> ReplicaStatus:
    pin = world.pinned("staging")
    assert pin is not None
    image = pin.candidate.artifacts["web"]
    identity = Identity("web", "staging", pin.source_revision, image.digest, pin.promotion, pin.version)
    container = Container("c", f"{image.oci_repository}@{image.digest}", None, None, {}, {}, 80, None, None)
    spec = ReplicaSpec("staging-web-web-1-a", "web", "h", 9001, container, identity, 30.0)
    return ReplicaStatus(spec, True, 4711, "2026-11-23T06:00:00.000Z", 0, "")


def _trace(world: World, replicas: list[ReplicaStatus] | None = None, headers: dict[str, str] | None = None) -> TraceView:
    return TraceView(world.records, world.git, world.reader, lambda: replicas or [], lambda _url: headers or {})


def _kinds(view: TraceView, thing: str) -> list[str]:
    return [step.kind for step in view.trace(thing).steps]


def test_an_empty_home_says_what_to_do(world: World) -> None:
    """No delivery repository: one need, with the command."""
    status = _status(world).status()
    assert (status.cells, [need.command.split()[:2] for need in status.needs]) == ((), [["setpoint", "init"]])


def test_the_matrix_shows_what_runs_and_what_waits_with_the_gates_own_reasons(world: World) -> None:
    """Staging is healthy, prod is empty and waits for a person; the reasons are those of the gate."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    status = _status(world).status()
    assert (status.apps, status.environments) == (("web",), ("staging", "prod"))
    staging, prod = status.cells
    assert (staging.health, staging.waiting, prod.health) == ("healthy", None, "empty")
    assert prod.waiting is not None
    gate = service.explain("web", "prod").verdict
    assert prod.waiting.reasons == gate.blocking()
    assert [need.command for need in status.needs] == [f"setpoint approve {prod.waiting.promotion}"]
    assert status.settled
    why = _status(world).why("web", "prod")
    assert why.reasons[: len(gate.reasons)] == gate.reasons
    assert (why.outcome, why.next) == (Outcome.WAIT, f"setpoint approve {prod.waiting.promotion}")
    assert why.sentence.startswith("1 (")
    assert "is NOT in prod yet" in why.sentence


def test_a_disk_that_is_nearly_full_needs_somebody(world: World) -> None:
    """Status, and so the first page, say it with the command that helps; a disk with room is not mentioned."""
    view = StatusView(world.reader, world.service(), world.records, beside=Beside(room=lambda: "the disk is nearly full"))
    needs = [(need.what, need.command) for need in view.status().needs]
    assert ("the disk is nearly full", "setpoint gc") in needs
    assert all(need.command != "setpoint gc" for need in _status(world).status().needs)


def test_configuration_alone_is_told_apart_from_a_version(world: World) -> None:
    """What is missing is the commit of the configuration: the version that runs already is never said to be missing."""
    world.register()
    world.build("1")
    service = world.service()
    world.to_prod(service)
    world.healthy("prod")
    commit = world.commit("delivery", {"environments/prod/web/x.yaml": b"b"}, pusher="sam@example.com")
    service = world.service()
    service.advance()
    (waiting,) = [p for p in world.promotions("prod") if p.state == "open"]
    name = f"configuration {commit[:7]} of 1"
    assert (waiting.version, waiting.configuration, waiting.names) == ("1", commit, name)
    view = _status(world)
    why = view.why("web", "prod")
    assert why.sentence.startswith(f"The {name} is NOT in prod yet. web in prod runs 1 (")
    assert why.sentence.endswith(", healthy with an earlier configuration.")
    status = view.status()
    assert [cell.waiting.configuration for cell in status.cells if cell.waiting] == [commit]
    assert [need.what.partition(" waits")[0] for need in status.needs] == [f"web in prod: {name}"]
    assert world.promotions("staging")[0].configuration == "", "a build is told by its version"


def test_during_a_return_why_and_status_say_the_same(world: World) -> None:
    """From the moment that a hold overrides what was seen healthy, neither calls it healthy, whatever the reconciler has not noted yet."""
    world.register()
    service = world.service()
    for version in ("1", "2"):
        world.build(version)
        service.advance()
        world.healthy("staging")
    pin = world.pinned("staging")
    assert pin is not None
    world.signer_gone = True
    assert service.send_back("web", "staging", pin.commit, ()).done
    view = StatusView(world.reader, service, world.records)
    cell = view.status("web").cells[0]
    why = view.why("web", "staging")
    assert (cell.health, why.running) == (Health.PROGRESSING, cell)
    assert "It was rolled back to 1" in why.sentence
    assert "2 (" in why.sentence
    assert not view.status("web").settled


def test_an_entry_that_comes_while_a_place_is_read_has_it_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The explanation and what was observed are of one moment: else a return could be told half before and half after."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    view = StatusView(world.reader, service, world.records, version=lambda: len(world.journal))
    explain, asked = service.explain, []

    def interrupted(app: str, environment: str) -> Explanation:
        found = explain(app, environment)
        asked.append(environment)
        if len(asked) == 1:
            world.healthy("staging")
        return found

    monkeypatch.setattr(service, "explain", interrupted)
    assert view.why("web", "staging").running.health == "healthy"
    assert asked == ["staging", "staging"]


def test_a_canary_that_was_sent_back_is_told_as_sent_back_when_the_old_version_has_its_place_again() -> None:
    """The rollback's own rollout never reads as if the bad version were rolled out, and following it does not end well."""
    now = datetime(2026, 11, 25, tzinfo=UTC)
    old, bad = Side("p-1", "c1", "1", {"web": "h1"}), Side("p-2", "c2", "2", {"web": "h2"})
    canary = Rollout("ro-1", "web", "prod", "canary", Phase.RETURNED, bad, old, "2026-11-25T00:00:00.000Z", "2026-11-25T00:00:00.000Z")
    back = begin(canary, Coming("web", "prod", old, None, can_split=False), now).rollout
    assert rollouts.report(back).sentence == "web in prod: 2 was sent back by its canary; 1 takes over again replica by replica"
    done = replace(back, phase=Phase.FINISHED)
    pinned = begin(done, Coming("web", "prod", replace(old, promotion="p-3", pin_commit="c3"), None, can_split=False), now).rollout
    assert rollouts.report(pinned).sentence == "web in prod: 2 was sent back by its canary; 1 serves again"
    assert (rollouts.report(pinned).sent_back, rollouts.report(canary).sent_back) == ("2", "2")
    newer = begin(pinned, Coming("web", "prod", Side("p-4", "c4", "4", {"web": "h4"}), None, can_split=False), now).rollout
    assert rollouts.report(newer).sent_back == ""


def test_a_rollout_says_what_is_about_to_begin(world: World) -> None:
    """Let in and not pinned, pinned and not looked at: the newest rollout is not the last word; a wait for a person is no beginning."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    begun = Rollout("ro-1", "web", "staging", "rolling", Phase.FINISHED, Side("p-0", "c", "0", {}), None, "t", "t")
    for place in ("staging", "prod"):
        entry = encode(replace(begun, environment=place))
        world.recorder.record("rollout.finished", f"web/{place}", "setpoint", entry)
    view = _status(world)
    assert view.rollout("web", "staging").coming == "1"
    world.healthy("staging")
    assert view.rollout("web", "staging").coming == ""
    service.advance()
    assert view.rollout("web", "prod").coming == ""
    (promotion,) = world.promotions("prod")
    service.approve(promotion.promotion, PAT, "")
    assert view.rollout("web", "prod").coming == "1"
    service.advance()
    assert view.rollout("web", "prod").coming == "1"
    world.healthy("prod")
    assert view.rollout("web", "prod").coming == ""


def test_a_canary_that_is_held_needs_a_person(world: World) -> None:
    """Without traffic it goes on by nobody's word: status says so beside the command."""
    world.register()
    world.build("1")
    world.service().advance()
    reason = DeployReason("NODATA", "canary", "the canary answered 0 requests", "setpoint rollout web staging --resume")
    seen = Deployment("web", "staging", "p-1", "c", Health.SUSPENDED, "t", (reason,))
    world.recorder.record("deployment.observed", "web/staging", "setpoint", encode(seen))
    assert "setpoint rollout web staging --resume" in [need.command for need in _status(world).status().needs]


def test_a_new_pin_is_progressing_until_it_was_seen_healthy(world: World) -> None:
    """Health of the earlier pin is not shown for the new one."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    assert _status(world).status().cells[0].health == "progressing"
    world.healthy("staging")
    world.build("2")
    service.advance()
    status = _status(world).status()
    assert status.cells[0].health == "progressing"
    assert not status.settled


def test_why_of_what_runs_says_there_is_nothing_to_do(world: World) -> None:
    """Everything pinned and healthy: allowed, with the reasons it was admitted for."""
    world.register()
    world.build("1")
    service = world.service()
    world.to_prod(service)
    world.healthy("prod")
    why = _status(world).why("web", "prod")
    assert (why.outcome, why.next, why.sentence.endswith("healthy.")) == (Outcome.ALLOW, "nothing to do", True)
    assert {"PINNED", "APPROVED", "POLICY_PASSED"} <= {reason.code for reason in why.reasons}


def test_what_is_not_accepted_or_faulty_is_a_notice(world: World) -> None:
    """Law 9 is visible: a pending change of the gates, and faults of the version in force."""
    world.register()
    world.commit("delivery", {"setpoint.yaml": DELIVERY["setpoint.yaml"] + b"# x\n"}, pusher="ada@example.com")
    assert [reason.code for reason in _status(world).status().notices] == ["NOT_ACCEPTED"]
    bad = world.commit("delivery", {"setpoint.yaml": b"nonsense: 1\n"}, pusher="sam@example.com")
    world.recorder.record("baseline.accepted", "delivery", "operator", {"commit": bad, "why": "unread"})
    notices = _status(world).status().notices
    assert notices
    assert all(notice.subject.startswith("setpoint.yaml:") for notice in notices)


def test_an_unknown_application_is_not_found(world: World) -> None:
    """A typing mistake is said, with what there is."""
    world.register()
    with pytest.raises(NotFoundError, match="shop"):
        _status(world).status("shop")


def test_a_run_is_found_by_id_beginning_commit_or_as_the_latest(world: World) -> None:
    """People name runs in all these ways; nothing or several is said."""
    view = RunsView(world.records, cast("Any", None))
    with pytest.raises(NotFoundError, match="no run yet"):
        view.find("latest")
    first, second = world.build("1"), world.build("2", state=RunState.FAILED)
    assert {view.find(text).run for text in ("r-2", "latest", second.revision[:10])} == {"r-2"}
    assert view.find(first.revision).run == "r-1"
    for text, says in (("r-", "2 runs begin"), ("x", "no run `x`")):
        with pytest.raises(NotFoundError, match=says):
            view.find(text)


def test_everything_that_runs_leads_back_to_its_commit(world: World) -> None:
    """From a process, a replica, a URL, a digest, a promotion or a run: the chain ends at the revision."""
    world.register()
    record = world.build("1")
    world.service().advance()
    world.healthy("staging")
    replica = _replica(world)
    promotion = world.promotions("staging")[0].promotion
    view = _trace(world, [replica])
    back = ["pin", "promotion", "artifact", "run", "revision"]
    for thing in ("4711", "staging-web-web-1-a"):
        assert [kind for kind in _kinds(view, thing) if kind != "evidence"] == ["replica", "image", *back]
    assert [kind for kind in _kinds(view, promotion) if kind != "evidence"] == back
    assert _kinds(view, record.digest) == back[2:]
    assert _kinds(view, "r-1") == back[3:]
    steps = view.trace("4711").steps
    assert steps[-1].id == record.revision
    assert "ada@example.com" in steps[-1].text


def test_a_commit_leads_forward_to_where_it_serves(world: World) -> None:
    """Pushed, built, promoted, approved, serving: the journey of one revision."""
    world.register()
    record = world.build("1")
    service = world.service()
    world.to_prod(service)
    world.healthy("prod")
    journey = _trace(world).journey(record.revision[:12])
    assert (journey.revision, journey.repository) == (record.revision, "hello")
    kinds = [step.kind for step in journey.steps if step.kind != "evidence"]
    assert kinds == ["revision", "run", "artifact", "promotion", "deployment", "promotion", "approval", "deployment"]
    assert [step.where for step in journey.steps if step.kind == "deployment"] == ["staging", "prod"]


@pytest.mark.parametrize("thing", ["4712", "²", "sha256:" + "0" * 64, "p-nothing", "deadbeef", "http://127.0.0.1:9/", "whatever"])
def test_what_nobody_knows_is_not_found(world: World, thing: str) -> None:
    """Nothing of this home answers to it: said as such, whatever it looks like; no other address is ever asked."""
    world.register()
    view = TraceView(world.records, world.git, world.reader, list, lambda _url: pytest.fail("a foreign address was asked"))
    with pytest.raises(NotFoundError, match="SP701"):
        view.trace(thing)


def test_a_short_commit_of_several_repositories_is_ambiguous(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two repositories with different commits of one beginning: the user chooses."""
    world.commit("a", {"x": b"1"})
    world.commit("b", {"x": b"2"})
    heads = {name: world.git.heads(name)["main"] for name in ("a", "b")}
    monkeypatch.setattr(world.git, "resolve", lambda name, _text: heads.get(name))
    with pytest.raises(UserError, match="SP702"):
        _trace(world).journey("abcdef0")


def test_requests_and_approvals_are_seen_in_the_trace_of_a_promotion(world: World) -> None:
    """Who asked and who allowed it stand in the chain."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    asked = service.request("web", "prod", ADA)
    service.approve(asked.promotion, PAT, "ship it")
    service.advance()
    steps = {step.kind: step.text for step in _trace(world).trace(asked.promotion).steps}
    assert steps["promotion"] == "advance, pinned, asked by person:ada@example.com"
    assert steps["approval"] == "pat@example.com: ship it"
