"""The signer about runs: it composes from journal, Git and bytes, and refuses what they do not hold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from setpoint.adapters.output_index import OutputIndex
from setpoint.adapters.signer.inputs import RunInputs
from setpoint.core.errors import BugError, SetpointError, UserError
from setpoint.core.records import encode
from setpoint.evidence.bundle import parse_bundle, parse_statement
from setpoint.evidence.facts import EvidenceFacts
from setpoint.evidence.model import (
    KUBERNETES_BUILDER,
    PROVENANCE,
    SANDBOXED_BUILDER,
    TEST_RESULT,
    UNSANDBOXED_BUILDER,
    ReportFacts,
    Statement,
)
from setpoint.evidence.verify import verify_bundle, verify_subject
from setpoint.ground.identity.model import Role
from setpoint.pipeline.model import TaskState

if TYPE_CHECKING:
    from contract.signer.conftest import Story
    from setpoint.evidence.ports import Signed


def _statement(signed: Signed) -> Statement:
    return parse_statement(parse_bundle(signed.payload).payload)


def test_a_green_run_gives_provenance_and_tests(story: Story) -> None:
    """Provenance by the builder key and a covering test result by the scanner key, for the artifact's digest."""
    run = story.run("r-1")
    record = story.build(run)
    signed = {item.predicate_type: item for item in story.sign("run", "r-1")}
    assert set(signed) == {PROVENANCE, TEST_RESULT}
    assert {item.subject for item in signed.values()} == {record.digest}
    for item in signed.values():
        verify_bundle(item.payload, story.trust, ("sha256", record.digest[7:]))
    tests = _statement(signed[TEST_RESULT]).predicate
    assert (tests["result"], tests["passedTests"], tests["setpoint"]["covers"]) == ("PASSED", ["a", "b"], True)
    listed = _statement(signed[PROVENANCE]).predicate["buildDefinition"]["resolvedDependencies"]
    named = {item["name"]: item for item in listed}
    assert named["source"]["digest"] == {"gitCommit": run.revision}
    assert named["task/deps"]["annotations"]["networked"] is True
    assert named["host-toolchain"]["digest"] == {"sha256": "e" * 64}
    assert signed[TEST_RESULT].summary == "2 of 2 tests passed"


def test_signing_twice_gives_the_same_bytes(story: Story) -> None:
    """Statements hold no time of their own, so a crash between push and journal entry leaves no second bundle."""
    story.build(story.run("r-1"))
    assert story.sign("run", "r-1") == story.sign("run", "r-1")


def test_a_failed_run_without_artifact_is_signed_about_the_revision(story: Story) -> None:
    """FAILED, with the commit and the input root as subjects, stored as a manifest without subject."""
    run = story.run("r-1", report=b'<testsuite><testcase name="b"><failure/></testcase></testsuite>', passed=False)
    (record,) = story.evidence_service.attach_run("r-1")
    assert (record.result, record.subject, record.oci_repository) == ("FAILED", f"gitCommit:{run.revision}", "hello/evidence")
    manifest = story.store.manifest("hello/evidence", record.manifest)
    assert manifest is not None
    assert "subject" not in json.loads(manifest.data)
    (signed,) = story.sign("run", "r-1")
    subjects = _statement(signed).subjects
    assert subjects[0].digest == {"gitCommit": run.revision}
    assert set(subjects[1].digest) == {"sha256"}
    verify_bundle(signed.payload, story.trust, ("gitCommit", run.revision))


def test_a_report_that_cannot_be_read_is_failed(story: Story) -> None:
    """A broken report is signed as FAILED with its place, not dropped."""
    story.run("r-1", report=b"<testsuite>")
    (signed,) = story.sign("run", "r-1")
    assert signed.result == "FAILED"
    assert "not well-formed" in _statement(signed).predicate["setpoint"]["fault"]


def test_tests_that_did_not_see_a_file_do_not_count(story: Story) -> None:
    """EVIDENCE_DOES_NOT_COVER: the task's inputs leave out a file that is in the image."""
    pipeline = {".setpoint/pipeline.yaml": _pipeline().replace(b'"src/**", ', b'"src/a.py", ')}
    record = story.build(story.run("r-1", files={**_files(), **pipeline, "src/b.py": b"b"}))
    story.evidence_service.attach_run("r-1")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert facts.provenance
    assert (facts.builder, facts.tests_result, facts.tests_passed) == (SANDBOXED_BUILDER, "", 0)
    assert facts.faults == ("EVIDENCE_DOES_NOT_COVER: task test: src/b.py is in the artifact and no input of it",)


