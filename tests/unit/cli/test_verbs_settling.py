"""When `status --wait` may stop: nothing that moves by itself is left, judged from the API's answers and a clock."""

from typing import Any, cast

from setpoint.cli.settling import Heads, Settling, moving
from setpoint.client.http import Api


class Scripted:
    """Answers by path; `events` is a journal whose length the test moves."""

    def __init__(self) -> None:
        self.cells: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.repositories: list[dict[str, Any]] = []
        self.last = 0

    def get(self, path: str, _query: Any = None) -> Any:
        """Answer."""
        status = {"cells": self.cells, "runs": [run for run in self.runs if run["state"] == "running"]}
        return {"status": status, "runs": self.runs, "repositories": self.repositories, "events": [{"index": self.last}]}[path]


def cell(health: str, *reasons: tuple[str, str]) -> dict[str, Any]:
    """Return a cell that waits for these (code, outcome) reasons."""
    shown = [{"code": code, "outcome": outcome, "subject": code.lower()} for code, outcome in reasons]
    return {"app": "a", "environment": "e", "health": health, "waiting": {"version": "2", "reasons": shown} if reasons else None}


def run(commit: str, state: str = "passed", ref: str = "refs/heads/main") -> dict[str, Any]:
    """Return a run of repository `a`."""
    return {"run": "r-1", "repository": "a", "revision": commit, "state": state, "ref": ref}


def test_only_what_waits_for_a_person_is_at_rest() -> None:
    """A missing approval or a deny needs somebody; a check, a soak or a decided pin goes on by itself."""
    assert not moving(cell("healthy"))
    assert not moving(cell("empty", ("APPROVAL_MISSING", "wait"), ("CHECK_FAILED", "wait")))
    assert not moving(cell("healthy", ("POLICY_FAILED", "deny")))
    assert not moving(cell("degraded"))
    assert moving(cell("progressing"))
    assert moving(cell("healthy", ("SOAK_NOT_OVER", "wait")))
    decided = cell("healthy", ("X", "wait"))
    decided["waiting"]["reasons"] = []
    assert moving(decided)


def test_it_is_settled_when_the_journal_was_quiet() -> None:
    """Right after a change nothing may be visible yet: only a quiet journal settles."""
    api, time = Scripted(), [0.0]
    settling = Settling(cast("Api", api), now=lambda: time[0])
    assert settling.look()[1]
    time[0] = 1.0
    api.last = 1
    assert settling.look()[1]
    time[0] = 2.0
    assert settling.look()[1]
    time[0] = 3.0
    assert settling.look()[1] == []


def test_something_degraded_gets_time_to_heal() -> None:
    """A degraded cell settles too, but only when nothing happened for longer."""
    api, time = Scripted(), [0.0]
    api.cells = [cell("degraded")]
    settling = Settling(cast("Api", api), now=lambda: time[0])
    settling.look()
    time[0] = 5.0
    assert settling.look()[1] == ["a in e may heal"]
    time[0] = 11.0
    assert settling.look()[1] == []


def test_a_head_without_a_run_is_waited_for() -> None:
    """A branch that had runs gets 30 s, a new one 3 s, a delivery branch without a pipeline none."""
    time = [0.0]
    heads = Heads(lambda: time[0])
    source = {"name": "a", "heads": {"main": "c2", "topic": "c9"}, "delivery": False}
    delivery = {"name": "d", "heads": {"main": "d1"}, "delivery": True}
    runs = [run("c1")]
    assert len(heads.missing([source, delivery], runs)) == 2
    time[0] = 4.0
    assert heads.missing([source, delivery], runs) == ["a: the run of c2 (main) has not begun"]
    time[0] = 31.0
    assert heads.missing([source, delivery], runs) == []
    assert Heads(lambda: 0.0).missing([{**source, "heads": {"main": "c1"}}], runs) == []


def test_a_running_run_is_not_settled() -> None:
    """A run that goes on is named."""
    api = Scripted()
    api.runs = [run("c1", "running")]
    assert "run r-1 of a goes on" in Settling(cast("Api", api), now=lambda: 0.0).look()[1]
