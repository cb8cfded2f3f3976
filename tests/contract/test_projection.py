"""The projection: folding every kind of entry, at once or one by one, gives the same tables; a lost or older database is made anew."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from setpoint.adapters.database import tables
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import _FOLDS, Projection
from setpoint.adapters.database.records import Records
from setpoint.artifact.model import ArtifactRecord
from setpoint.core.reasons import Outcome, Reason, conclude
from setpoint.core.records import encode
from setpoint.evidence.model import PROVENANCE, SUMMARY, EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.ground.journal.model import Entry
from setpoint.pipeline.decide import empty_manifest
from setpoint.pipeline.model import Run, RunState, TaskResult, TaskState
from setpoint.promotion.checks.model import CommandRun, CommandState
from setpoint.promotion.generators.model import Element, Expansion
from setpoint.promotion.model import Approval, Candidate, PinnedArtifact, Promotion, PromotionState, Quarantine
from setpoint.reconcile.adopt.model import AdoptedField, Adoption, Edit
from setpoint.reconcile.cluster.hook_runs import HookRun, HookSet
from setpoint.reconcile.drift.model import Drift, DriftState, DriftSum
from setpoint.reconcile.model import Deployment, Health, JobRun
from setpoint.reconcile.prune.model import Held, Inventory
from setpoint.retention.model import Collection, Sum
from setpoint.rollout.model import Phase, Rollout, Side
from setpoint.source.model import RefUpdate

AT = "2026-11-23T06:00:00.000Z"
IMAGE = "sha256:" + "a" * 64
STATE_PAGE = Path(__file__).parents[2] / "docs" / "state.md"
CANDIDATE = Candidate("web", "prod", {"web": PinnedArtifact("hello/web", IMAGE)}, "1" * 40, None)

HOOKS = HookSet("web", "prod", "sha256:" + "1" * 64, first=True)
MIGRATE = HookRun("batch/Job/shop/migrate", "batch/v1", "pre-sync", "succeeded", "2026-01-01T00:10:00.000Z")


def _promotion(name: str) -> Promotion:
    return Promotion(name, "advance", CANDIDATE, "hello", "c" * 40, "1", "d" * 40, "d" * 40, "e" * 40, "b", "setpoint", AT)


def _story() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (kind, subject, body) of a home's life that has every kind of entry."""
    run = Run("r-1", "hello", "refs/heads/main", "c" * 40, "t" * 40, "title", "a@b.c", "a@b.c", RunState.RUNNING, AT)
    result = TaskResult("r-1", "test", TaskState.PASSED, "key", empty_manifest(), 0, AT, AT)
    artifact = ArtifactRecord("hello", "web", "hello/web", IMAGE, 1, "r-1", "c" * 40, "1", AT, ("test",), "", "host")
    evidence = EvidenceRecord(PROVENANCE, "sha256:1", "sha256:2", "hello/web", IMAGE, "PASSED", run="r-1")
    gate = EvidenceRecord(SUMMARY, "sha256:3", "sha256:4", "candidates/web", "sha256:5", "PASSED", promotion="p-1")
    verdict = encode(conclude([Reason("POLICY_PASSED", Outcome.ALLOW, "policy", "true")]))
    approval = Approval("p-1", "sam", "sam@b.c", "b", "ok", AT)
    barred = Quarantine("prod", "web", CANDIDATE.digest, {"web": IMAGE}, ("1" * 40, None), AT, "operator", "bad")
    seen = Deployment("web", "prod", "p-1", "f" * 40, Health.HEALTHY, AT, url="http://127.0.0.1:1/")
    expansion = Expansion("services", "d" * 40, "e" * 40, (Element("api", "apps/api", {"name": "api"}),))
    updates = [encode(RefUpdate("refs/heads/main", "0" * 40, "c" * 40)), encode(RefUpdate("refs/heads/x", "0" * 40, "c" * 40))]
    return [
        ("home.created", "h-1", {"version": 1, "keys": {}}),
        ("repository.created", "hello", {}),
        ("repository.created", "delivery", {}),
        ("delivery.registered", "delivery", {"branch": "main"}),
        ("baseline.accepted", "delivery", {"commit": "d" * 40, "why": "init"}),
        ("repository.created", "delivery", {}),
        ("token.created", "t-1", {"kind": "person", "email": "a@b.c", "name": "laptop"}),
        ("token.revoked", "t-1", {}),
        ("push.received", "hello", {"updates": updates, "pusher": "a@b.c"}),
        ("run.created", "r-1", encode(run)),
        ("run.retried", "r-1", {"why": "the network was down"}),
        ("task.started", "r-1", {"task": "test", "key": "key"}),
        ("task.finished", "r-1", encode(result)),
        ("task.started", "r-1", {"task": "slow", "key": "key"}),
        ("task.lost", "r-1", encode(replace(result, task="publish", state=TaskState.LOST))),
        ("task.lost", "r-1", encode(replace(result, task="migrate", state=TaskState.LOST))),
        ("task.resolved", "r-1", {"task": "publish", "outcome": "again", "why": "nothing there"}),
        ("task.resolved", "r-1", {"task": "migrate", "outcome": "passed", "why": "seen"}),
        ("task.finished", "r-1", encode(replace(result, task="migrate"))),
        ("run.cancelling", "r-1", {"why": "wrong"}),
        ("secret.set", "hello/TOKEN", {"repository": "hello", "name": "TOKEN", "version": 1}),
        ("secret.set", "hello/OTHER", {"repository": "hello", "name": "OTHER", "version": 1}),
        ("secret.removed", "hello/OTHER", {"repository": "hello", "name": "OTHER", "version": 1}),
        ("secret.set", "hello/TOKEN", {"repository": "hello", "name": "TOKEN", "version": 2}),
        ("registry.login", "r.test", {"host": "r.test", "user": "robot", "plain_http": False, "own_authorities": True, "version": 1}),
        ("registry.logout", "r.test", {"host": "r.test", "version": 1}),
        ("cluster.added", "prod", {"name": "prod", "server": "https://c.test", "context": "", "runs": "", "version": 1}),
        ("pull-secret.written", "prod/shop", {"cluster": "prod", "namespace": "shop", "name": "s", "registry": "r.test", "why": "new"}),
        ("cluster.labelled", "prod", {"name": "prod", "labels": {"region": "eu"}}),
        ("generator.expanded", "services", {"expansion": encode(expansion)}),
        ("generator.confirmed", "services", {"expansion": encode(expansion), "elements": ["old"], "message": "moved"}),
        ("preview.extended", "services-x", {"expansion": encode(expansion), "generator": "services", "message": ""}),
        ("preview.ended", "services-x", {"expansion": encode(expansion), "generator": "services", "message": ""}),
        ("preview.unpinned", "services-x", {"commit": "d" * 40}),
        ("generator.expanded", "gone", {"expansion": encode(expansion)}),
        ("generator.expanded", "gone", {"expansion": None}),
        ("cluster.removed", "prod", {"name": "prod", "version": 1}),
        ("pull-secret.written", "prod/shop", {"cluster": "prod", "namespace": "shop", "name": "s", "registry": "r.test", "why": "new"}),
        ("admission.enforced", "prod/shop", {"cluster": "prod", "namespace": "shop"}),
        ("admission.enforced", "prod/other", {"cluster": "prod", "namespace": "other"}),
        ("admission.released", "prod/other", {"cluster": "prod", "namespace": "other"}),
        ("artifact.built", IMAGE, encode(artifact)),
        ("artifact.copied", f"r.test/web@{IMAGE}", {"repository": "web", "digest": IMAGE, "manifests": 1, "size_bytes": 1, "referrers": 0}),
        ("evidence.attached", IMAGE, encode(evidence)),
        ("run.finished", "r-1", {"state": "passed", "error": ""}),
        ("promotion.created", "p-1", encode(_promotion("p-1"))),
        ("promotion.requested", "p-1", {"note": "please"}),
        ("approval.given", "p-1", encode(approval)),
        ("promotion.decided", "p-1", {"state": "decided", "verdict": verdict}),
        ("evidence.attached", "sha256:5", encode(gate)),
        ("pin.intended", "p-1", {"parent": "d" * 40}),
        ("promotion.pinned", "p-1", {"commit": "f" * 40}),
        ("promotion.created", "p-2", encode(_promotion("p-2"))),
        ("promotion.superseded", "p-2", {"superseded_by": "p-3"}),
        ("promotion.created", "p-3", encode(_promotion("p-3"))),
        ("deployment.observed", "web/prod", encode(seen)),
        ("deployment.observed", "web/qa", {**encode(seen), "environment": "qa"}),
        ("deployment.observed", "web/qa", {"app": "web", "environment": "qa", "gone": True}),
        ("replica.exited", "prod-web-1", {"app": "web", "environment": "prod", "exit": "exit status 1", "restarts": 1}),
        ("hold.opened", "hold-1", encode(Hold("hold-1", "stop", "prod", "web", "operator", "wait", AT))),
        ("hold.extended", "hold-1", {"app": "web", "environment": "prod", "until": AT, "then": "correct", "why": "more"}),
        ("hold.closed", "hold-1", {"app": "web", "environment": "prod", "why": "go on"}),
        ("quarantine.set", CANDIDATE.digest, encode(barred)),
        ("quarantine.lifted", CANDIDATE.digest, {"app": "web", "environment": "prod"}),
        ("quarantine.set", CANDIDATE.digest, encode(barred)),
        ("gc.started", "gc-1", encode(Collection("gc-1", "running", AT, "operator"))),
        ("gc.done", "gc-1", encode(Collection("gc-1", "done", AT, "operator", AT, {"blobs": Sum(2, 4096)}))),
        *_runtime_story(),
    ]


