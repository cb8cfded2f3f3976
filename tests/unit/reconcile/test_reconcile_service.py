"""The reconciler over real Git: what runs is what was admitted; a refusal changes nothing and is said once."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, UserError, WorldError
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.core.records import encode
from setpoint.promotion.model import Candidate, Pin, Quarantine
from setpoint.promotion.pin import pin_path
from setpoint.reconcile import claims
from setpoint.reconcile.drift.service import DriftParts, DriftService
from setpoint.reconcile.effective import EffectiveParts, EffectivePins
from setpoint.reconcile.host.target import HostParts, HostTarget
from setpoint.reconcile.model import (
    Container,
    Deployment,
    DesiredState,
    Health,
    Identity,
    Release,
    ReplicaSpec,
    ReplicaStatus,
    Route,
    Workload,
)
from setpoint.reconcile.ports import JobStatus, WorkloadStatus
from setpoint.reconcile.prune.decide import over_budget
from setpoint.reconcile.prune.service import PruneParts, PruneService
from setpoint.reconcile.service import ReconcileParts, ReconcileService
from setpoint.reconcile.upstream import Upstreams
from unit.builders_home import ADA, DELIVERY, OPERATOR, SAM, World

PATH = pin_path("staging", "web")


class Engine:
    """Admission, rendering and rollout in memory: only what Setpoint wrote is admitted."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ran: list[list[str]] = []
        self.ready = 2
        self.jobs: list[JobStatus] = []
        self.stable = ""
        self.fails: Exception | None = None
        self.unrendered: Exception | None = None
        self.workloads: tuple[str, ...] = ("web",)
        self.routes: tuple[Route, ...] = ()
        self.served: tuple[tuple[str, Route], ...] = ()
        self.by_candidate: dict[str, tuple[tuple[str, ...], tuple[Route, ...]]] = {}
        """candidate -> the workloads and routes it was rendered with first"""
        self.wanted: list[tuple[list[str], list[str]]] = []
        """workloads and routes of every release"""
        self.running: set[str] = set()
        self.prune = cast("PruneService", None)
        """That of the service made last."""

    def replicas(self) -> list[ReplicaStatus]:
        """Return a replica for every workload that runs."""
        container = Container("c", "i", None, None, {}, {}, 80, None, None)
        identity = Identity("web", "staging", "r", "d", "p")
        return [
            ReplicaStatus(ReplicaSpec(f"staging-web-{name}-1", name, "h", 9000, container, identity, 30.0), True, 1, None, 0, "")
            for name in sorted(self.running)
        ]

    def admit(self, repository: str, pin: Pin) -> Verdict:
        """Judge a pin, quarantine included."""
        barred = self._world.records.quarantines("web", pin.candidate.environment)
        if any(q.candidate == pin.candidate.digest for q in barred):
            return conclude([Reason("QUARANTINED", Outcome.DENY, "quarantine", "barred")])
        return self.still_holds(repository, pin)

    def still_holds(self, repository: str, pin: Pin) -> Verdict:
        """Judge a pin's commit."""
        machine = self._world.git.revision(repository, pin.commit).author_email == "setpoint@localhost.invalid"
        code, outcome = ("PIN_SIGNED", Outcome.ALLOW) if machine else ("PIN_NOT_SIGNED", Outcome.DENY)
        return conclude([Reason(code, outcome, "pin commit", "looked at")])

    def returns(self, repository: str, pin: Pin) -> Verdict:
        """Judge an earlier pin that is to come back."""
        return self.admit(repository, pin)

    def desired(self, candidate: Candidate, repository: str) -> DesiredState:
        """Render."""
        if self.unrendered is not None:
            raise self.unrendered
        container = Container("c", "i", None, None, {}, {}, 80, None, None)
        version = next(iter(candidate.artifacts.values())).digest
        names, routes = self.by_candidate.setdefault(candidate.digest, (self.workloads, self.routes))
        workloads = tuple(
            Workload("web", candidate.environment, name, 2, {}, container, version, progress_deadline_s=600) for name in names
        )
        return DesiredState("web", candidate.environment, workloads, routes, candidate.digest)

    def advance(self, environment: str, listen: str, releases: Sequence[Release]) -> dict[str, list[WorkloadStatus]]:
        """Roll out."""
        if self.fails is not None:
            raise self.fails
        self.ran.append([release.identity.version for release in releases])
        for release in releases:
            names, routes = ([one.name for one in part] for part in (release.desired.workloads, release.desired.routes))
            self.wanted.append((names, routes))
            self.running |= set(names)
        return {release.app: [WorkloadStatus("web", 2, self.ready, 0, ())] for release in releases}

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the pin that was rolled out last."""
        return self.stable


class Jobs:
    """The Jobs of every application, as the test has them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def advance(self, _environment: str, releases: Sequence[Release]) -> dict[str, list[JobStatus]]:
        """Say how they stand."""
        return {release.app: self._engine.jobs for release in releases}