def test_tests_against_other_outputs_do_not_count(story: Story) -> None:
    """The vendored packages in the image must be the very ones that were tested with."""
    run = story.run("r-1")
    deps = story.desk._sources.ledger
    deps.refresh()
    result = deps.runs["r-1"].results["deps"].result
    changed = replace(result, outputs=story.content.put(b"other"))
    story.record("task.finished", "r-1", "setpoint", encode(changed))
    record = story.build(run)
    story.evidence_service.attach_run("r-1")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert "deps: is in the artifact" in facts.faults[0]


@pytest.mark.parametrize(("sandbox", "builder"), [("none", UNSANDBOXED_BUILDER), ("kubernetes", KUBERNETES_BUILDER)])
def test_a_run_with_a_task_elsewhere_or_without_a_sandbox_has_another_builder(story: Story, sandbox: str, builder: str) -> None:
    """Whichever task it was: its result says so, and provenance names it; gates will refuse what was built without a sandbox."""
    run = story.run("r-1")
    ledger = story.desk._sources.ledger
    ledger.refresh()
    result = ledger.runs["r-1"].results["test"].result
    bare = replace(result, manifest=replace(result.manifest, sandbox=sandbox))
    story.record("task.finished", "r-1", "setpoint", encode(bare))
    record = story.build(run)
    story.evidence_service.attach_run("r-1")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert facts.builder == builder
    told = [_statement(signed).predicate.get("setpoint", {}) for signed in story.sign("run", "r-1")]
    assert [own.get("sandbox") for own in told if own.get("task") == "test"] == [sandbox]


def test_an_artifact_of_other_files_is_not_covered(story: Story) -> None:
    """A record whose input digest is not what the pipeline copies is never called covered."""
    record = replace(story.build(story.run("r-1")), digest="sha256:" + "0" * 64, inputs="sha256:" + "0" * 64)
    ledger = story.desk._sources.ledger
    ledger.refresh()
    facts = ledger.runs["r-1"]
    results = {task: ended.result for task, ended in facts.results.items()}
    assert not RunInputs(story.git, facts.run, OutputIndex(story.content)).coverage(record, results["test"], results).covers


def test_attaching_again_attaches_nothing(story: Story) -> None:
    """The service compares with the journal: the second call returns the same records and appends no entry."""
    record = story.build(story.run("r-1"))
    first = story.evidence_service.attach_run("r-1")
    entries = len(story.journal)
    assert story.evidence_service.attach_run("r-1") == first
    assert len(story.journal) == entries
    assert len(verify_subject(story.store, story.trust, record.oci_repository, record.digest).verified) == 2


def test_a_crash_between_push_and_journal_is_mended(story: Story) -> None:
    """What was pushed and not journalled is pushed again as the same bytes and journalled once."""
    record = story.build(story.run("r-1"))
    taken = story.record

    def crash(kind: str, subject: str, actor: str, body: dict[str, Any]) -> Any:
        raise ConnectionError(kind)

    story.record = crash  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        story.evidence_service.attach_run("r-1")
    story.record = taken  # type: ignore[method-assign]
    assert len(story.evidence_service.attach_run("r-1")) == 2
    assert len(story.store.referrers(record.oci_repository, record.digest)) == 2


def test_what_the_journal_does_not_hold_is_not_signed(story: Story) -> None:
    """An unknown run, and a run whose task has not ended, are SP404."""
    with pytest.raises(UserError, match="SP404: the journal holds no such run"):
        story.sign("run", "r-nope")
    story.run("r-1")
    story.record("task.started", "r-1", "setpoint", {"task": "test", "key": "k"})
    with pytest.raises(UserError, match="task test has not ended"):
        story.sign("run", "r-1")


def test_a_run_that_git_contradicts_is_not_signed(story: Story) -> None:
    """The tree and pipeline that a run claims are compared with the revision."""
    run = story.run("r-1")
    story.record("run.created", "r-2", "setpoint", encode(replace(run, run="r-2", tree="0" * 40)))
    story.build(replace(run, run="r-2"))
    with pytest.raises(UserError, match="another tree"):
        story.sign("run", "r-2")


def test_an_artifact_that_is_gone_is_not_signed(story: Story) -> None:
    """Provenance is only stated about bytes that are there."""
    record = story.build(story.run("r-1"))
    story.store.delete_manifest(record.oci_repository, record.digest)
    with pytest.raises(UserError, match="not in the registry"):
        story.sign("run", "r-1")


def test_changed_report_bytes_are_not_signed(story: Story) -> None:
    """A report that no longer matches the journalled digest is never stated about."""
    story.build(story.run("r-1"))
    results = story.desk._sources.ledger
    results.refresh()
    stored = results.runs["r-1"].results["test"].result.reports["tests"]
    path = story.content.path(stored.digest)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b'<testsuite><testcase name="forged"/></testsuite>')
    with pytest.raises(SetpointError):
        story.sign("run", "r-1")


