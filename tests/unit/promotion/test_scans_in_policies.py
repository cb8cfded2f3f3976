"""Scans in policies: summed over artifacts, aged as of the decision, told as reasons, and never passed in silence when one is missing."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from setpoint.adapters.policy import CelPolicy
from setpoint.core.reasons import Outcome
from setpoint.evidence.facts import agreed
from setpoint.evidence.model import SANDBOXED_BUILDER, ArtifactEvidence, ReportFacts
from setpoint.promotion import policy_names, report_facts
from setpoint.promotion.config import Gates
from setpoint.promotion.decide import decide
from setpoint.promotion.facts import policy_facts
from setpoint.promotion.model import Candidate, GateFacts, Promotion, RenderFacts

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def scan(error: int, document: str = "d1", **more: Any) -> ReportFacts:
    """Return a SARIF report that counts."""
    counts = {"findings": {"error": error, "total": error}, "database": {"known": False}, **more}
    return ReportFacts("PASSED", counts, f"{error} errors by semgrep", "sarif", {document: counts})


def sbom(critical: int | None, updated: str = "", document: str = "b1") -> ReportFacts:
    """Return an inventory, without counts of vulnerabilities for None."""
    base = {"known": True, "updated": updated} if updated else {"known": False}
    counts: dict[str, Any] = {"components": {"total": 3}, "database": base}
    counts |= {"vulnerabilities": {"critical": critical}} if critical is not None else {}
    return ReportFacts("PASSED", counts, "3 components", "cyclonedx", {document: counts})


def artifact(name: str = "web", *faults: str, **reports: ReportFacts) -> ArtifactEvidence:
    """Return a built artifact with these reports."""
    return ArtifactEvidence(name, DIGEST, True, SANDBOXED_BUILDER, "c" * 40, 3, 0, 0, "PASSED", faults, reports)


def passes(policy: str, *evidence: ArtifactEvidence) -> bool:
    """Evaluate a policy over these artifacts."""
    facts = policy_facts(Candidate("web", "prod", {}, None, None), evidence, RenderFacts("", ()), now=NOW)
    return CelPolicy().evaluate(policy, facts).passed


ERRORS = "evidence.scan.report.findings.error == 0"
CRITICAL = "evidence.sbom.report.vulnerabilities.critical == 0"
FRESH = "evidence.sbom.report.database.age_h <= 72"


@pytest.mark.parametrize(
    ("policy", "evidence", "passed"),
    [
        (ERRORS, [artifact(scan=scan(0))], True),
        (ERRORS, [artifact(scan=scan(1))], False),
        (ERRORS, [artifact(scan=ReportFacts("FAILED"))], False),
        (ERRORS, [artifact()], False),
        (ERRORS, [], False),
        (ERRORS, [artifact(scan=scan(0)), artifact("api", scan=scan(1, "d2"))], False),
        (ERRORS, [artifact(scan=scan(0)), artifact("api", scan=scan(0, "d2"))], True),
        (ERRORS, [artifact(scan=scan(0)), artifact("model")], False),
        ('evidence.scan.missing == ["model"]', [artifact(scan=scan(0)), artifact("model")], True),
        (
            'artifacts.exists(a, a.name == "web" && a.reports.scan.report.findings.error == 0)',
            [artifact(scan=scan(0)), artifact("model")],
            True,
        ),
        ('!(evidence.scan.result == "FAILED")', [artifact()], False),
        (CRITICAL, [artifact(sbom=sbom(0))], True),
        (CRITICAL, [artifact(sbom=sbom(None))], False),
        (CRITICAL, [artifact(sbom=sbom(0)), artifact("api", sbom=sbom(None, document="b2"))], False),
        (FRESH, [artifact(sbom=sbom(0, "2026-11-24T12:00:00Z"))], True),
        (FRESH, [artifact(sbom=sbom(0, "2026-11-20T12:00:00Z"))], False),
        (FRESH, [artifact(sbom=sbom(0))], False),
        (FRESH, [artifact(sbom=sbom(0, "2030-01-01T00:00:00Z"))], False),
        ("evidence.sbom.report.database.known", [artifact(sbom=sbom(0))], False),
        (f"artifacts.all(a, a.reports.sbom.{FRESH.partition('sbom.')[2]})", [artifact(sbom=sbom(0, "2026-11-24T12:00:00Z"))], True),
    ],
)
def test_a_policy_hears_scans_of_every_artifact_and_silence_denies(policy: str, evidence: list[ArtifactEvidence], passed: bool) -> None:  # noqa: FBT001
    """What is missing, failed, of another artifact, too old or of an unknown age never passes."""
    assert passes(policy, *evidence) is passed


def test_one_scan_of_two_artifacts_counts_once() -> None:
    """The same document about several artifacts is one scan; different ones are added."""
    together = agreed([scan(2), scan(2), scan(1, "d2")])
    assert together.report["findings"]["error"] == 3
    assert agreed([together, scan(2)]).report["findings"]["error"] == 3
    assert together.says == "2 errors by semgrep; 1 errors by semgrep"


def test_reports_of_two_formats_under_one_name_are_not_added() -> None:
    """Of them only what they agree about is told."""
    other = ReportFacts("PASSED", {"findings": {"error": 5}}, format="cyclonedx", counted={"x": {"findings": {"error": 5}}})
    assert agreed([scan(2), other]).report == {"findings": {}}


@pytest.mark.parametrize(
    ("policy", "evidence", "words"),
    [
        (ERRORS, [artifact(scna=scan(0))], ["there is no report `scan`; did you mean `scna`?"]),
        (ERRORS, [artifact()], ["there is no report `scan`; there are no reports yet"]),
        (
            ERRORS,
            [artifact("web", "EVIDENCE_DOES_NOT_COVER: scan of task t: a.py is in it")],
            ["EVIDENCE_DOES_NOT_COVER: scan of task t: a.py is in it"],
        ),
        (ERRORS, [artifact(scan=scan(0)), artifact("model")], ["model has no report `scan`"]),
        (ERRORS, [artifact(scan=ReportFacts("FAILED", says="did not end well"))], ["scan of web is FAILED: did not end well"]),
        ("artifacts.all(a, a.reports.sbom.report.n == 0)", [artifact(scan=scan(0))], ["there is no report `sbom`; known reports: scan"]),
        (ERRORS, [artifact(scan=scan(3))], []),
        ("evidence.tests.failed == 0", [artifact()], []),
    ],
)
def test_why_a_named_report_does_not_count_is_said(policy: str, evidence: list[ArtifactEvidence], words: list[str]) -> None:
    """Beside CEL's own words, which know nothing of coverage."""
    assert report_facts.faults(policy, evidence) == words