@pytest.fixture
def engine(world: World) -> Engine:
    """A machine on which everything comes up at once."""
    return Engine(world)


def _service(world: World, engine: Engine) -> ReconcileService:
    part = cast("Any", engine)
    drift = DriftService(DriftParts(world.records, world.records, world.recorder, world.clock, list, world.holds, world.records))
    records = world.records
    prune = PruneService(PruneParts(records, records, world.recorder, world.reader, part, engine.replicas, records.approved_losses))
    engine.prune = prune
    host = HostTarget(
        HostParts(
            delivery=world.reader,
            rendering=part,
            rollout=engine,
            jobs=Jobs(engine),
            records=records,
            clock=world.clock,
            drift=drift,
            prune=prune,
            served=lambda _environment: engine.served,
        )
    )
    pins = EffectivePins(EffectiveParts(world.reader, part, part, records, world.holds, world.git, world.clock))
    return ReconcileService(ReconcileParts(world.reader, pins, lambda _delivery, _environment: host, records, world.recorder, world.clock))


def _pinned(world: World, *versions: str) -> None:
    world.register()
    service = world.service()
    for version in versions:
        world.build(version)
        service.advance()


def _seen(world: World) -> Deployment:
    found = world.records.deployment("web", "staging")
    assert found is not None
    return found


def _codes(world: World) -> list[str]:
    return [reason.code for reason in _seen(world).reasons]


def test_the_pin_is_brought_up_and_its_health_is_journalled_once(world: World, engine: Engine) -> None:
    """A pass over what is healthy writes nothing new."""
    _pinned(world, "1")
    service = _service(world, engine)
    assert service.advance("staging") == 5, "healthy without a probe of its own: asked again after its period"
    assert (engine.ran, _seen(world).health, _seen(world).version) == ([["1"]], Health.HEALTHY, "1")
    entries = len(world.journal)
    assert service.advance("staging")
    assert len(world.journal) == entries


def test_nothing_is_pinned_nothing_is_done_or_said(world: World, engine: Engine) -> None:
    """An empty environment is no fault; an unknown one neither; without a delivery repository there is nothing."""
    service = _service(world, engine)
    assert service.advance("staging") is None
    world.register()
    entries = len(world.journal)
    assert service.advance("staging") == 10
    assert service.advance("moon") is None
    assert (len(world.journal), engine.ran) == (entries, [[]])


def test_a_pin_edited_by_hand_is_refused_and_the_old_keeps_running(world: World, engine: Engine) -> None:
    """Law 2: the last admitted pin stays up, and the refusal is a problem that people see; a pass later nothing is repeated."""
    _pinned(world, "1", "2")
    service = _service(world, engine)
    service.advance("staging")
    head = world.git.heads("delivery")["main"]
    data = world.git.read("delivery", head, PATH)
    assert data is not None
    world.commit("delivery", {PATH: data.replace(b'version: "2"', b'version: "9"')}, pusher="ada@example.com")
    assert service.advance("staging") == 1, "nothing is on its way, but it is not well"
    assert engine.ran[-1] == ["2"]
    assert (_seen(world).health, _codes(world)[0]) == (Health.DEGRADED, "PIN_NOT_SIGNED")
    entries = len(world.journal)
    service.advance("staging")
    assert len(world.journal) == entries
    world.commit("delivery", {PATH: b"nonsense"}, pusher="ada@example.com")
    service.advance("staging")
    assert (engine.ran[-1], _codes(world)[0]) == (["2"], "SP540")