def _adoption_story() -> list[tuple[str, str, dict[str, Any]]]:
    """Return two adoptions, one merged and one dropped."""
    fields = (AdoptedField("d-2", "ConfigMap/web", "data.a", "x"),)
    edits = (Edit("apps/web/web.yaml", "b" * 40, 3, "y", "x"),)
    first = Adoption("a-1", "web", "prod", fields, "person:sam@b.c", "right", "delivery", "d" * 40, edits, AT)
    place = {"app": "web", "environment": "prod"}
    return [
        ("adoption.intended", "a-1", encode(first)),
        ("adoption.opened", "a-1", {**place, "commit": "f" * 40}),
        ("adoption.merged", "a-1", {**place, "why": "main has it"}),
        ("adoption.ended", "a-1", {**place, "why": "pinned", "state": "adopted"}),
        ("adoption.intended", "a-2", encode(replace(first, adoption="a-2"))),
        ("adoption.opened", "a-2", {**place, "commit": "e" * 40}),
        ("adoption.ended", "a-2", {**place, "why": "deleted", "state": "dropped"}),
    ]


def _runtime_story() -> list[tuple[str, str, dict[str, Any]]]:
    """Return what an environment tells of drift, inventories, Jobs and rollouts."""
    killed = Drift("d-1", "web", "prod", "replica", "prod-web-1", "process", "running", "gone", "unknown", AT, DriftState.OPEN)
    healed = replace(killed, state=DriftState.HEALED, ended_at=AT.replace("06:00:00", "06:00:02"))
    edited = replace(killed, drift="d-2", app="", kind="proxy", state=DriftState.REPORTED)
    owned = Inventory("web", "prod", {"Deployment/old": "e" * 40, "Deployment/web": "f" * 40})
    held = Held(("Deployment/old",), "f" * 40, "over the budget", "sha256:set")
    waiting, confirmed = replace(owned, held=held), replace(owned, confirmed=held.set)
    left = replace(owned, objects={"Deployment/web": "f" * 40})
    gone = Inventory("api", "prod")
    asked = CommandRun("c-1", "p-1", "web", "prod", "staging", "./smoke.sh", "5" * 40, 1, CommandState.RUNNING, AT)
    job = JobRun("prod-web-migrate-1", "web", "prod", "migrate", "abc", "p-1", "started", AT)
    side = Side("p-1", "f" * 40, "1", {"web": "abc"})
    rollout = Rollout("ro-1", "web", "prod", "canary", Phase.PREPARING, side, None, AT, AT)
    steps = {"begun": Phase.PREPARING, "stepped": Phase.HOLDING, "judged": Phase.HOLDING, "held": Phase.HELD}
    steps |= {"resumed": Phase.HOLDING, "returned": Phase.RETURNED, "finished": Phase.FINISHED}
    return [
        ("drift.found", "d-1", encode(killed)),
        ("drift.ended", "d-1", encode(healed)),
        ("drift.found", "d-2", encode(edited)),
        *_adoption_story(),
        ("inventory.written", "web/prod", {"inventory": encode(owned)}),
        ("inventory.written", "api/prod", {"inventory": encode(replace(gone, objects={"Deployment/api": "f" * 40}))}),
        ("prune.held", "web/prod", {**encode(held), "inventory": encode(waiting)}),
        ("prune.confirmed", "web/prod", {**encode(held), "message": "yes", "inventory": encode(confirmed)}),
        ("prune.done", "web/prod", {"objects": ["Deployment/old"], "pin": "f" * 40, "inventory": encode(left)}),
        ("prune.done", "api/prod", {"objects": ["Deployment/api"], "pin": "", "inventory": encode(gone)}),
        ("hooks.begun", "web/prod", encode(HOOKS)),
        ("hook.started", "web/prod", encode(HOOKS.put(replace(MIGRATE, state="started")))),
        ("hook.finished", "web/prod", encode(HOOKS.put(MIGRATE))),
        ("check.started", asked.check, encode(asked)),
        ("check.requested", asked.check, {"app": "web", "environment": "prod", "message": "now"}),
        ("check.finished", asked.check, encode(replace(asked, state=CommandState.PASSED, finished_at=AT, exit_code=0))),
        ("job.started", job.run, encode(job)),
        ("job.finished", job.run, encode(replace(job, state="succeeded", finished_at=AT, attempts=1))),
        *((f"rollout.{step}", "web/prod", encode(replace(rollout, phase=phase))) for step, phase in steps.items()),
    ]


