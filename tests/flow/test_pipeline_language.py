"""The language of pipelines on a live home: parts of outputs, matrices, and what people see of them."""

import json
import urllib.request
from typing import Any

import pytest

from live_home import LiveHome
from setpoint.cli.main import run as command

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n"
REPORT = (
    """cat > "$1" <<EOF
<testsuite name="t" tests="1"><testcase classname="t" name="$2"/></testsuite>
"""
    "EOF\n"
)
MATRIX = (
    HEAD
    + """tasks:
  deps:
    inputs: [lock, tool.txt]
    run: mkdir vendor && cp lock vendor/lib && cp tool.txt tool
    outputs: [vendor/, tool]
  test:
    matrix: {python: ["3.11", "3.12"], os: [a, b], exclude: [{python: "3.12", os: b}]}
    inputs: [app.py, report.sh, "odd-${matrix.os}.txt"]
    from: {"deps:vendor/": lib/}
    run: |
      test "$(cat lib/lib)" = locked && test ! -e vendor && test ! -e tool
      grep -q good "odd-${matrix.os}.txt"
      echo "${matrix.python} on $MATRIX_OS" > out-${matrix.os}-${matrix.python}
      sh report.sh "report.xml" "$MATRIX_PYTHON"
    outputs: ["out-${matrix.os}-${matrix.python}"]
    evidence: {tests: report.xml}
  sum:
    inputs: [lock]
    from: {"test:": all/, "test@3.11,b:out-b-3.11": one}
    run: cat all/*/out-* one
artifacts:
  web: {needs: [test], image: {base: host, copy: {app.py: /app/, "deps:vendor/": /app/vendor/}, command: [x]}}
"""
).replace("artifacts:\n  web: {needs: [test],", "artifacts:\n  web: {needs: [test, deps],")
FILES = {
    ".setpoint/pipeline.yaml": MATRIX,
    "lock": "locked",
    "tool.txt": "1",
    "app.py": "pass\n",
    "report.sh": REPORT,
    "odd-a.txt": "good",
    "odd-b.txt": "good",
}


def shown(live: LiveHome, path: str) -> str:
    """Return a page as the operator sees it."""
    request = urllib.request.Request(live.ready["url"] + path, headers={"Authorization": f"Bearer {live.ready['token']}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        text: str = response.read().decode()
    return text


def states(report: dict[str, Any]) -> dict[str, str]:
    """Return task -> state."""
    return {row["task"]: row["state"] for row in report["tasks"]}


def test_a_matrix_runs_every_cell_and_its_parts_travel(live: LiveHome) -> None:
    """Cells are tasks with logs, evidence and a page of their own; what is taken lies where it was wanted, and nothing else does."""
    report = live.ended(live.commit("hello", FILES))
    assert report["run"]["state"] == "passed", report
    cells = ["test@3.11,a", "test@3.11,b", "test@3.12,a"]
    assert states(report) == dict.fromkeys(["deps", *cells, "sum"], "passed")
    row = next(row for row in report["tasks"] if row["task"] == "test@3.11,b")
    assert (row["family"], row["cell"], row["needs"]) == ("test", {"python": "3.11", "os": "b"}, ["deps"])
    run = report["run"]["run"]
    log = live.api().get(f"/api/v1/runs/{run}/tasks/sum/log")
    assert "".join(record["text"] for record in log).splitlines() == ["3.11 on a", "3.11 on b", "3.12 on a", "3.11 on b"]
    assert len(report["artifacts"]) == 1
    tests = [one for one in report["evidence"] if one["task"]]
    assert sorted((one["task"], one["result"]) for one in tests) == [(cell, "PASSED") for cell in cells]
    assert all("does not cover" not in one["summary"] for one in tests)
    page = shown(live, f"/run/{run}?task=test%403.11%2Cb")
    assert "3 cells: 3 passed" in page
    assert 'title="test@3.11,b: python 3.11, os b">3.11, b</a>' in page
    assert shown(live, f"/run/{run}/raw/test%403.11%2Cb") == ""


def test_only_what_is_taken_counts_for_the_key(live: LiveHome) -> None:
    """A change in another output of the same task runs that task, and nothing that did not take it."""
    report = live.ended(live.commit("hello", {"tool.txt": "2"}))
    assert states(report) == {"deps": "passed", **dict.fromkeys(["test@3.11,a", "test@3.11,b", "test@3.12,a", "sum"], "reused")}
    assert all("does not cover" not in one["summary"] for one in report["evidence"])


def test_one_failing_cell_stops_no_other_and_fails_the_run(
    live: LiveHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, what needs all of them is skipped, and `log` of the matrix or of one cell says which failed."""
    report = live.ended(live.commit("hello", {"odd-b.txt": "bad"}))
    assert report["run"]["state"] == "failed"
    assert states(report) == {
        "deps": "reused",
        "test@3.11,a": "reused",
        "test@3.11,b": "failed",
        "test@3.12,a": "reused",
        "sum": "skipped",
    }
    skipped = next(row for row in report["tasks"] if row["task"] == "sum")
    assert skipped["reason"] == "needs test@3.11,b, which is failed"
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    assert command(["log", f"{report['run']['run']}/test", "--failed", "--json"]) == 0
    assert {json.loads(line)["task"] for line in capsys.readouterr().out.splitlines()} <= {"test@3.11,b"}
    assert command(["log", f"{report['run']['run']}/test@3.11,b"]) == 0


def test_a_task_without_a_sandbox_is_refused_unless_the_operator_allows_it(live: LiveHome) -> None:
    """Nothing of it is executed; the run fails with the reason and everybody sees what the task declares."""
    bare = HEAD + "tasks:\n  bare: {inputs: [lock], network: true, sandbox: none, run: 'touch /tmp/h1-bare-task'}\n"
    report = live.ended(live.commit("hello", {".setpoint/pipeline.yaml": bare}))
    (row,) = report["tasks"]
    assert (row["state"], row["sandbox"]) == ("failed", "none")
    assert row["reason"].startswith("SP247: `bare` declares `sandbox: none`")
    assert "no sandbox" in shown(live, f"/run/{report['run']['run']}")
