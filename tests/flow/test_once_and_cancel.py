"""Tasks that must not run twice, and runs that are stopped, on a live home whose server is killed in the middle."""

import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from live_home import LiveHome, wait_for
from setpoint.cli.main import run as command

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n"
ONCE = (
    HEAD
    + """tasks:
  publish:
    inputs: [app.py]
    once: true
    run: echo publishing; while ! test -e /work/never; do sleep 0.1; done
  tell: {needs: [publish], inputs: [app.py], run: echo told}
"""
)


def run_of(live: LiveHome, commit: str) -> dict[str, Any] | None:
    """Return the report of a commit's run."""
    runs = [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit]
    found: dict[str, Any] | None = live.api().get(f"/api/v1/runs/{runs[0]['run']}") if runs else None
    return found


def state_of(live: LiveHome, commit: str, task: str, state: str) -> dict[str, Any]:
    """Wait until a task of a commit's run has a state; returns the run's report."""

    def look() -> dict[str, Any] | None:
        report = run_of(live, commit)
        rows = [row for row in report["tasks"] if row["task"] == task] if report else []
        return report if rows and rows[0]["state"] == state else None

    return wait_for(f"{task} to be {state}", look)


def ended(live: LiveHome, commit: str) -> dict[str, Any]:
    """Wait until a commit's run has ended."""
    return wait_for("the end of the run", lambda: r if (r := run_of(live, commit)) and r["run"]["state"] != "running" else None)


def page(live: LiveHome, path: str, fields: dict[str, str] | None = None) -> str:
    """Return a page, or what a form of ours leads to, as the operator's browser sees it."""
    cookies = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    login = live.api().post("/api/v1/login-links")["path"]
    cookies.open(live.ready["url"] + login, timeout=30).read()
    data = urllib.parse.urlencode(fields).encode() if fields is not None else None
    request = urllib.request.Request(live.ready["url"] + path, data, {"Sec-Fetch-Site": "same-origin"})
    with cookies.open(request, timeout=30) as response:
        text: str = response.read().decode()
    return text


def begun(live: LiveHome, run: str, task: str) -> int:
    """Return how often a task was begun, as the journal has it."""
    return sum(e["kind"] == "task.started" and e["subject"] == run and e["body"]["task"] == task for e in live.journal())


@pytest.fixture
def asking(live: LiveHome, monkeypatch: pytest.MonkeyPatch) -> LiveHome:
    """Let the command line find the live home."""
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    return live