STORY = [Entry(index, AT, kind, subject, "person:sam@b.c", body, "0") for index, (kind, subject, body) in enumerate(_story())]


def _dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with open_database(path).connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for table in tables.metadata.sorted_tables
        }


def _fold(path: Path, *parts: list[Entry]) -> Projection:
    projection = Projection(open_database(path))
    for part in parts:
        projection.apply(part)
    return projection


def test_the_story_has_every_kind_that_is_documented_and_every_one_that_is_folded() -> None:
    """A new kind of entry comes with a line in docs/state.md and an entry in this story."""
    told = {entry.kind for entry in STORY}
    listed = STATE_PAGE.read_text().partition("## Kinds of journal entries")[2]
    documented = {
        word
        for line in listed.splitlines()
        if line.startswith("| `")
        for word in line.split("|")[1].replace("`", "").replace(",", " ").split()
    }
    assert documented == told
    assert set(_FOLDS) <= told


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_folding_in_any_pieces_gives_the_same_tables(tmp_path: Path, size: int) -> None:
    """From scratch or entry by entry, with a restart after each piece: not one row differs."""
    _fold(tmp_path / "whole.db", STORY)
    for start in range(0, len(STORY), size):
        projection = Projection(open_database(tmp_path / "pieces.db"))
        assert projection.applied() == start
        assert projection.apply(STORY[start : start + size]) == len(STORY[start : start + size])
    assert _dump(tmp_path / "pieces.db") == _dump(tmp_path / "whole.db")
    assert projection.applied() == len(STORY)