def test_a_deleted_pin_prunes_nothing(world: World, engine: Engine) -> None:
    """Law 7: what ran keeps running, and the reason names the deletion."""
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    world.commit("delivery", {}, remove=[PATH], pusher="ada@example.com")
    service.advance("staging")
    assert (engine.ran[-1], _codes(world)[0]) == (["1"], "PIN_MISSING")


def test_a_hand_edited_first_pin_starts_nothing(world: World, engine: Engine) -> None:
    """Where nothing was admitted before, nothing comes up, and the refusal is journalled."""
    _pinned(world, "1")
    head = world.git.heads("delivery")["main"]
    data = world.git.read("delivery", head, PATH)
    assert data is not None
    world.commit("delivery", {PATH: data + b"\n"}, pusher="ada@example.com")
    _service(world, engine).advance("staging")
    assert engine.ran == [[]]
    assert (_seen(world).health, _seen(world).pin_commit, _codes(world)) == (Health.MISSING, "", ["PIN_NOT_SIGNED"])


def test_what_is_not_rendered_changes_nothing(world: World, engine: Engine) -> None:
    """A candidate that cannot be rendered is never rolled out half; what ran is left alone, and stays known for the next pass."""
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    engine.unrendered = WorldError("SP612", "no room")
    service.advance("staging")
    assert engine.ran[-1] == []
    assert (_seen(world).health, _codes(world)[0]) == (Health.DEGRADED, "SP612")
    world.commit("delivery", {PATH: b"nonsense"}, pusher="ada@example.com")
    service.advance("staging")
    engine.unrendered = None
    service.advance("staging")
    assert engine.ran[-1] == ["1"]


def test_a_rollback_serves_before_git_says_so(world: World, engine: Engine) -> None:
    """Law 3: while the commit cannot be written, the hold's target serves, healthy; with the commit nothing is started again."""
    _pinned(world, "1", "2")
    service = _service(world, engine)
    service.advance("staging")
    world.signer_gone = True
    world.service().rollback("web", "staging", OPERATOR, "", "bad")
    service.advance("staging")
    assert (engine.ran[-1], _seen(world).health, _codes(world)) == (["1"], Health.HEALTHY, ["HELD", "READY"])
    world.signer_gone = False
    world.service().advance()
    world.service().advance()
    service.advance("staging")
    assert (engine.ran[-1], _seen(world).health, _codes(world)) == (["1"], Health.HEALTHY, ["READY"])
    assert world.holds.open_ones() == []


def test_a_hold_ends_with_the_next_commit_that_changes_the_pin(world: World, engine: Engine) -> None:
    """A rollback hold names one pin commit: another candidate that is pinned after it is what is desired."""
    _pinned(world, "1", "2")
    service = _service(world, engine)
    world.signer_gone = True
    promotions = world.service()
    promotions.rollback("web", "staging", OPERATOR, "", "bad")
    hold = world.holds.open_ones()[0]
    world.signer_gone = False
    promotions.advance()
    world.build("3")
    promotions.advance()
    service.advance("staging")
    assert (engine.ran[-1], hold.app, world.holds.rollback("web", "staging", hold.overridden)) == (["3"], "web", None)


def test_a_hold_whose_target_may_not_return_changes_nothing(world: World, engine: Engine) -> None:
    """Law 2 holds for a rollback too: a target that was barred since does not run, what runs stays, and the reason says which hold."""
    _pinned(world, "1", "2")
    service = _service(world, engine)
    service.advance("staging")
    world.signer_gone = True
    world.service().rollback("web", "staging", OPERATOR, "", "bad")
    (target,) = [p for p in world.promotions("staging") if p.version == "1" and p.kind == "advance"]
    barred = Quarantine("staging", "web", target.candidate.digest, {}, (None, None), "2026-11-23T06:00:00.000Z", "operator", "worse")
    world.recorder.record("quarantine.set", barred.candidate, "operator", encode(barred))
    service.advance("staging")
    assert (engine.ran[-1], _seen(world).health, _codes(world)[0]) == (["2"], Health.DEGRADED, "SP650")