def test_law_5_a_task_of_once_is_never_begun_twice_whatever_dies(asking: LiveHome, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed in the middle, ended in the middle, its runner killed: it is lost each time, and begun again only when a person says so."""
    live = asking
    commit = live.commit("hello", {".setpoint/pipeline.yaml": ONCE, "app.py": "1\n"})
    run = state_of(live, commit, "publish", "running")["run"]["run"]
    live.stop(kill=True)
    live.start()
    report = state_of(live, commit, "publish", "lost")
    assert (report["run"]["state"], report["run"]["lost"]) == ("running", ["publish"])
    assert begun(live, run, "publish") == 1
    needs = live.api().get("/api/v1/status")["needs"]
    assert any(f"setpoint resolve {run} publish" in need["command"] for need in needs)
    assert command(["watch", run]) == 3
    assert "publish is lost" in capsys.readouterr().err
    assert command(["status", "--wait=20s"]) in (0, 1)
    live.stop()
    live.start()
    assert state_of(live, commit, "publish", "lost")["run"]["lost"] == ["publish"]
    assert begun(live, run, "publish") == 1
    assert command(["resolve", run, "publish", "--again", "-m", "the index has nothing"]) == 0
    state_of(live, commit, "publish", "running")
    assert begun(live, run, "publish") == 2
    live.stop()
    live.start()
    state_of(live, commit, "publish", "lost")
    text = page(live, f"/run/{run}")
    assert "publish is lost." in text
    assert "It did not happen: run it again" in text
    page(live, f"/run/{run}/resolve/publish", {"outcome": "passed", "message": "seen in the index"})
    report = ended(live, commit)
    assert report["run"]["state"] == "passed"
    assert [row["state"] for row in report["tasks"]] == ["passed", "passed"]
    assert begun(live, run, "publish") == 2
    said = [(e["actor"], e["body"]) for e in live.journal() if e["kind"] == "task.resolved"]
    assert [body["outcome"] for _, body in said] == ["again", "passed"]
    assert {actor for actor, _ in said} == {"operator"}


def test_the_database_can_be_deleted_while_a_task_is_lost(asking: LiveHome) -> None:
    """The journal alone says what waits for a person."""
    live = asking
    commit = live.commit("hello", {"app.py": "2\n"})
    run = state_of(live, commit, "publish", "running")["run"]["run"]
    live.stop(kill=True)
    for name in live.home.glob("setpoint.db*"):
        name.unlink()
    live.start()
    assert state_of(live, commit, "publish", "lost")["run"]["lost"] == ["publish"]
    assert command(["resolve", run, "publish", "--failed", "-m", "half of it is there"]) == 0
    report = ended(live, commit)
    assert [(row["state"], row["reason"]) for row in report["tasks"]] == [
        ("failed", "half of it is there"),
        ("skipped", "needs publish, which is failed"),
    ]
    assert command(["resolve", run, "publish", "--passed", "-m", "no"]) == 1


def test_a_run_is_cancelled_by_command_and_by_button_and_says_by_whom(asking: LiveHome, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs is stopped, what waits never begins, and everybody sees who wanted it; a stranger may not."""
    live = asking
    commit = live.commit("hello", {"app.py": "3\n"})
    run = state_of(live, commit, "publish", "running")["run"]["run"]
    with pytest.raises(Exception, match="SP804"):
        live.api("sam").post(f"/api/v1/runs/{run}/cancel", {"message": "mine"})
    wait_for(
        "its first word", lambda: any("publishing" in line["text"] for line in live.api().get(f"/api/v1/runs/{run}/tasks/publish/log"))
    )
    assert command(["cancel", run, "-m", "wrong branch"]) == 0
    report = ended(live, commit)
    assert (report["run"]["state"], report["run"]["error"]) == ("cancelled", "cancelled by operator: wrong branch")
    assert report["tasks"][0]["reason"] == "cancelled by operator: wrong branch; whether it happened is not known"
    assert command(["cancel", run]) == 1
    assert command(["log", f"{run}/publish"]) == 0
    assert "publishing" in capsys.readouterr().out
    commit = live.commit("hello", {"app.py": "4\n"})
    run = state_of(live, commit, "publish", "running")["run"]["run"]
    assert "Cancel the run" in page(live, f"/run/{run}")
    page(live, f"/run/{run}/cancel", {"message": "by button"})
    assert ended(live, commit)["run"]["error"] == "cancelled by operator: by button"
    with pytest.raises(Exception, match="SP804"):
        live.api("sam").post(f"/api/v1/runs/{run}/retry", {"message": "mine"})
    assert "Run what is not green again" in page(live, f"/run/{run}")
    page(live, f"/run/{run}/retry", {"message": "by button"})
    assert command(["retry", run]) == 1
    assert state_of(live, commit, "publish", "lost")["run"]["retried_at"]
    assert command(["resolve", run, "publish", "--failed", "-m", "nothing is there"]) == 0
    assert ended(live, commit)["run"]["state"] == "failed"
    assert command(["retry", run, "-m", "once more"]) == 0
    assert "goes on: publish, tell" in capsys.readouterr().out
    state_of(live, commit, "publish", "lost")
    assert command(["resolve", run, "publish", "--again", "-m", "nothing is there"]) == 0
    state_of(live, commit, "publish", "running")
    said = [(entry["actor"], entry["body"]["why"]) for entry in live.journal() if entry["kind"] == "run.retried"]
    assert said == [("operator", "by button"), ("operator", "once more")]
    assert command(["cancel", run]) == 0
    commit = live.commit("hello", {"app.py": "5\n"})
    run = state_of(live, commit, "publish", "running")["run"]["run"]
    assert command(["cancel", run, "publish"]) == 0
    report = ended(live, commit)
    assert [row["state"] for row in report["tasks"]] == ["cancelled", "skipped"]
