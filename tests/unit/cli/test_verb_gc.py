"""The verb gc: what a dry run, a collection, a failed one, a stop and the status print; and what `up` hands on to its own process."""

import json
from typing import Any

import pytest

from setpoint.app.settings import Settings
from setpoint.cli.main import run
from setpoint.cli.retention import Retention
from setpoint.retention.model import Rules

RULES = {"versions": 20, "days": 30.0, "log_days": 30.0, "cache_days": 14.0, "grace_s": 86400.0}
ENDED = {
    "gc": "gc-1",
    "state": "done",
    "began_at": "2026-11-25T06:00:00.000Z",
    "by": "operator",
    "ended_at": "2026-11-25T06:00:01.000Z",
    "planned": {},
    "gone": {"blobs": {"count": 9, "size_bytes": 3 << 20}},
    "spared": 2,
    "why": "",
}
REPORT = {
    "active": None,
    "done": 0,
    "total": 0,
    "last": ENDED,
    "rules": RULES,
    "automatic": True,
    "due_at": "2026-11-26T06:00:00.000Z",
    "disk": {"size_bytes": 100 << 30, "free_bytes": 50 << 30},
    "nearly_full": False,
}
PLAN = {
    "size_bytes": 3 << 20,
    "count": 2,
    "going": {"blobs": {"count": 2, "size_bytes": 3 << 20}},
    "keeping": {"blobs": {"count": 4, "size_bytes": 4096}},
    "reasons": {"replica staging-hello-web has it": 1},
    "items": [{"kind": "blobs", "name": "sha256:" + "ab" * 32, "size_bytes": 2 << 20, "why": "nothing names it", "repository": ""}],
    "rules": RULES,
}


def test_a_dry_run_shows_what_goes_and_why_and_what_stays_and_why(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes as people read them, the largest with their reason, how many are not shown; nothing but reads is asked."""
    fake_api.answers["GET", "gc/plan"] = PLAN
    assert run(["gc", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "would go: 3.0 MiB",
        "nothing names it",
        "and 1 smaller ones",
        "1 manifest: replica staging-hello-web has it",
        "4.0 KiB",
    ):
        assert words in shown
    assert run(["gc", "-n", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == PLAN
    assert {method for method, _, _ in fake_api.asked} == {"GET"}


def test_a_collection_is_begun_followed_and_told(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 when it is done; 1 when it failed or was stopped, with the reason on standard error."""
    fake_api.answers |= {("POST", "gc"): {**ENDED, "state": "running"}, ("GET", "gc"): REPORT}
    assert run(["gc"]) == 0
    shown = capsys.readouterr().out
    assert "gc-1  done  3.0 MiB freed" in shown
    assert "used meanwhile, and kept: 2 things" in shown
    fake_api.answers["GET", "gc"] = {**REPORT, "last": {**ENDED, "state": "failed", "why": "a manifest cannot be read"}}
    assert run(["gc", "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["state"] == "failed"
    fake_api.answers["GET", "gc"] = {**REPORT, "last": None}
    assert run(["gc"]) == 1
    assert "the server's log says why" in capsys.readouterr().err


def test_status_and_stop(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The disk, the last one, when the next is due; one option at a time."""
    fake_api.answers |= {("DELETE", "gc"): ENDED, ("GET", "gc"): REPORT}
    assert run(["gc", "--status"]) == 0
    shown = capsys.readouterr().out
    assert "50.0 GiB of 100.0 GiB are free" in shown
    assert "by itself: 2026-11-26T06:00:00.000Z" in shown
    fake_api.answers["GET", "gc"] = {**REPORT, "last": None, "due_at": "", "active": ENDED, "done": 3, "total": 9}
    assert run(["gc", "--status"]) == 0
    shown = capsys.readouterr().out
    assert "gc-1 goes on: 3 of 9 things" in shown
    assert "by itself: never" in shown
    assert run(["gc", "--stop"]) == 0
    assert "gc-1 ends after" in capsys.readouterr().out
    assert run(["gc", "--stop", "--dry-run"]) == 2


def test_the_rules_of_up_reach_the_server_that_is_detached() -> None:
    """The same words again, and only those that were given; what was not given stays the default."""
    assert Retention(True, None, None, None).options() == []
    asked = Retention(False, 5, 0, 7)
    assert asked.options() == ["--no-gc", "--keep-versions", "5", "--keep-days", "0", "--keep-log-days", "7"]
    settings = asked.applied(Settings())
    assert (settings.collects, settings.retention) == (False, Rules(versions=5, days=0, log_days=7))
    assert Retention(True, None, None, None).applied(Settings()).retention == Rules()


def test_an_empty_log_may_be_one_that_is_not_kept(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A task that ended and has no line: both reasons are said, to standard error; of one that was skipped nothing is said."""
    rows = [{"task": task, "family": "", "state": state, "reason": ""} for task, state in (("old", "passed"), ("never", "skipped"))]
    fake_api.answers["GET", "runs/r-1"] = {"run": {"run": "r-1", "error": ""}, "tasks": rows}
    for task in ("old", "never"):
        fake_api.answers["GET", f"runs/r-1/tasks/{task}/log"] = []
    assert run(["log", "r-1"]) == 0
    told = capsys.readouterr().err
    assert "old printed nothing, or its log is not kept any more (setpoint up --keep-log-days)" in told
    assert "never printed" not in told