def test_a_broken_chain_signs_nothing(story: Story) -> None:
    """Law 4: an entry that does not continue the chain stops the signer."""
    story.build(story.run("r-1"))
    segment = next(story.paths.journal.glob("*.log"))
    lines = segment.read_bytes().split(b"\n")
    lines[5] = lines[5].replace(b'"setpoint"', b'"someone!"')
    segment.write_bytes(b"\n".join(lines))
    with pytest.raises(BugError, match="SP410"):
        story.sign("run", "r-1")


def test_a_second_trust_root_is_ignored(story: Story) -> None:
    """Law 9: only the journal's first entry names the keys."""
    story.record("home.created", "home", "setpoint", {"version": 1, "keys": {"gate": "mine"}})
    assert story.desk.answer("public_keys", {}) == story.trust.keys


def _files() -> dict[str, bytes]:
    return {"src/a.py": b"a", "tests/t.py": b"t", "requirements.lock": b"r", ".setpoint/pipeline.yaml": _pipeline()}


def _pipeline() -> bytes:
    return b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  deps: {inputs: [requirements.lock], network: true, run: fetch, outputs: [vendor/]}
  test: {needs: [deps], inputs: ["src/**", "tests/**"], run: test, evidence: {tests: report.xml}}
artifacts:
  web:
    needs: [test]
    image: {base: host, copy: {"src/": /app/, "deps:vendor/": /app/vendor/}, command: [python3]}
"""


LINTED = (
    b"  test: {needs: [deps], inputs: ["
    b'"src/**", "tests/**"], run: test, evidence: {tests: report.xml}, '
    b"reports: {lint: {file: lint.json, schema: schemas/lint.json, predicate: https://example.com/lint/v1}}}\n"
)
SCHEMA = b'{"type": "object", "required": ["errors"], "properties": {"errors": {"type": "integer"}}}'


def _linted() -> dict[str, bytes]:
    lines = _pipeline().splitlines(keepends=True)
    pipeline = b"".join(LINTED if line.startswith(b"  test:") else line for line in lines)
    return {**_files(), ".setpoint/pipeline.yaml": pipeline, "schemas/lint.json": SCHEMA}


def _lint(story: Story) -> Signed:
    return next(item for item in story.sign("run", "r-1") if item.predicate_type == "https://example.com/lint/v1")


def test_a_json_report_is_signed_as_it_is(story: Story) -> None:
    """The signer holds the report against the schema of the run's own tree and signs it under the declared type by the scanner key."""
    record = story.build(story.run("r-1", files=_linted(), reports={"lint": b'{"errors": 0, "by": {"x": 1}}'}))
    signed = _lint(story)
    statement = _statement(signed)
    assert (signed.result, statement.predicate) == ("PASSED", {"errors": 0, "by": {"x": 1}})
    assert verify_bundle(signed.payload, story.trust, ("sha256", record.digest[7:])).role is Role.SCANNER
    story.evidence_service.attach_run("r-1")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert facts.reports == {"lint": ReportFacts("PASSED", {"errors": 0, "by": {"x": 1}})}
    assert (facts.tests_result, facts.faults) == ("PASSED", ())


@pytest.mark.parametrize(
    ("report", "fault"),
    [(b'{"errors": "many"}', "at /errors"), (b"{", "not JSON"), (b'{"errors": 0, "errors": 0}', "stands twice"), (None, "left no report")],
)
def test_a_json_report_that_does_not_hold_is_signed_as_failed(story: Story, report: bytes | None, fault: str) -> None:
    """Whatever the server journalled: the signer looks itself, and an unusable report is FAILED, without a predicate of untrusted words."""
    run = story.run("r-1", files=_linted(), passed=report is not None, reports={} if report is None else {"lint": report})
    story.build(run)
    signed = _lint(story)
    assert signed.result == "FAILED"
    assert _statement(signed).predicate == {}
    assert fault in _statement(signed).own["fault"]


def test_a_task_that_failed_without_its_report_speaks_against_the_artifact(story: Story) -> None:
    """An earlier PASSED for the same bytes must not go on speaking: no report from a failed task is FAILED."""
    story.build(story.run("r-1"))
    story.evidence_service.attach_run("r-1")
    run = story.run("r-2", report=None, passed=False)
    ledger = story.desk._sources.ledger
    ledger.refresh()
    last = replace(ledger.runs["r-2"].results["test"].result, state=TaskState.FAILED)
    story.record("task.finished", "r-2", "setpoint", encode(last))
    record = story.build(run)
    story.evidence_service.attach_run("r-2")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert (facts.tests_result, facts.tests_failed) == ("FAILED", 1)
    later = story.run("r-3")
    story.build(later)
    story.evidence_service.attach_run("r-3")
    facts = EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)
    assert (facts.tests_result, facts.tests_failed) == ("PASSED", 0)
