"""JSON reports from untrusted tasks: read strictly, shown to policies within bounds, and never heard when they do not count."""

import json
from dataclasses import replace
from typing import Any

import pytest

from setpoint.adapters.policy import CelPolicy
from setpoint.core.errors import UserError
from setpoint.evidence.attached import result_of, summary_of
from setpoint.evidence.bundle import parse_statement, render_statement
from setpoint.evidence.coverage import Coverage
from setpoint.evidence.facts import agreed, read_reports
from setpoint.evidence.model import PROVENANCE, REPORT, ArtifactEvidence, ReportFacts, Subject, Verified, signer_of
from setpoint.evidence.reports import LIMIT_BYTES, VIEW_ITEMS, VIEW_VALUES, merged, parse_report, policy_view
from setpoint.evidence.statements import DeclaredReport, JsonFacts, json_statement, stated_at
from setpoint.ground.identity.model import Role
from setpoint.pipeline.model import KeyManifest, TaskResult, TaskState
from setpoint.promotion.facts import policy_facts
from setpoint.promotion.model import Candidate, RenderFacts

AT = "2026-11-23T06:00:00.000Z"
KEY = "sha256:" + "a" * 64
MANIFEST = KeyManifest(1, ("/bin/sh",), {}, KEY, {}, (), KEY, "linux/amd64", network=False, trust="trusted")
LINT = TaskResult("r-1", "lint", TaskState.PASSED, KEY, MANIFEST, exit_code=0)
DECLARED = DeclaredReport("lint", "https://example.com/lint/v1", "lint.json", "schemas/lint.json", "b" * 40)
COVERS = Coverage((), 0)
WEB = Subject("hello/web", {"sha256": "d" * 64})


def said(report: dict[str, Any], *, entry: int = 1, task: str = "lint", **changed: Any) -> Verified:
    """Return a verified report statement about the web image."""
    facts = JsonFacts(replace(LINT, task=task), DECLARED, report, AT, "web", COVERS, entry=entry)
    return Verified(json_statement(replace(facts, **changed), WEB), Role.SCANNER, f"b{entry}")


def test_the_report_of_a_task_without_a_sandbox_says_so() -> None:
    """What an unsandboxed task says can be told apart by whoever reads the statement, as with its test results."""
    plain = replace(LINT, manifest=replace(MANIFEST, sandbox="none"))
    statement = json_statement(JsonFacts(plain, DECLARED, {}, AT), WEB)
    assert statement.subjects[0].annotations["setpoint"]["sandbox"] == "none"
    assert "sandbox" not in said({}).statement.subjects[0].annotations["setpoint"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "no object"),
        (b"3", "no object"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "stands twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "deeper"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper"),
        (b'{"a": ' + b"1" * 5000 + b"}", "digits"),
        (b'{"a": "' + b"x" * LIMIT_BYTES + b'"}', "more than"),
    ],
)
def test_what_readers_could_read_differently_is_refused(data: bytes, word: str) -> None:
    """Broken, doubled, endless, too deep or too large: SP413, and a place where there is one."""
    with pytest.raises(UserError, match="SP413") as caught:
        parse_report(data)
    assert word in caught.value.what