def test_progress_is_hurried_and_late_progress_is_degraded(world: World, engine: Engine) -> None:
    """Not ready yet is progressing; past the deadline it is degraded, and ready again it is healthy."""
    _pinned(world, "1")
    engine.ready = 1
    service = _service(world, engine)
    assert not service.advance("staging")
    assert _seen(world).health is Health.PROGRESSING
    world.clock.move(601)
    assert service.advance("staging")
    assert (_seen(world).health, _codes(world)[0]) == (Health.DEGRADED, "PROGRESS_DEADLINE")
    engine.ready = 2
    service.advance("staging")
    assert _seen(world).health is Health.HEALTHY


def test_a_fault_of_the_whole_environment_is_said_of_each_application(world: World, engine: Engine) -> None:
    """An address in use degrades what should serve there, with code and fix."""
    _pinned(world, "1")
    engine.fails = UserError("SP641", "in use", where="127.0.0.1:7501", fix="choose another")
    _service(world, engine).advance("staging")
    (reason, *_) = _seen(world).reasons
    assert (_seen(world).health, reason.code, reason.subject, reason.fix) == (Health.DEGRADED, "SP641", "127.0.0.1:7501", "choose another")


def test_an_upstream_is_healthy_only_with_exactly_its_pin(world: World, engine: Engine) -> None:
    """Health of an earlier pin says nothing about the one at HEAD."""
    upstreams = Upstreams(world.reader, world.records)
    world.register()
    assert (upstreams.upstream("web", "staging").pinned, upstreams.upstream("web", "staging").healthy) == (None, False)
    world.build("1")
    promotions = world.service()
    promotions.advance()
    assert not upstreams.upstream("web", "staging").healthy
    service = _service(world, engine)
    service.advance("staging")
    found = upstreams.upstream("web", "staging")
    assert (found.healthy, found.healthy_since) == (True, "2026-11-23T06:00:00.000Z")
    world.build("2")
    promotions.advance()
    assert not upstreams.upstream("web", "staging").healthy


# Inventory and prune


def _kinds(world: World) -> list[str]:
    return [entry.kind for entry in world.journal.entries() if entry.kind.startswith(("inventory.", "prune."))]


def _pin_next(world: World, engine: Engine, version: str, *names: str, routes: tuple[Route, ...] = ()) -> None:
    """Pin another version that is rendered with these workloads and routes."""
    engine.workloads, engine.routes = names, routes
    world.build(version)
    world.service().advance()


def test_the_inventory_is_written_before_anything_is_started(world: World, engine: Engine) -> None:
    """Whoever dies in the middle leaves a list that names everything; a pass over the same writes nothing."""
    _pinned(world, "1")
    engine.fails = WorldError("SP642", "no proxy")
    service = _service(world, engine)
    service.advance("staging")
    [inventory] = world.records.inventories()
    assert (list(inventory.objects), engine.ran, _kinds(world)) == (["Deployment/web"], [], ["inventory.written"])
    engine.fails = None
    service.advance("staging")
    assert _kinds(world) == ["inventory.written"]


def test_within_the_budget_what_is_gone_is_removed_last_and_noted_when_nothing_of_it_runs(world: World, engine: Engine) -> None:
    """One of three: the superset stays in the inventory until the last replica is gone."""
    engine.workloads = ("api", "web", "worker")
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2", "api", "web")
    service.advance("staging")
    assert engine.wanted[-1] == (["api", "web"], [])
    assert set(world.records.inventories()[0].objects) == {"Deployment/api", "Deployment/web", "Deployment/worker"}
    engine.running.discard("worker")
    service.advance("staging")
    assert set(world.records.inventories()[0].objects) == {"Deployment/api", "Deployment/web"}
    assert _kinds(world)[-1] == "prune.done"


