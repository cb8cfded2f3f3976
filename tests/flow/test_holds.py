"""Holds on a live home: a rollback serves before Git says so, a stopped line stays stopped, and both outlive database and server."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from live_home import LiveHome, wait_for
from setpoint.core.errors import ConflictError


def _answers(live: LiveHome) -> str:
    """Return what people and programs see of holds, as JSON."""
    paths = ("/api/v1/status", "/api/v1/why/hello/staging", "/api/v1/why/hello/production")
    answers = [*(live.api().get(path) for path in paths), live.api().get("/api/v1/holds", {"ended": "true"})]
    return json.dumps(answers, sort_keys=True)


def _signer(live: LiveHome) -> int:
    """Return the process id of the server's signer."""
    assert live.process is not None
    pids = [int(text) for text in Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()]
    for pid in pids:
        if b"signer" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    pytest.fail(f"no signer among the children of the server: {pids}")


def _post(live: LiveHome, path: str, **body: Any) -> Any:
    return live.api("sam").post(f"/api/v1/{path}", body)


def test_a_rollback_serves_while_the_signer_is_stopped(live: LiveHome) -> None:
    """Traffic first: with the signer frozen no commit can be made, and the old version serves all the same; then Git follows by itself."""
    for text in ("one", "two"):
        live.release(text)
        live.serves("staging", text)
    head = live.git(live.work / "delivery", "ls-remote", "origin", "main", who="sam").stdout
    signer = _signer(live)
    os.kill(signer, signal.SIGSTOP)
    try:
        asked, body = live.api("sam"), {"app": "hello", "environment": "staging", "message": "bad"}
        thread = threading.Thread(target=lambda: asked.post("/api/v1/rollbacks", body))
        thread.start()
        begun = time.monotonic()
        wait_for("the old version", lambda: live.answer(live.staging)[0] == "one")
        took_s = time.monotonic() - begun
        assert live.git(live.work / "delivery", "ls-remote", "origin", "main", who="sam").stdout == head, "Git has not moved"
    finally:
        os.kill(signer, signal.SIGCONT)
    thread.join()
    wait_for("the commit", lambda: live.api().get("/api/v1/holds") == [])
    assert took_s < 30
    (hold,) = live.api().get("/api/v1/holds", {"ended": "true"})
    (rollback,) = [p for p in live.api().get("/api/v1/promotions") if p["kind"] == "rollback"]
    assert (rollback["state"], rollback["hold"], hold["promotion"]) == ("pinned", hold["hold"], rollback["promotion"])
    live.git(live.work / "delivery", "fetch", "-q", "origin", who="sam")
    message = live.git(live.work / "delivery", "log", "-1", "--format=%B", rollback["pin_commit"], who="sam").stdout
    assert f"Setpoint-Hold: {hold['hold']}" in message
    live.serves("staging", "one")


def test_a_stopped_line_lets_nothing_in_and_outlives_everything(live: LiveHome) -> None:
    """Held, a new release is built and waits with who and why; without the database and after a restart all answers are the same."""
    held = _post(live, "holds", environment="staging", app="hello", message="the database is being moved")
    live.release("three")
    wait_for("the candidate that waits", lambda: (live.cell("staging")["waiting"] or {}).get("reasons"))
    (reason,) = live.cell("staging")["waiting"]["reasons"]
    assert (reason["code"], reason["fix"]) == ("HOLD", "setpoint release hello staging")
    assert "sam@example.com" in reason["found"]
    needs = live.api().get("/api/v1/status")["needs"]
    assert any("the database is being moved" in need["what"] and need["command"] == "setpoint release hello staging" for need in needs)
    before = _answers(live)
    live.stop()
    for file in live.home.glob("setpoint.db*"):
        file.unlink()
    live.start()
    wait_for("the reconciler", lambda: live.cell("staging")["health"] == "healthy")
    assert _answers(live) == before
    assert live.answer(live.staging)[0] == "one"
    assert [hold["hold"] for hold in live.api().get("/api/v1/holds")] == [held["hold"]]


def test_the_whole_line_stops_and_what_is_released_moves_on(live: LiveHome) -> None:
    """Releasing the application leaves the hold of the environment; releasing that too, the candidate goes in by itself."""
    _post(live, "holds", environment="staging", message="incident 7", for_s=3600)
    _post(live, "holds/release", environment="staging", app="hello")
    wait_for("the environment's hold", lambda: "release --all staging" in live.why("staging")["next"])
    assert live.answer(live.staging)[0] == "one"
    _post(live, "holds/release", environment="staging")
    live.serves("staging", "three")
    with pytest.raises(ConflictError, match="nobody holds"):
        _post(live, "holds/release", environment="staging")