def test_a_report_comes_back_as_it_is() -> None:
    """Everything that JSON has is kept, the largest depth too."""
    value = {"a": [1, 2.5, None, True, "\u00fc"], "b": {}}
    assert parse_report(json.dumps(value).encode()) == value
    assert parse_report(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")


def test_a_policy_sees_what_is_small_and_misses_what_is_not() -> None:
    """What is too long, too deep or too much is absent, never cut: a count over it cannot come out wrong."""
    long = list(range(VIEW_ITEMS + 1))
    report = {
        "errors": 0,
        "files": long,
        "texts": ["x" * 301],
        "text": "x" * 300,
        "huge": 2**70,
        "deep": {"a": {"b": {"c": {"d": {"e": {}}}}}},
    }
    assert policy_view(report) == {"errors": 0, "text": "x" * 300, "deep": {"a": {"b": {"c": {"d": {}}}}}}
    assert policy_view({"files": long[1:]}) == {"files": long[1:]}
    many = {f"k{n:04}": n for n in range(2 * VIEW_VALUES)}
    assert len(policy_view(many)) < VIEW_VALUES


def test_reports_agree_about_equal_values_only() -> None:
    """Of several reports a policy sees what they have in common, and true is not 1."""
    views = [{"errors": 0, "warnings": 1, "flag": True, "by": {"a": 1, "b": 2}}, {"errors": 0, "warnings": 2, "flag": 1, "by": {"a": 1}}]
    assert merged(views) == {"errors": 0, "by": {"a": 1}}


def test_the_predicate_is_the_report_and_our_words_lie_beside_it() -> None:
    """The tool's JSON is the predicate unchanged; task, coverage and result are an annotation of the subject, which survives the wire."""
    report = {"errors": 0, "setpoint": {"covers": True, "task": "forged"}, "timeVerified": "2999-01-01T00:00:00Z"}
    statement = parse_statement(render_statement(said(report, coverage=Coverage(("src/b.py",), 1)).statement))
    assert (statement.predicate_type, statement.predicate) == ("https://example.com/lint/v1", report)
    assert (statement.own["task"], statement.own["covers"], statement.own["result"]) == ("lint", False, "PASSED")
    assert statement.own["schema"] == {"path": "schemas/lint.json", "digest": {"gitBlob": "b" * 40}}
    assert stated_at(statement) == AT
    assert (result_of(statement), summary_of(statement)) == ("PASSED", "lint keeps to schemas/lint.json in task lint")
    assert signer_of(statement.predicate_type) is Role.SCANNER
    assert signer_of(PROVENANCE) is Role.BUILDER


def test_the_newest_in_journal_order_speaks() -> None:
    """A later FAILED beats an earlier PASSED, and the other way round, whatever order the registry lists them in."""
    good, bad = said({"errors": 0}, entry=3), said({}, entry=7, fault="at /errors: no")
    for listed in ([good, bad], [bad, good]):
        assert read_reports(listed)[0] == {"lint": ReportFacts("FAILED")}
    again = said({"errors": 1}, entry=9)
    assert read_reports([again, bad, good])[0] == {"lint": ReportFacts("PASSED", {"errors": 1})}


def test_a_report_of_a_red_task_is_not_heard() -> None:
    """A task that failed although its report is sound: FAILED, and no key of the report for a policy."""
    red = said({"errors": 0}, result=replace(LINT, state=TaskState.FAILED))
    assert read_reports([red])[0] == {"lint": ReportFacts("FAILED")}


def test_a_report_that_does_not_cover_is_named_and_not_heard() -> None:
    """The fault names the files that were not seen."""
    found, faults = read_reports([said({"errors": 0}, coverage=Coverage(("a.py", "b.py", "c.py", "d.py"), 30))])
    assert found == {}
    assert faults == ("EVIDENCE_DOES_NOT_COVER: lint of task lint: a.py, b.py, c.py and 27 more are in the artifact and no input of it",)


def test_a_cell_that_is_silent_fails_the_others() -> None:
    """The cells of a matrix speak together."""
    one = said({"errors": 0}, task="lint@1", cells=("lint@1", "lint@2"))
    found, faults = read_reports([one])
    assert found == {"lint": ReportFacts("FAILED")}
    assert "lint@2 left no lint report" in faults[0]
    assert read_reports([one, said({"errors": 0}, task="lint@2", cells=("lint@1", "lint@2"))])[0]["lint"].result == "PASSED"


@pytest.mark.parametrize(
    ("policy", "reports", "passed"),
    [
        ("evidence.lint.report.errors == 0", {"lint": ReportFacts("PASSED", {"errors": 0})}, True),
        ("evidence.lint.report.errors == 0", {"lint": ReportFacts("PASSED", {"errors": 1})}, False),
        ("evidence.lint.report.errors == 0", {"lint": ReportFacts("FAILED")}, False),
        ("evidence.lint.report.errors == 0", {}, False),
        ("evidence.lint.report.erors == 0", {"lint": ReportFacts("PASSED", {"errors": 0})}, False),
        ('!(evidence.lint.result == "FAILED")', {}, False),
        ('evidence.lint.result == "PASSED"', {"lint": ReportFacts("PASSED")}, True),
        ("artifacts.all(a, a.reports.lint.report.errors == 0)", {"lint": ReportFacts("PASSED", {"errors": 0})}, True),
        ("evidence.tests.total == 0", {"tests": ReportFacts("PASSED", {"total": 9})}, True),
    ],
)
def test_a_policy_reads_reports_and_a_missing_key_denies(policy: str, reports: dict[str, ReportFacts], passed: bool) -> None:  # noqa: FBT001
    """Policies see `evidence.<name>.result` and `.report`; what is not there can only deny, and nothing shadows `tests`."""
    artifact = ArtifactEvidence("web", KEY, True, "", "", 0, 0, 0, "", reports=reports)
    facts = policy_facts(Candidate("web", "prod", {}, None, None), (artifact,), RenderFacts("", ()))
    assert CelPolicy().evaluate(policy, facts).passed is passed


def test_reports_of_several_artifacts_are_heard_together() -> None:
    """One FAILED fails the name for the application; equal values stay."""
    good, other = ReportFacts("PASSED", {"errors": 0, "n": 1}), ReportFacts("PASSED", {"errors": 0, "n": 2})
    assert agreed([good, other]) == ReportFacts("PASSED", {"errors": 0})
    assert agreed([good, ReportFacts("FAILED")]) == ReportFacts("FAILED")


def test_the_default_type_is_our_own() -> None:
    """A report that is declared without a predicate type is of Setpoint's own, signed by the scanner key."""
    assert signer_of(REPORT) is Role.SCANNER