def test_over_the_budget_nothing_is_removed_until_a_person_confirms_exactly_that(world: World, engine: Engine) -> None:
    """Two of three: all stays, as its own pin defined it; the reason names it; a confirmation is for one set and one pin."""
    engine.workloads = ("api", "web", "worker")
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2", "web")
    service.advance("staging")
    service.advance("staging")
    assert engine.wanted[-1] == (["web", "api", "worker"], [])
    assert "PRUNE_OVER_BUDGET" in _codes(world)
    assert _seen(world).health is Health.HEALTHY
    assert _kinds(world).count("prune.held") == 1
    delivery, prune = world.reader.load(), engine.prune
    assert delivery is not None
    found = prune.prunable(delivery, "web", "staging")
    assert found.held.objects == ("Deployment/api", "Deployment/worker")
    with pytest.raises(ConflictError, match="SP662"):
        prune.confirm(delivery, ("web", "staging"), OPERATOR, "sha256:other", "")
    with pytest.raises(NotAllowedError, match="SP514"):
        prune.confirm(delivery, ("web", "staging"), SAM, found.held.set, "")
    prune.confirm(delivery, ("web", "staging"), ADA, found.held.set, "not needed")
    service = _service(world, engine)
    service.advance("staging")
    assert engine.wanted[-1] == (["web"], [])
    engine.running = {"web"}
    service.advance("staging")
    assert list(world.records.inventories()[0].objects) == ["Deployment/web"]
    assert "PRUNE_OVER_BUDGET" not in _codes(world)
    with pytest.raises(NotFoundError, match="SP661"):
        engine.prune.prunable(delivery, "web", "staging")


def test_another_pin_voids_a_confirmation(world: World, engine: Engine) -> None:
    """The set is the same, the pin is not: a person looks again."""
    engine.workloads = ("api", "web", "worker")
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2", "web")
    service.advance("staging")
    delivery, prune = world.reader.load(), engine.prune
    assert delivery is not None
    found = prune.prunable(delivery, "web", "staging")
    prune.confirm(delivery, ("web", "staging"), OPERATOR, found.held.set, "")
    _pin_next(world, engine, "3", "web")
    service.advance("staging")
    assert engine.wanted[-1] == (["web", "api", "worker"], [])


def test_an_empty_render_removes_nothing_whoever_says_so(world: World, engine: Engine) -> None:
    """Law 7: a generator that yields nothing is no wish."""
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2")
    service.advance("staging")
    assert engine.wanted[-1] == (["web"], [])
    assert "PRUNE_EMPTY_RENDER" in _codes(world)


def test_a_refused_pin_removes_nothing(world: World, engine: Engine) -> None:
    """What was admitted before stays wanted, and so does everything that the inventory names."""
    engine.workloads = ("api", "web", "worker")
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2", "api", "web")
    engine.unrendered = UserError("SP611", "it cannot be rendered")
    before = len(engine.wanted)
    service.advance("staging")
    assert len(engine.wanted) == before
    assert len(world.records.inventories()[0].objects) == 3


def test_an_orphan_runs_on_until_a_person_takes_it_down(world: World, engine: Engine) -> None:
    """An application that left setpoint.yaml is listed; confirmed, it is drained, and forgotten when nothing of it runs."""
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    text = DELIVERY["setpoint.yaml"].replace(b"{web: {source: hello}}", b"{shop: {source: hello}}")
    gone = ("apps/web/app.yaml", "environments/prod/web/patch.yaml")
    world.commit("delivery", {"setpoint.yaml": text}, remove=gone, pusher="sam@example.com")
    delivery, prune = world.reader.load(), engine.prune
    assert delivery is not None
    service.advance("staging")
    assert engine.wanted[-1] == (["web"], [])
    [orphan] = prune.orphans(delivery)
    assert (orphan.app, orphan.environment, orphan.held.objects) == ("web", "staging", ("Deployment/web",))
    prune.confirm(delivery, ("web", "staging"), OPERATOR, orphan.held.set, "gone")
    assert not service.advance("staging")
    assert engine.wanted[-1] == ([], [])
    assert world.records.deployment("web", "staging") is not None
    engine.running.clear()
    service.advance("staging")
    assert (world.records.deployment("web", "staging"), world.records.inventories(), prune.orphans(delivery)) == (None, [], [])


