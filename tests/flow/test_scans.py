"""Scanners on the road: from a push whose scan finds something, denied in words, to the fix that is served; with originals and the tar."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from typing import Any

from live_home import APP, ENVIRONMENT, PIPELINE, TESTS, LiveHome, wait_for

SCAN = """
  scan:
    inputs: [app.py, scan.sarif, bom.json]
    run: cp scan.sarif found.sarif; cp bom.json made.json
    reports:
      scan: {file: found.sarif, format: sarif}
      sbom: {file: made.json, format: cyclonedx}
artifacts:
"""
POLICY = "evidence.tests.failed == 0 && evidence.tests.total > 0"
WANTED = f"{POLICY} && evidence.scan.report.findings.error == 0 && evidence.sbom.report.vulnerabilities.critical == 0"


def sarif(*levels: str) -> str:
    """Return a log of semgrep with a result of each level, and one that is suppressed."""
    results: list[dict[str, Any]] = [{"ruleId": "R1", "level": level, "message": {"text": "x"}} for level in levels]
    results.append({"ruleId": "R2", "message": {"text": "y"}, "suppressions": [{"kind": "inSource"}]})
    driver = {"name": "semgrep", "version": "1.2"}
    return json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]})


def bom(**more: Any) -> str:
    """Return an inventory of one library."""
    library = {"type": "library", "name": "jinja2", "version": "3.1", "purl": "pkg:pypi/jinja2@3.1"}
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [library], "vulnerabilities": [], **more}, indent=1)


def push(live: LiveHome, text: str, log: str, inventory: str) -> str:
    """Push a build with these reports; returns the commit."""
    pipeline = PIPELINE.replace("\nartifacts:\n", SCAN)
    files: dict[str, str | None] = {"app.py": APP % text, "tests.sh": TESTS, ".setpoint/pipeline.yaml": pipeline}
    return live.commit("hello", {**files, "scan.sarif": log, "bom.json": inventory}, f"say {text}")


def cli(live: LiveHome, *argv: str, status: int = 0) -> bytes:
    """Run a verb against the server and return what it prints."""
    command = [sys.executable, "-m", "setpoint.cli.main", *argv, "--home", str(live.home)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=120)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout


def test_a_finding_denies_and_the_fix_passes(live: LiveHome) -> None:
    """The gate names what the scanner says and the number that denies; the journal, why and the page say the same words."""
    live.commit("delivery", {"environments/staging/environment.yaml": (ENVIRONMENT % live.staging).replace(POLICY, WANTED)}, who="sam")
    report = live.ended(push(live, "found", sarif("error", "warning"), bom()))
    says = {item["report"]: item["summary"] for item in report["evidence"] if item["report"]}
    assert says["scan"] == "scan: 1 error, 1 warning by semgrep 1.2; 1 suppressed"
    assert says["sbom"] == "sbom: 1 component, no vulnerabilities; age of the vulnerability database not known"

    def denied() -> dict[str, Any] | None:
        reasons = {reason["code"]: reason for reason in live.why("staging")["reasons"]}
        return reasons if "findings.error = 1" in reasons.get("POLICY_FAILED", {}).get("found", "") else None

    reasons = wait_for("the finding that denies", denied)
    assert "REPORTED" in reasons
    told = {reason["subject"]: reason["found"] for reason in live.why("staging")["reasons"] if reason["code"] == "REPORTED"}
    assert told["scan of web"] == "1 error, 1 warning by semgrep 1.2; 1 suppressed"
    assert b"1 error, 1 warning by semgrep 1.2; 1 suppressed" in cli(live, "why", "hello", "staging", status=1)
    push(live, "mended", sarif("warning"), bom())
    live.serves("staging", "mended")


def test_a_vulnerability_and_a_scan_that_did_nothing_deny_too(live: LiveHome) -> None:
    """What is missing, failed or unusable never passes in silence; what ran keeps running."""
    bad = [{"id": "CVE-2026-1", "ratings": [{"method": "CVSSv31", "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}]
    live.ended(push(live, "vulnerable", sarif(), bom(vulnerabilities=bad)))
    wait_for(
        "the vulnerability that denies",
        lambda: next((r for r in live.why("staging")["reasons"] if "vulnerabilities.critical = 1" in r["found"]), None),
    )
    failed = sarif().replace('"results"', '"invocations": [{"executionSuccessful": false}], "results"')
    report = live.ended(push(live, "unscanned", failed, bom()))
    task = next(task for task in report["tasks"] if task["task"] == "scan")
    assert task["state"] == "failed"
    assert "semgrep did not end well, at /runs/0/invocations/0/executionSuccessful" in task["reason"]
    said = next(item for item in report["evidence"] if item["report"] == "scan")
    assert (said["result"], "did not end well" in said["summary"]) == ("FAILED", True)
    live.ended(live.release("unscanned at all"))
    reason = wait_for(
        "the missing scan that denies",
        lambda: next((r for r in live.why("staging")["reasons"] if "there is no report `scan`" in r["found"]), None),
    )
    assert reason["code"] == "POLICY_FAILED"
    assert live.answer(live.staging)[0] == "mended"


def test_a_report_of_a_hundred_megabytes_is_refused_unread(live: LiveHome) -> None:
    """With its size, and without any of it kept."""
    pipeline = PIPELINE.replace("\nartifacts:\n", SCAN).replace("cp scan.sarif found.sarif", "head -c 100000000 /dev/zero >found.sarif")
    report = live.ended(live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "scan.sarif": sarif(), "bom.json": bom()}, "huge"))
    task = next(task for task in report["tasks"] if task["task"] == "scan")
    assert task["state"] == "failed"
    assert "found.sarif is larger than 16777216 bytes" in task["reason"]
    said = next(item for item in report["evidence"] if item["report"] == "scan")
    assert (said["result"], said["document"]) == ("FAILED", None)


def test_evidence_and_the_tar_carry_the_originals(live: LiveHome) -> None:
    """As JSON, in words, byte for byte, and in the tar under the digest that the statement names."""
    commit = push(live, "carried", sarif("note"), bom(metadata={"timestamp": "2026-11-24T10:00:00Z"}))
    live.ended(commit)
    cell = live.serves("staging", "carried")
    query = {"thing": cell["artifacts"]["web"]}
    (subject,) = live.api().get("/api/v1/evidence", query)["subjects"]
    found = {bundle["report"]: bundle for bundle in subject["bundles"] if bundle["report"]}
    assert (found["sbom"]["predicate_type"], found["sbom"]["signer"]) == ("https://cyclonedx.org/bom", "scanner")
    assert found["scan"]["counts"]["findings"]["note"] == 1
    assert found["sbom"]["counts"]["made"] == "2026-11-24T10:00:00.000Z"
    original = bom(metadata={"timestamp": "2026-11-24T10:00:00Z"}).encode()
    assert live.api().read("/api/v1/evidence/original", {**query, "name": "sbom"}) == original
    assert cli(live, "evidence", "hello", "--in", "staging", "--original", "sbom") == original
    shown = cli(live, "evidence", "hello", "--in", "staging").decode()
    assert "scan: 1 note by semgrep 1.2; 1 suppressed" in shown
    assert "originals: sbom, scan" in shown
    packed = live.api().read("/api/v1/evidence/export", {"thing": "hello", "environment": "staging"})
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        file, page = (
            tar.extractfile(f"evidence/documents/sha256-{hashlib.sha256(original).hexdigest()}"),
            tar.extractfile("evidence/README.md"),
        )
        assert file is not None
        assert page is not None
        assert file.read() == original
        text = page.read().decode()
    assert "--type cyclonedx" in text
    assert "Its document: `documents/sha256-" in text
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
    assert [line for line in lines if not line["passed"]] == []
