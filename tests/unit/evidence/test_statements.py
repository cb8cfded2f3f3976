"""Statements: what is signed says what the facts say, in the standards' fields, the same bytes every time."""

from dataclasses import replace

from setpoint.artifact.model import ArtifactRecord
from setpoint.core.reasons import Outcome, Reason
from setpoint.evidence import gate
from setpoint.evidence.bundle import render_statement
from setpoint.evidence.candidate import candidate_of
from setpoint.evidence.coverage import Coverage
from setpoint.evidence.facts import count_tests, newest
from setpoint.evidence.model import SANDBOXED_BUILDER, TEST_RESULT, Statement, Subject, SuiteResult, Verified
from setpoint.evidence.provenance import BuildFacts, claims, provenance
from setpoint.evidence.statements import ApprovalFacts, SuiteFacts, SummaryFacts, approval, gate_summary, stated_at, suite_statement
from setpoint.ground.identity.model import Role
from setpoint.pipeline.model import KeyManifest, Run, RunState, StoredFile, TaskResult, TaskState

KEY, ROOT, OUT = ("sha256:" + letter * 64 for letter in "abc")
DIGEST = "sha256:" + "d" * 64
COMMIT = "1" * 40
AT = "2026-11-23T06:00:00.000Z"
MANIFEST = KeyManifest(1, ("/bin/sh",), {}, ROOT, {"deps": OUT}, (), "sha256:" + "e" * 64, "linux/amd64", network=False, trust="trusted")
TEST = TaskResult("r-1", "test", TaskState.PASSED, KEY, MANIFEST, exit_code=0)
DEPS = TaskResult(
    "r-1", "deps", TaskState.REUSED, KEY, replace(MANIFEST, needs={}), outputs=StoredFile(OUT, 3), origin_run="r-0", networked=True
)
SUITE = SuiteResult(("a", "b"), (), ("c",))
RUN = Run("r-1", "hello", "refs/heads/main", COMMIT, "2" * 40, "t", "dev@x", "dev@x", RunState.RUNNING, AT, pipeline="3" * 40)
RECORD = ArtifactRecord("hello", "web", "hello/web", DIGEST, 9, "r-1", COMMIT, "1-1111111", AT, ("deps",), ROOT, "host")
CONTENT = {
    "app": "web",
    "environment": "prod",
    "artifacts": {"web": {"repository": "hello/web", "digest": DIGEST}},
    "trees": {"app": "4" * 40, "environment": None},
}
SUMMARY = SummaryFacts(CONTENT, "p-1", "advance", "", "sha256:bind", "git+setpoint:delivery@x#e", "5" * 40, passed=True, at=AT)


def _verified(statement: Statement, name: str = "b1") -> Verified:
    return Verified(statement, Role.GATE, name)


def _tests(facts: SuiteFacts) -> Verified:
    return _verified(suite_statement(facts, Subject("hello/web", {"sha256": "d" * 64})))


def test_suite_statement_follows_test_result() -> None:
    """Passed, skipped (as warned) and failed tests, the task's key and its input root are where the standard wants them."""
    statement = suite_statement(SuiteFacts(TEST, SUITE, AT, "web", Coverage((), 0)), Subject("hello/web", {"sha256": "d" * 64}))
    predicate = statement.predicate
    assert predicate["result"] == "PASSED"
    assert (predicate["passedTests"], predicate["warnedTests"], predicate["failedTests"]) == (["a", "b"], ["c"], [])
    assert predicate["configuration"] == [
        {"name": "task/test", "digest": {"sha256": "a" * 64}},
        {"name": "inputs", "digest": {"sha256": "b" * 64}},
    ]
    assert predicate["setpoint"]["covers"] is True
    assert render_statement(statement) == render_statement(statement)


def test_a_red_task_is_failed_whatever_its_report_says() -> None:
    """A clean report of a task that ended red, or a report that cannot be read, is FAILED."""
    red = SuiteFacts(replace(TEST, state=TaskState.FAILED), SUITE, AT)
    assert red.verdict == "FAILED"
    assert SuiteFacts(TEST, SUITE, AT, fault="bad XML").verdict == "FAILED"
    assert SuiteFacts(TEST, SUITE, AT).summary == "2 of 2 tests passed, 1 skipped"


def test_long_reports_are_cut_and_counted() -> None:
    """Names are bounded in number and length; counts stay exact and are what verification sums."""
    suite = SuiteResult(tuple("x" * 1000 for _ in range(6000)), (), ())
    item = _tests(SuiteFacts(TEST, suite, AT, "web", Coverage((), 0)))
    assert len(item.statement.predicate["passedTests"]) == 5000
    assert len(item.statement.predicate["passedTests"][0]) == 300
    assert count_tests([item]).passed == 6000