def test_more_entries_than_a_transaction_holds_are_all_applied(tmp_path: Path) -> None:
    """Two and a half thousand entries arrive."""
    entries = [Entry(n, AT, "repository.created", f"r{n}", "operator", {}, "0") for n in range(2500)]
    assert Projection(open_database(tmp_path / "a.db")).apply(entries) == 2500
    assert len(_dump(tmp_path / "a.db")["repositories"]) == 2500


def test_a_schema_change_drops_everything_and_asks_for_all_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another SCHEMA means: fold anew from entry 0, and end with the same tables; one that only an older release knew is gone."""
    path = tmp_path / "a.db"
    _fold(path, STORY)
    before = _dump(path)
    with open_database(path).begin() as connection:
        connection.execute(text("CREATE TABLE renamed_away (body TEXT)"))
    monkeypatch.setattr(tables, "SCHEMA", tables.SCHEMA + 1)
    projection = Projection(open_database(path))
    assert projection.applied() == 0
    projection.apply(STORY)
    after = _dump(path)
    assert after.pop("meta") != before.pop("meta")
    assert after == before
    with open_database(path).connect() as connection:
        assert connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'renamed_away'")).all() == []


def test_a_fault_in_the_middle_of_a_batch_applies_nothing_of_it(tmp_path: Path) -> None:
    """The tables and the index of the last entry move together or not at all."""
    projection = _fold(tmp_path / "a.db", STORY[:9])
    broken = Entry(10, AT, "run.created", "r-2", "setpoint", {"nonsense": True}, "0")
    with pytest.raises(KeyError):
        projection.apply([STORY[9], broken])
    assert projection.applied() == 9
    assert _dump(tmp_path / "a.db")["runs"] == []


def test_the_database_runs_in_wal_mode(tmp_path: Path) -> None:
    """Readers never wait for the writer."""
    with open_database(tmp_path / "a.db").connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_records_say_what_the_story_told(tmp_path: Path) -> None:
    """Every read gives back what was journalled, as the stages' own records."""
    _fold(tmp_path / "a.db", STORY)
    records = Records(open_database(tmp_path / "a.db"))
    run = records.run("r-1")
    assert run is not None
    assert (run.state, run.finished_at, records.open_runs(), records.run_for("hello", "c" * 40)) == (RunState.PASSED, AT, [], run)
    assert [(result.task, result.state) for result in records.results("r-1")] == [("test", "passed"), ("migrate", "passed")]
    assert (run.lost, run.cancelling) == ((), "cancelled by sam@b.c: wrong")
    assert [secret.label for secret in records.secrets()] == ["TOKEN@2"]
    assert [records.last_version("hello", name) for name in ("TOKEN", "OTHER", "NEVER")] == [2, 1, 0]
    assert records.started("r-1") == {"slow": AT}
    assert [a.digest for a in records.artifacts(repository="hello")] == [IMAGE]
    assert records.artifacts(run="r-2") == []
    assert [e.bundle for e in records.evidence(subject=IMAGE)] == ["sha256:1"]
    assert records.accepted("delivery") == "d" * 40
    assert records.first_accepted("delivery") == "d" * 40
    assert records.deliveries() == {"delivery": "main"}
    assert records.pushers("hello", ["c" * 40, "d" * 40]) == {"c" * 40: "a@b.c"}
    assert records.pushes("hello", "refs/heads/main") == [("0" * 40, "c" * 40, "a@b.c", AT)]
    assert [d.environment for d in records.deployments()] == ["prod"]
    assert [q.why for q in records.quarantines("web", "prod")] == ["bad"]
    assert records.quarantines("web", "staging") == []