def test_a_mistyped_count_is_told_with_the_nearest() -> None:
    """The names of a scan are known when it is judged."""
    facts = policy_facts(Candidate("web", "prod", {}, None, None), (artifact(scan=scan(0)),), RenderFacts("", ()))
    result = CelPolicy().evaluate("evidence.scan.report.findings.eror == 0", facts)
    assert not result.passed
    assert "there is no evidence.scan.report.findings.eror, did you mean `error`?" in result.detail


def test_what_a_report_does_not_have_is_found_before_it_is_judged() -> None:
    """`setpoint check` knows what every report has, whatever its name; what is in it only the scan knows."""
    (found,) = policy_names.unknown("evidence.scan.findings.error == 0")
    assert (found.offset, found.name) == (14, "evidence.scan.findings")
    assert found.fix == "known names of evidence.scan: missing, report, result"
    assert policy_names.unknown("evidence.scan.report.findings.eror == 0 && evidence.tests.failed == 0 && has(evidence.sbom)") == []


def test_the_gate_tells_what_scanners_say_and_judges_by_the_policy_only() -> None:
    """A reason for each scan of each artifact, in words; a failed one is told too, and neither allows nor denies by itself."""
    json_report = ReportFacts("PASSED", {"n": 1}, "keeps to lint.json")
    evidence = artifact(scan=scan(2), sbom=ReportFacts("FAILED", says="it is XML"), lint=json_report)
    candidate = Candidate("web", "prod", {}, None, None)
    promotion = Promotion(
        "p-1", "advance", candidate, "hello", "c" * 40, "1", "d" * 40, "d" * 40, "e" * 40, "b", "setpoint", "2026-11-25T00:00:00Z"
    )
    facts = GateFacts(candidate, (evidence,), (), (), (), "b", {}, frozenset(), None, RenderFacts("r", ()), None)
    verdict = decide(facts, Gates(), promotion, NOW)
    told = {reason.code: reason for reason in verdict.reasons if reason.code.startswith("REPORT")}
    assert (told["REPORTED"].subject, told["REPORTED"].found) == ("scan of web", "2 errors by semgrep")
    assert (told["REPORT_FAILED"].subject, told["REPORT_FAILED"].found) == ("sbom of web", "it is XML")
    assert len(told) == 2
    assert verdict.outcome is Outcome.ALLOW
    assert decide(replace(facts, evidence=(artifact(),)), Gates(), promotion, NOW).outcome is Outcome.ALLOW
