"""What the reading and acting verbs print, from fixed answers of the API, word for word; and their exit codes.

`SETPOINT_UPDATE_GOLDEN=1` writes the texts anew.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from setpoint.cli import rollback
from setpoint.cli.main import run

GOLDEN = Path(__file__).parents[2] / "golden"
DIGEST = "sha256:" + "ab" * 32
COMMIT = "41d2e0b" + "0" * 33


def same(name: str, text: str) -> None:
    """Compare a text with tests/golden/NAME.txt."""
    place = GOLDEN / f"{name}.txt"
    if os.environ.get("SETPOINT_UPDATE_GOLDEN"):
        place.write_text(text)
    assert text == place.read_text()


def reason(code: str, outcome: str, subject: str, found: str, **more: str | None) -> dict[str, Any]:
    """Return a reason as the API gives it."""
    return {"code": code, "outcome": outcome, "subject": subject, "found": found, "wanted": "", "fix": "", "recheck_at": None, **more}


APPROVAL = reason("APPROVAL_MISSING", "wait", "approvals", "0 of 1 (nobody)", wanted="1 from team:sre", fix="setpoint approve p-1")
SOAK = reason("SOAK_NOT_OVER", "wait", "soak in staging", "12m so far", wanted="30m", recheck_at="2026-11-23T14:32:00.000Z")
TESTS = reason("POLICY_PASSED", "allow", "policy", "evidence.tests.failed = 0", wanted="evidence.tests.failed == 0")


def cell(environment: str, **more: Any) -> dict[str, Any]:
    """Return a cell of the matrix."""
    base: dict[str, Any] = {
        "app": "shop",
        "environment": environment,
        "health": "healthy",
        "since": None,
        "version": "7-41d2e0b",
        "revision": COMMIT,
        "promotion": "p-0",
        "artifacts": {"web": DIGEST},
        "url": "http://127.0.0.1:7501/",
        "replicas_ready": 2,
        "replicas_wanted": 2,
        "reasons": [],
        "waiting": None,
    }
    return {**base, **more}


def one_run(state: str, **more: Any) -> dict[str, Any]:
    """Return a run."""
    base = {
        "run": "r-1",
        "repository": "shop",
        "ref": "refs/heads/main",
        "revision": COMMIT,
        "title": "faster cart",
        "state": state,
        "created_at": "2026-11-23T06:00:00.000Z",
        "finished_at": None if state == "running" else "2026-11-23T06:01:05.000Z",
        "error": "",
    }
    return {**base, **more}


WAITING = {"promotion": "p-1", "version": "8-5b1e0c0", "revision": COMMIT, "outcome": "wait", "reasons": [APPROVAL, SOAK]}
EMPTY = cell("production", health="empty", version="", revision="", url="", waiting=WAITING)
STATUS = {
    "delivery": "delivery",
    "apps": ["shop"],
    "environments": ["staging", "production"],
    "cells": [cell("staging"), EMPTY],
    "runs": [one_run("running")],
    "needs": [{"what": "shop in production: 8-5b1e0c0 waits for approvals: 0 of 1 (nobody)", "command": "setpoint approve p-1"}],
    "notices": [reason("NOT_ACCEPTED", "wait", "setpoint.yaml", "changed by eve@example.com", fix="setpoint init --accept 41d2e0b")],
}
WHY = {
    "app": "shop",
    "environment": "production",
    "sentence": "8-5b1e0c0 (5b1e0c0) is NOT in production yet. shop in production runs nothing.",
    "outcome": "wait",
    "reasons": [TESTS, APPROVAL, SOAK],
    "running": EMPTY,
    "promotion": {"promotion": "p-1", "state": "open"},
    "approvals": [],
    "next": "setpoint approve p-1",
}


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    """Return a task's row."""
    base: dict[str, Any] = {
        "task": name,
        "state": state,
        "needs": [],
        "started_at": None,
        "finished_at": None,
        "seconds": None,
        "exit_code": None,
    }
    return {**base, "origin_run": None, "reason": "", "networked": False, "key": "", **more}