def test_records_say_what_the_environments_told(tmp_path: Path) -> None:
    """Drift by whether it is over, inventories without those that are empty, the last word of Jobs and rollouts."""
    _fold(tmp_path / "a.db", STORY)
    records = Records(open_database(tmp_path / "a.db"))
    assert [(one.drift, one.state) for one in records.drifts("web", "prod")] == [("d-2", "reported"), ("d-1", "healed")]
    assert [one.drift for one in records.drifts(ended=False)] == ["d-2"]
    assert DriftSum("web", "prod", "replica", DriftState.HEALED, 1, 2.0) in records.drift_sums()
    assert records.hook_set("web", "prod") == HOOKS.put(MIGRATE)
    assert records.inventories() == [Inventory("web", "prod", {"Deployment/web": "f" * 40})]
    assert [(run.state, run.attempts) for run in records.job_runs("web", "prod")] == [("succeeded", 1)]
    assert [rollout.phase for rollout in records.rollouts()] == [Phase.FINISHED]


def test_a_promotion_gathers_its_whole_life(tmp_path: Path) -> None:
    """State, verdict, requester, gate bundle and pin commit are folded into one record; only open ones are unfinished."""
    _fold(tmp_path / "a.db", STORY)
    records = Records(open_database(tmp_path / "a.db"))
    promotion = records.promotion("p-1")
    assert promotion is not None
    assert (promotion.state, promotion.pin_commit, promotion.gate_bundle) == (PromotionState.PINNED, "f" * 40, "sha256:3")
    assert (promotion.requested_by, promotion.note) == ("person:sam@b.c", "please")
    assert promotion.verdict is not None
    assert promotion.verdict.outcome is Outcome.ALLOW
    assert [p.promotion for p in records.promotions("web", "prod")] == ["p-3", "p-2", "p-1"]
    assert [p.promotion for p in records.unfinished()] == ["p-3"]
    assert records.promotions("web", "qa") == []
    assert [a.person for a in records.approvals("p-1")] == ["sam"]


def test_lifting_opens_every_quarantine_of_the_candidate_and_no_other(tmp_path: Path) -> None:
    """A candidate that was barred twice is free after one lift; the same candidate elsewhere stays barred."""
    barred = Quarantine("prod", "web", "sha256:x", {}, (None, None), AT, "operator", "bad")
    entries = [("quarantine.set", encode(barred)), ("quarantine.set", encode(barred))]
    entries += [("quarantine.set", {**encode(barred), "environment": "qa"}), ("quarantine.lifted", {"app": "web", "environment": "prod"})]
    _fold(tmp_path / "a.db", [Entry(n, AT, kind, "sha256:x", "operator", body, "0") for n, (kind, body) in enumerate(entries)])
    records = Records(open_database(tmp_path / "a.db"))
    assert (len(records.quarantines("web", "prod")), len(records.quarantines("web", "qa"))) == (0, 1)