def test_newest_result_of_a_task_wins_by_signed_time() -> None:
    """A later failure replaces an earlier pass, in whatever order the registry lists them."""
    good = _tests(SuiteFacts(TEST, SUITE, AT, "web", Coverage((), 0)))
    bad = _tests(SuiteFacts(TEST, SuiteResult(("a",), ("b",), ()), "2026-11-24T06:00:00.000Z", "web", Coverage((), 0)))
    for order in ([good, bad], [bad, good]):
        assert count_tests(order).result == "FAILED"
        assert newest(order, TEST_RESULT) == bad


def test_what_does_not_cover_is_named_and_not_counted() -> None:
    """Another artifact's tests prove nothing here."""
    count = count_tests([_tests(SuiteFacts(TEST, SUITE, AT, "web", Coverage(("src/b.py",), 1)))])
    assert (count.passed, count.result) == (0, "")
    assert count.faults == ("EVIDENCE_DOES_NOT_COVER: task test: src/b.py is in the artifact and no input of it",)


def test_a_red_task_without_a_failed_test_still_counts_as_a_failure() -> None:
    """A policy that only looks at `failed == 0` must not pass it."""
    count = count_tests([_tests(SuiteFacts(replace(TEST, state=TaskState.TIMED_OUT), SUITE, AT, "web", Coverage((), 0)))])
    assert (count.failed, count.result) == (1, "FAILED")


def test_provenance_names_everything_it_was_made_of() -> None:
    """Revision, base or toolchain, tasks with outputs and network marks, builder, run and origin run are in SLSA's places."""
    facts = BuildFacts(RUN, RECORD, (DEPS,), "sha256:" + "e" * 64, "3" * 40, SANDBOXED_BUILDER, AT)
    predicate = provenance(facts).predicate
    dependencies = {item["name"]: item for item in predicate["buildDefinition"]["resolvedDependencies"]}
    assert dependencies["source"]["digest"] == {"gitCommit": COMMIT}
    assert dependencies["host-toolchain"]["digest"] == {"sha256": "e" * 64}
    assert dependencies["task/deps"]["digest"] == {"sha256": "c" * 64}
    assert dependencies["task/deps"]["annotations"] == {"key": KEY, "state": "reused", "networked": True, "outputs": OUT}
    assert predicate["runDetails"]["metadata"] == {"invocationId": "r-1", "startedOn": AT, "finishedOn": AT}
    assert predicate["runDetails"]["byproducts"][0]["annotations"] == {"run": "r-0"}
    external = predicate["buildDefinition"]["externalParameters"]
    assert external["pipeline"] == {"path": ".setpoint/pipeline.yaml", "digest": {"gitBlob": "3" * 40}}
    built = claims(provenance(facts))
    assert (built.repository, built.revision, built.builder, built.networked) == ("hello", COMMIT, SANDBOXED_BUILDER, ("deps",))


def test_a_base_image_is_a_dependency_by_digest() -> None:
    """The digest is what counts, with or without the reference it came by."""
    for base in (OUT, f"reg.example/python@{OUT}"):
        facts = BuildFacts(RUN, replace(RECORD, base=base), (), "", "", SANDBOXED_BUILDER, AT)
        listed = provenance(facts).predicate["buildDefinition"]["resolvedDependencies"]
        assert {"name": "base", "digest": {"sha256": "c" * 64}} in listed


def test_claims_of_rubbish_are_empty() -> None:
    """A statement that lacks everything claims nothing and raises nothing."""
    built = claims(Statement((), "x", {"buildDefinition": [], "runDetails": None}))
    assert (built.revision, built.builder, built.networked) == ("", "", ())


def test_gate_summary_says_passed_and_failed() -> None:
    """A verification summary carries policy, inputs and all reasons; FAILED claims no level."""
    reason = Reason("POLICY_FAILED", Outcome.DENY, "policy", "false", "true")
    passed = gate_summary(replace(SUMMARY, inputs=(OUT,), levels=("SLSA_BUILD_LEVEL_2",))).predicate
    failed = gate_summary(replace(SUMMARY, passed=False, reasons=(reason,), levels=("SLSA_BUILD_LEVEL_2",))).predicate
    assert passed["verifier"]["id"] == "https://setpoint.dev/gate/prod"
    assert passed["policy"]["digest"] == {"gitBlob": "5" * 40}
    assert passed["inputAttestations"] == [{"digest": {"sha256": "c" * 64}}]
    assert (passed["verificationResult"], passed["verifiedLevels"]) == ("PASSED", ["SLSA_BUILD_LEVEL_2"])
    assert (failed["verificationResult"], failed["verifiedLevels"]) == ("FAILED", ["FAILED"])
    assert failed["setpoint"]["reasons"][0]["code"] == "POLICY_FAILED"