def report(state: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """Return a run with its tasks."""
    artifact = {"oci_repository": "shop/web", "digest": DIGEST, "version": "7-41d2e0b"}
    proof = {"predicate_type": "https://slsa.dev/provenance/v1", "result": "PASSED", "summary": "built from 41d2e0b"}
    green = state == "passed"
    return {"run": one_run(state), "tasks": list(tasks), "artifacts": [artifact] if green else [], "evidence": [proof] if green else []}


def test_status_prints_matrix_needs_and_runs(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Every cell is a line, what a person can do follows with its command, then what is not in force and the runs."""
    fake_api.answers["GET", "status"] = STATUS
    assert run(["status"]) == 0
    same("status", capsys.readouterr().out)
    assert run(["status", "shop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS
    assert fake_api.asked[-1][1] == "/api/v1/status?application=shop"


def test_status_of_nothing_says_how_to_begin(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty home still prints the next command."""
    need = {"what": "no delivery repository is registered", "command": "setpoint init --example hello"}
    fake_api.answers["GET", "status"] = {**STATUS, "delivery": "", "cells": [], "runs": [], "needs": [need], "notices": []}
    assert run(["status"]) == 0
    assert "-> setpoint init --example hello" in capsys.readouterr().out


def test_status_wait_tells_degraded_and_late_apart(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end of the time the exit code is 3, with what still moves; something degraded is 1, with the command that explains it."""
    fake_api.answers["GET", "repositories"] = []
    fake_api.answers["GET", "runs"] = []
    fake_api.answers["GET", "events"] = [{"index": 4}]
    fake_api.answers["GET", "status"] = STATUS
    assert run(["status", "--wait=1s"]) == 3
    assert "run r-1 of shop goes on" in capsys.readouterr().err
    fake_api.answers["GET", "status"] = {**STATUS, "runs": [], "cells": [cell("staging", health="degraded")]}
    assert run(["status", "--wait=1s"]) == 1
    assert "next: setpoint why shop staging" in capsys.readouterr().err


def test_why_prints_all_reasons_and_the_next_command(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentence, numbered reasons with their way out, next and the page; a deny is exit code 1."""
    fake_api.answers["GET", "why/shop/production"] = WHY
    assert run(["why", "shop", "production"]) == 0
    same("why", capsys.readouterr().out.replace(fake_api.url, "http://127.0.0.1:7420"))
    fake_api.answers["GET", "why/shop/production"] = {**WHY, "outcome": "deny"}
    assert run(["why", "shop", "production", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reasons"][1]["code"] == "APPROVAL_MISSING"


def test_watch_follows_to_the_end_and_returns_the_result(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Transitions go to standard error, the result with its digests to standard output; a green run is exit code 0."""
    reused = task("deps", "reused", origin_run="r-0")
    begun = report("running", reused, task("test", "running", started_at="2026-11-23T06:00:01.000Z"))
    ended = report("passed", reused, task("test", "passed", seconds=64.0))
    stream = "".join(f"event: run\ndata: {json.dumps(one)}\n\n" for one in (begun, ended))
    fake_api.answers["GET", "runs/r-1/stream"] = stream
    assert run(["watch", "r-1"]) == 0
    shown = capsys.readouterr()
    same("watch", shown.out)
    assert [line[10:] for line in shown.err.splitlines()] == [
        "run r-1  running  shop 41d2e0b faster cart",
        "  deps  reused  as in run r-0",
        "  test  running  since 06:00:01 UTC",
        "run r-1  passed  shop 41d2e0b faster cart",
        "  test  passed  1m",
    ]


def test_watch_shows_the_end_of_a_failed_task(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed task's last 30 lines and the exact command for the rest are printed, and the exit code is 1."""
    ended = report("failed", task("test", "failed", seconds=1.0, reason="exit status 1"))
    fake_api.answers["GET", "runs/r-1/stream"] = f"event: run\ndata: {json.dumps(ended)}\n\n"
    log = [{"seq": n, "at": "2026-11-23T06:00:00.000Z", "stream": "out", "text": f"line {n}\n"} for n in range(40)]
    fake_api.answers["GET", "runs/r-1/tasks/test/log"] = log
    assert run(["watch", "r-1"]) == 1
    shown = capsys.readouterr().err
    assert "line 39" in shown
    assert "line 9\n" not in shown
    assert "setpoint log r-1/test" in shown


def test_watch_without_a_run_takes_the_newest(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """When every head has its run the newest is followed; a home without any commit is told what to do (exit code 2)."""
    fake_api.answers["GET", "repositories"] = [{"name": "shop", "heads": {"main": COMMIT}, "delivery": False}]
    fake_api.answers["GET", "runs"] = [one_run("passed")]
    fake_api.answers["GET", "runs/r-1/stream"] = f"event: run\ndata: {json.dumps(report('passed'))}\n\n"
    assert run(["watch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["run"] == "r-1"
    fake_api.answers["GET", "repositories"] = [{"name": "shop", "heads": {}, "delivery": False}]
    fake_api.answers["GET", "runs"] = []
    assert run(["watch"]) == 2
    assert "setpoint init writes one" in capsys.readouterr().err


def test_log_prints_tasks_with_headers_and_filters(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """All tasks come with headers, one alone without; --grep, --failed and a first line narrow it; a wrong task is suggested."""
    old = "2026-11-23T06:00:00.000Z"
    fake_api.answers["GET", "runs/r-1"] = report("failed", task("deps", "passed"), task("test", "failed", reason="exit status 1"))
    fake_api.answers["GET", "runs/r-1/tasks/deps/log"] = [{"seq": 0, "at": old, "stream": "out", "text": "fetched\n"}]
    fake_api.answers["GET", "runs/r-1/tasks/test/log"] = [
        {"seq": 0, "at": old, "stream": "out", "text": "collected\n"},
        {"seq": 1, "at": old, "stream": "err", "text": "ERROR \x1b[2Jhere\n"},
        {"seq": 2, "at": old, "stream": "note", "text": "stopped after 1s"},
    ]
    assert run(["log", "r-1"]) == 0
    same("log", capsys.readouterr().out)
    assert run(["log", "r-1/test", "--grep", "error"]) == 0
    assert capsys.readouterr().out.startswith("ERROR ")
    assert run(["log", "r-1", "--failed", "--json"]) == 0
    assert {json.loads(line)["task"] for line in capsys.readouterr().out.splitlines()} == {"test"}
    assert run(["log", "r-1/test:3"]) == 0
    assert capsys.readouterr().out == "[setpoint] stopped after 1s\n"
    assert run(["log", "r-1/test", "--since", "1m"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["log", "r-1/tset"]) == 2
    assert "did you mean `test`?" in capsys.readouterr().err
    assert run(["log", "r-1/test:x"]) == 2


def test_log_of_a_replica_and_of_nothing(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no run may be a replica; one that is neither is the run's error."""
    fake_api.answers["GET", "replicas/web-1/log"] = {"replica": "web-1", "text": "GET /\nGET /health\n"}
    assert run(["log", "web-1", "--grep", "health"]) == 0
    assert capsys.readouterr().out == "GET /health\n"
    assert run(["log", "nothing"]) == 2


def test_log_follow_streams_until_the_task_ends(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--follow prints records as they come and stops at the stream's end event."""
    fake_api.answers["GET", "runs/r-1"] = report("running", task("test", "running"))
    record = {"seq": 0, "at": "2026-11-23T06:00:00.000Z", "stream": "out", "text": "one\n"}
    fake_api.answers["GET", "runs/r-1/tasks/test/log/stream"] = (
        f"id: 0\nevent: log\ndata: {json.dumps(record)}\n\nevent: end\ndata: {{}}\n\n"
    )
    assert run(["log", "r-1/test", "--follow"]) == 0
    assert capsys.readouterr().out == "one\n"


PROMOTION = {"promotion": "p-1", "version": "7-41d2e0b", "state": "open", "candidate": {"app": "shop", "environment": "production"}}


def test_approve_by_id_and_by_place(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """APP ENV finds the open promotion; where none is open the exit code is 1 and the sentence says what is."""
    fake_api.answers["POST", "promotions/p-1/approve"] = PROMOTION
    fake_api.answers["GET", "why/shop/production"] = WHY
    assert run(["approve", "p-1", "-m", "good"]) == 0
    assert run(["approve", "shop", "production", "-m", "good"]) == 0
    assert fake_api.asked[-1] == ("POST", "/api/v1/promotions/p-1/approve", {"message": "good"})
    same("approve", capsys.readouterr().out)
    fake_api.answers["GET", "why/shop/production"] = {**WHY, "promotion": None}
    assert run(["approve", "shop", "production"]) == 1
    assert "SP810" in capsys.readouterr().err
    assert run(["approve", "a", "b", "c"]) == 2
    fake_api.problems["promotions/p-1/approve"] = 403
    fake_api.answers["POST", "promotions/p-1/approve"] = {"code": "SP511", "title": "not you", "fix": "ask bob"}
    assert run(["approve", "p-1"]) == 4


def test_promote_lift_and_dry_run(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run asks for nothing and says what the gates say; --lift asks for exactly that."""
    fake_api.answers["GET", "why/shop/production"] = WHY
    assert run(["promote", "shop", "--to", "production", "--dry-run"]) == 0
    assert [method for method, _, _ in fake_api.asked] == ["GET"]
    fake_api.answers["POST", "promotions"] = {"lifted": 1, "promotion": None}
    assert run(["promote", "shop", "--to", "production", "--lift", "-m", "fixed"]) == 0
    assert ("POST", "/api/v1/promotions", {"app": "shop", "environment": "production", "message": "fixed", "lift": True}) in fake_api.asked
    assert "lifted 1 quarantine of shop in production" in capsys.readouterr().out
    assert run(["promote", "shop", "--to", "production", "--lift", "--dry-run"]) == 2
    fake_api.answers["GET", "why/shop/production"] = {**WHY, "outcome": "deny"}
    assert run(["promote", "shop", "--to", "production", "--dry-run"]) == 1


HELD = {"hold": "hold-1", "app": "shop", "environment": "production", "by": "operator", "why": "audit", "until": None}


def test_hold_and_release_name_a_place_or_a_whole_environment(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """APP ENV or --all ENV, with words and perhaps an end; the answer says what holds and how it ends."""
    fake_api.answers["POST", "holds"] = {**HELD, "until": "2026-11-23T08:00:00.000Z"}
    assert run(["hold", "shop", "production", "--until", "2h", "-m", "audit"]) == 0
    body = {"app": "shop", "environment": "production", "for_s": 7200, "message": "audit"}
    assert fake_api.asked == [("POST", "/api/v1/holds", body)]
    shown = capsys.readouterr()
    assert shown.out == "hold-1: nothing new gets into production for shop until 2026-11-23 08:00:00 UTC\n"
    assert "setpoint release shop production" in shown.err
    fake_api.answers["POST", "holds"] = {**HELD, "app": ""}
    assert run(["hold", "--all", "production", "-m", "incident"]) == 0
    assert "nothing new gets into production until it is released" in capsys.readouterr().out
    fake_api.answers["POST", "holds/release"] = [HELD]
    assert run(["release", "--all", "production"]) == 0
    assert fake_api.asked[-1] == ("POST", "/api/v1/holds/release", {"app": "", "environment": "production", "message": ""})
    assert capsys.readouterr().out == "released hold-1 of operator: audit\n"
    for wrong in (["hold", "shop", "production"], ["hold", "shop", "-m", "x"], ["hold", "shop", "a", "--all", "b", "-m", "x"], ["release"]):
        assert run(wrong) == 2


def test_rollback_waits_until_it_serves(fake_api: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns when the old version is healthy; degraded is exit code 1, not in time is 3, --no-wait does not look."""
    fake_api.answers["POST", "rollbacks"] = PROMOTION
    assert run(["rollback", "shop", "production", "--no-wait"]) == 0
    assert fake_api.asked == [("POST", "/api/v1/rollbacks", {"app": "shop", "environment": "production", "to": "", "message": ""})]
    capsys.readouterr()
    fake_api.answers["GET", "status"] = {**STATUS, "cells": [cell("production", promotion="p-1")]}
    assert run(["rollback", "shop", "production", "-m", "too loud"]) == 0
    same("rollback", capsys.readouterr().out)
    fake_api.answers["GET", "status"] = {**STATUS, "cells": [cell("production", promotion="p-1", health="degraded")]}
    assert run(["rollback", "shop", "production"]) == 1
    monkeypatch.setattr(rollback, "_WAIT_S", 0)
    fake_api.answers["GET", "status"] = {**STATUS, "cells": [cell("production")]}
    assert run(["rollback", "shop", "production"]) == 3


def test_verify_numbers_its_checks(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check is a numbered line; one that fails, or none at all, is exit code 1."""
    lines = [{"number": 1, "what": "bytes match", "passed": True, "detail": "web ab"}]
    fake_api.answers["GET", "verify"] = {"subject": "shop in production: 7-41d2e0b", "lines": lines}
    assert run(["verify", "shop", "--in", "production"]) == 0
    same("verify", capsys.readouterr().out)
    fake_api.answers["GET", "verify"] = {"subject": "s", "lines": [*lines, {"number": 2, "what": "tests", "passed": False, "detail": "-"}]}
    assert run(["verify", "shop", "--in", "production", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    fake_api.answers["GET", "verify"] = {"subject": "s", "lines": []}
    assert run(["verify", DIGEST]) == 1


def test_trace_is_a_line_per_step(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Digests and commits are short, the rest is as the API says it."""
    steps = [
        {"kind": "url", "id": "http://127.0.0.1:7502/", "text": "answered by web-1", "at": "", "where": "production"},
        {"kind": "artifact", "id": DIGEST, "text": "shop/web 7", "at": "2026-11-23T06:00:00.000Z", "where": "shop/web"},
        {"kind": "revision", "id": COMMIT, "text": "faster cart (Ann)", "at": "2026-11-23T05:59:00.000Z", "where": "shop"},
    ]
    fake_api.answers["GET", "trace"] = {"thing": "x", "steps": steps}
    assert run(["trace", "http://127.0.0.1:7502/"]) == 0
    same("trace", capsys.readouterr().out)