def test_of_two_applications_that_claim_an_address_the_one_that_serves_it_keeps_it() -> None:
    """The other gets a problem that names both, and its other routes."""
    here, there = Route("r", (), "/", False, (("w", 1),)), Route("other", ("a.example",), "/x", True, (("w", 1),))
    states = {app: DesiredState(app, "staging", (), (here, there) if app == "b" else (here,), "") for app in ("a", "b")}
    settled, problems = claims.settle(states, [("b", here)])
    assert (settled["a"].routes, settled["b"].routes) == ((), (here, there))
    [problem] = problems["a"]
    assert (problem.code, problem.severity, problems["b"]) == ("ROUTE_TAKEN", "problem", ())
    assert "claimed by a and by b; b keeps it" in problem.found
    settled, problems = claims.settle(states, [])
    assert (settled["a"].routes, settled["b"].routes, len(problems["b"])) == ((here,), (there,), 1)


@pytest.mark.parametrize(
    ("removed", "every", "budget", "allowed"),
    [
        (1, 2, "50%", True),
        (2, 3, "50%", False),
        (1, 1, "100%", False),
        (3, 3, "9", False),
        (2, 4, "1", False),
        (1, 3, "0", False),
        (0, 3, "0", True),
    ],
)
def test_the_budget_counts_or_shares_and_never_lets_all_go(removed: int, every: int, budget: str, *, allowed: bool) -> None:
    """Half is half; all is never within a budget."""
    names = [f"Deployment/{number}" for number in range(every)]
    assert (over_budget(names[:removed], names, budget) == "") is allowed


def test_inventories_are_folded_from_the_journal_again(world: World, engine: Engine, tmp_path: Path) -> None:
    """What waits for a person survives the deletion of the database."""
    engine.workloads = ("api", "web", "worker")
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    _pin_next(world, engine, "2", "web")
    service.advance("staging")
    engine_anew = open_database(tmp_path / "anew.db")
    Projection(engine_anew).apply(world.journal.entries())
    before = world.records.inventories()
    assert Records(engine_anew).inventories() == before
    assert before[0].held is not None


def test_what_was_admitted_is_judged_again_only_when_something_changed(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While pin, files that judge and the journal about the place are the same, a pass proves nothing; a minute ends every rest."""
    _pinned(world, "1")
    service = _service(world, engine)
    service.advance("staging")
    service.advance("staging")
    judged: list[str] = []
    real = engine.admit

    def admit(repository: str, pin: Pin) -> Verdict:
        judged.append(pin.commit)
        return real(repository, pin)

    monkeypatch.setattr(engine, "admit", admit)
    world.recorder.record("repository.created", "other", "operator", {})
    world.commit("delivery", {"apps/other": b"of nobody"}, pusher=None)
    service.advance("staging")
    assert (judged, engine.ran[-1]) == ([], ["1"])
    world.clock.move(60)
    service.advance("staging")
    assert len(judged) == 1
    world.build("2")
    world.service().advance()
    service.advance("staging")
    assert (len(judged), engine.ran[-1]) == (2, ["2"])


def test_what_is_refused_is_looked_at_on_every_pass(world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal rests on nothing: what was mended where no entry tells of it is found at the next pass (law 5)."""
    _pinned(world, "1")
    service = _service(world, engine)
    refused = conclude([Reason("ARTIFACT_GONE", Outcome.DENY, "artifact web", "not in the registry")])
    with monkeypatch.context() as gone:
        gone.setattr(engine, "admit", lambda _repository, _pin: refused)
        for _ in range(3):
            service.advance("staging")
        assert engine.ran[-1] == []
    service.advance("staging")
    assert engine.ran[-1] == ["1"]
