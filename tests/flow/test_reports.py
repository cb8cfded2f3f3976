"""JSON reports on the road: checked when the task ends, signed as they are, judged by the policy, and shown wherever evidence is shown."""

import io
import json
import tarfile
from typing import Any

from live_home import APP, ENVIRONMENT, PIPELINE, TESTS, LiveHome, wait_for

LINT = """
  lint:
    inputs: [app.py, lint.json]
    run: cp lint.json found.json
    reports: {lint: {file: found.json, schema: schemas/lint.json, predicate: "https://example.com/lint/v1"}}
artifacts:
"""
SCHEMA = json.dumps({"type": "object", "required": ["errors"], "properties": {"errors": {"type": "integer"}}})
POLICY = "evidence.tests.failed == 0 && evidence.tests.total > 0"


def push(live: LiveHome, text: str, report: str) -> str:
    """Push a build whose lint task reports this; returns the commit."""
    pipeline = PIPELINE.replace("\nartifacts:\n", LINT)
    files: dict[str, str | None] = {"app.py": APP % text, "tests.sh": TESTS, ".setpoint/pipeline.yaml": pipeline}
    return live.commit("hello", {**files, "lint.json": report, "schemas/lint.json": SCHEMA}, f"say {text}")


def lint_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lint evidence of a run."""
    return [item for item in report["evidence"] if item["predicate_type"] == "https://example.com/lint/v1"]


def test_a_report_that_does_not_keep_to_its_schema_fails_its_task_with_the_place(live: LiveHome) -> None:
    """The task is red and says where in the JSON; what is signed about the artifact says FAILED."""
    policy = (ENVIRONMENT % live.staging).replace(POLICY, f"{POLICY} && evidence.lint.report.errors == 0")
    live.commit("delivery", {"environments/staging/environment.yaml": policy}, "want lint", who="sam")
    report = live.ended(push(live, "first", '{"errors": "many"}'))
    lint = next(task for task in report["tasks"] if task["task"] == "lint")
    assert lint["state"] == "failed"
    assert 'at /errors: "many" is not of type "integer"' in lint["reason"]
    (evidence,) = lint_of(report)
    assert (evidence["result"], evidence["task"]) == ("FAILED", "lint")


def test_a_policy_judges_what_a_report_says(live: LiveHome) -> None:
    """Errors deny with the number; none passes, and evidence, verify and the exported pack all carry the report."""
    report = live.ended(push(live, "second", '{"errors": 2}'))
    assert lint_of(report)[0]["result"] == "PASSED"
    reason = wait_for("the number", lambda: next((r for r in live.why("staging")["reasons"] if "errors = 2" in r["found"]), None))
    assert reason["code"] == "POLICY_FAILED"
    push(live, "third", '{"errors": 0, "by": "a tool"}')
    cell = live.serves("staging", "third")
    (subject,) = live.api().get("/api/v1/evidence", {"thing": cell["artifacts"]["web"]})["subjects"]
    bundle = next(item for item in subject["bundles"] if item["predicate_type"] == "https://example.com/lint/v1")
    assert (bundle["signer"], bundle["result"], bundle["summary"]) == ("scanner", "PASSED", "lint keeps to schemas/lint.json in task lint")
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
    assert [line for line in lines if not line["passed"]] == []
    assert any("lint of web" in line["detail"] for line in lines)
    with tarfile.open(fileobj=io.BytesIO(live.api().read("/api/v1/evidence/export", {"thing": "hello", "environment": "staging"}))) as tar:
        page = tar.extractfile("evidence/README.md")
        assert page is not None
        assert "--type https://example.com/lint/v1" in page.read().decode()


def test_a_cached_report_is_restated_with_the_run_that_made_it(live: LiveHome) -> None:
    """A change that the lint task does not read: its report counts for the new run and names the old one."""
    first = next(run for run in live.api().get("/api/v1/runs") if run["title"] == "say third")["run"]
    report = live.ended(live.commit("hello", {"README": "hi"}, "nothing of lint's"))
    task = next(task for task in report["tasks"] if task["task"] == "lint")
    assert (task["state"], task["origin_run"]) == ("reused", first)
    assert lint_of(report)[0]["result"] == "PASSED"