def test_every_statement_carries_its_time() -> None:
    """The signed time is found in each of our four types."""
    facts = BuildFacts(RUN, RECORD, (), "", "", SANDBOXED_BUILDER, AT)
    given = ApprovalFacts(CONTENT, "p-1", "sha256:bind", "Ada", "ada@x", "ok", AT)
    every = (provenance(facts), gate_summary(SUMMARY), approval(given), _tests(SuiteFacts(TEST, SUITE, AT)).statement)
    assert [stated_at(statement) for statement in every] == [AT] * 4
    assert stated_at(Statement((), "x", {"setpoint": "no"})) == ""


CANDIDATE = candidate_of(gate_summary(SUMMARY)) or b""


def test_admission_wants_exactly_this_candidate_policy_and_promotion() -> None:
    """Law 2: a PASSED statement admits only what it is about."""
    passed = [_verified(gate_summary(SUMMARY))]
    assert gate.admission_fault(passed, CANDIDATE, "p-1", "5" * 40) == ""
    assert "no gate statement" in gate.admission_fault(passed, CANDIDATE, "p-2", "5" * 40)
    assert "policy" in gate.admission_fault(passed, CANDIDATE, "p-1", "6" * 40)
    assert "other digests or trees" in gate.admission_fault(passed, CANDIDATE.replace(b"4" * 40, b"9" * 40), "p-1", "5" * 40)
    assert "no gate statement" in gate.admission_fault([], CANDIDATE, "p-1", "5" * 40)


def test_a_failed_statement_never_passes() -> None:
    """Law 2: neither alone nor after an earlier PASSED one."""
    passed = _verified(gate_summary(SUMMARY))
    failed = _verified(gate_summary(replace(SUMMARY, passed=False, at="2026-11-24T00:00:00.000Z")))
    for statements in ([failed], [passed, failed], [failed, passed]):
        assert "FAILED" in gate.admission_fault(statements, CANDIDATE, "p-1", "5" * 40)


def test_a_provenance_by_the_gate_key_admits_nothing() -> None:
    """A statement of another type is no gate statement, whoever signed it."""
    other = _verified(provenance(BuildFacts(RUN, RECORD, (), "", "", SANDBOXED_BUILDER, AT)))
    assert gate.read_gate(other) is None
    assert "no gate statement" in gate.admission_fault([other], CANDIDATE, "p-1", "5" * 40)


def test_approvals_count_for_their_binding_only() -> None:
    """An approval of another binding or promotion is not found."""
    item = _verified(approval(ApprovalFacts(CONTENT, "p-1", "sha256:bind", "Ada", "ada@x", "ok", AT)))
    assert gate.approvals_of([item], "p-1", "sha256:bind") == {"ada@x": item}
    assert gate.approvals_of([item], "p-1", "sha256:other") == {}
    assert gate.approvals_of([item], "p-2", "sha256:bind") == {}


def test_the_results_of_some_cells_do_not_speak_for_the_others() -> None:
    """A matrix of which one cell left no result counts as a failure, however well the other did; with all cells it counts."""
    cells = ("test@1", "test@2")
    one, two = (_tests(SuiteFacts(replace(TEST, task=name), SUITE, AT, "web", Coverage((), 0), cells=cells)) for name in cells)
    alone = count_tests([one])
    assert (alone.result, alone.failed) == ("FAILED", 1)
    assert alone.faults == ("EVIDENCE_INCOMPLETE: test@2 left no test result, and other cells of its matrix did",)
    both = count_tests([one, two])
    assert (both.result, both.failed, both.passed, both.faults) == ("PASSED", 0, 4, ())


def test_provenance_names_a_secret_by_its_version_and_never_by_its_value() -> None:
    """What a build was given is known, what it is worth is not."""
    given = replace(DEPS, manifest=replace(MANIFEST, secrets=("TOKEN=INDEX_TOKEN@3",)))
    found = provenance(BuildFacts(RUN, RECORD, (given,), "", "3" * 40, SANDBOXED_BUILDER, AT))
    (notes,) = [one["annotations"] for one in found.predicate["buildDefinition"]["resolvedDependencies"] if one["name"] == "task/deps"]
    assert notes["secrets"] == ["TOKEN=INDEX_TOKEN@3"]
