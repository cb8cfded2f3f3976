"""Canaries with a real proxy, replicas and server, under load: good ones go through, bad ones back, and nothing is lost, kills and all."""

import http.client
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from live_home import ENVIRONMENT, MANIFESTS, PIPELINE, TESTS, LiveHome, wait_for

APP = """
import http.server, itertools, os, signal, threading, time

TEXT, FAILS, COUNT = b"%s", %d, itertools.count(1)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(10)
        failed = FAILS and self.path == "/work" and next(COUNT) %% FAILS == 0
        self.send_response(500 if failed else 200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        self.wfile.write(TEXT)
    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *args: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
CANARY = """rollout:
  canary:
    weights: [20, 50]
    hold: 3s
    look: 1s
    keep: 20s
    errors: {requests: 20}
"""
THREE = MANIFESTS.replace("replicas: 1", "replicas: 3")


@dataclass
class Load:
    """Clients without retries, on new and on kept connections, that note every answer by version and status."""

    port: int
    answers: dict[tuple[str, int], int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    pause_s: float = 0.01

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(kept,), daemon=True) for kept in (True, True, False)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exit: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, kept: bool) -> None:  # noqa: FBT001 - a thread's argument
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(self.pause_s):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request("GET", "/work")
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.lost.append(repr(error))
                connection.close()
                connection = None
                continue
            with self._lock:
                key = (text if response.headers.get("Setpoint-Revision") else "proxy", response.status)
                self.answers[key] = self.answers.get(key, 0) + 1
                if response.status in (502, 503, 504):
                    self.lost.append(f"{response.status} {text}")
            if not kept:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def of(self, text: str) -> int:
        """Return how many answers a version gave."""
        return sum(count for (who, _), count in self.answers.items() if who == text)


def _release(live: LiveHome, text: str, fails: int = 0) -> str:
    files = {"app.py": APP % (text, fails), "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}
    return live.commit("hello", files, f"say {text}")


def _rollout(live: LiveHome) -> dict[str, Any]:
    found: dict[str, Any] = live.api().get("/api/v1/rollouts/hello/staging")
    return found


def _phase(live: LiveHome, phase: str, commit: str = "") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = _rollout(live)
        return found if found["phase"] == phase and commit[:7] in found["version"] else None

    return wait_for(f"a rollout that is {phase}", look, 90)


@pytest.fixture(scope="module")
def canary(live: LiveHome) -> LiveHome:
    """A home whose staging rolls out by canary, with three replicas of a first version."""
    files = {"environments/staging/environment.yaml": ENVIRONMENT % live.staging + CANARY, "apps/hello/hello.yaml": THREE}
    live.commit("delivery", files, "canary", who="sam")
    first = _release(live, "one")
    live.serves("staging", "one")
    _phase(live, "finished", first)
    return live


def test_a_good_release_goes_through_by_weights_and_loses_nothing(canary: LiveHome) -> None:
    """The weights are what the clients see; no request fails at any step, and the old version is kept without traffic."""
    with Load(canary.staging) as load:
        commit = _release(canary, "two")
        found = _phase(canary, "holding", commit)
        assert found["weight"] == 20
        before = dict(load.answers)
        time.sleep(2)
        seen = {who: load.of(who) - sum(n for (w, _), n in before.items() if w == who) for who in ("one", "two")}
        assert 0.15 < seen["two"] / (seen["one"] + seen["two"]) < 0.25
        found = _phase(canary, "finished", commit)
        wait_for("all traffic with the new version", lambda: canary.answer(canary.staging)[0] == "two")
    assert load.lost == []
    assert {status for _, status in load.answers} == {200}
    assert found["kept"], "the earlier version stays for a while"
    kinds = [entry["kind"] for entry in canary.journal() if entry["kind"].startswith("rollout.")]
    assert kinds.count("rollout.stepped") >= 5


def test_a_bad_release_is_sent_back_and_taken_out_of_git(canary: LiveHome) -> None:
    """Every second request fails in the canary: traffic goes back, the pin follows, the candidate is barred, and `why` has the numbers."""
    canary.serves("staging", "two")
    with Load(canary.staging) as load:
        bad = _release(canary, "three", fails=2)
        entry = wait_for("the return", lambda: next((e for e in canary.journal() if e["kind"] == "rollout.returned"), None), 90)
        wait_for("no more answers of the bad one", lambda: _quiet(load, "three"))
        canary.serves("staging", "two")
        wait_for("the pin to follow", lambda: _pinned_again(canary))
    assert load.lost == []
    assert {status for who, status in load.answers if who == "two"} == {200}
    assert load.of("three") < 0.3 * load.of("two")
    (reason,) = [one for one in entry["body"]["reasons"] if one["code"] == "CANARY_ERRORS"]
    assert "requests failed in the canary" in reason["found"]
    assert entry["body"]["new"]["version"].endswith(bad[:7])
    barred = canary.api().get("/api/v1/why/hello/staging")
    assert "QUARANTINED" in {one["code"] for one in barred["reasons"]} or barred["running"]["health"] == "healthy"


def _quiet(load: Load, who: str) -> bool:
    seen = load.of(who)
    time.sleep(0.5)
    return load.of(who) == seen


def _pinned_again(live: LiveHome) -> bool:
    every = live.api().get("/api/v1/promotions", {"limit": "20"})
    newest = next(one for one in every if one["candidate"]["environment"] == "staging")
    return bool(newest["kind"] == "rollback" and newest["state"] == "pinned" and newest["requested_by"] == "setpoint")


def test_a_kill_and_a_lost_database_in_the_middle_change_nothing(canary: LiveHome) -> None:
    """The weights stay while no server runs, the answers are equal after the database was deleted, and the canary ends as it would have."""
    canary.serves("staging", "two")
    with Load(canary.staging) as load:
        commit = _release(canary, "four")
        _phase(canary, "holding", commit)
        wait_for("answers of the canary", lambda: load.of("four"))
        canary.stop(kill=True)
        before = load.of("four")
        time.sleep(1.5)
        assert load.of("four") > before, "the proxy goes on splitting by weight"
        canary.start()
        told = _rollout(canary)
        canary.stop()
        for file in canary.home.glob("setpoint.db*"):
            file.unlink()
        canary.start()
        again = _rollout(canary)
        assert (again["rollout"], again["began_at"], again["stable"]) == (told["rollout"], told["began_at"], told["stable"])
        found = _phase(canary, "finished", commit)
        assert found["counts"]["canary_requests"] <= load.of("four")
    assert load.lost == []


def test_without_traffic_a_step_is_held_until_a_person_says_so(canary: LiveHome) -> None:
    """NODATA: the matrix and `why` say it is held; only who may operate the environment goes on, and it is journalled in his name."""
    commit = _release(canary, "five")
    found = _phase(canary, "held", commit)
    assert found["reasons"][-1]["code"] == "NODATA" or "NODATA" in {one["code"] for one in found["reasons"]}
    assert canary.cell("staging")["rollout"] == "canary held at 20 %"
    wait_for("`why` says it", lambda: "NODATA" in canary.codes("staging"))
    needs = [need["command"] for need in canary.api().get("/api/v1/status")["needs"]]
    assert any(command.startswith("setpoint rollout hello staging --resume") for command in needs)
    with pytest.raises(Exception, match="SP514"):
        canary.api("dana").post("/api/v1/rollouts/hello/staging", {"verb": "resume"})
    canary.api("sam").post("/api/v1/rollouts/hello/staging", {"verb": "resume", "message": "quiet on purpose"})
    wait_for("the next step", lambda: _rollout(canary)["weight"] == 50)
    (entry,) = [e for e in canary.journal() if e["kind"] == "rollout.resumed" and e["actor"].startswith("person")]
    assert (entry["actor"], entry["body"]["message"]) == ("person:sam@example.com", "quiet on purpose")


def test_a_newer_push_supersedes_a_canary_and_slow_requests_end(canary: LiveHome) -> None:
    """Requests of ten seconds that are with the superseded and with the old version come to their end."""
    with Load(canary.staging) as load:
        commit = _release(canary, "six")
        _phase(canary, "holding", commit)
        slow: list[int] = []
        threads = [threading.Thread(target=_slow, args=(canary.staging, slow)) for _ in range(10)]
        for thread in threads:
            thread.start()
        newer = _release(canary, "seven")
        _phase(canary, "finished", newer)
        for thread in threads:
            thread.join(30)
    assert load.lost == []
    assert slow == [200] * 10
    strange = [entry for entry in canary.journal() if entry["kind"] == "drift.found"]
    assert strange == [], "what a rollout does itself is never drift"


def _slow(port: int, into: list[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        connection.request("GET", "/slow")
        into.append(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        into.append(0)
    finally:
        connection.close()


def test_kills_of_server_shim_and_proxy_cost_only_what_they_carried(canary: LiveHome) -> None:
    """In the middle of a canary shim, proxy and server get SIGKILL: the weight stays, it ends as it would have, nobody else is failed."""
    run = canary.work / "home.run"
    with Load(canary.staging) as load:
        commit = _release(canary, "eight")
        found = _phase(canary, "holding", commit)
        weight = found["weight"]
        wait_for("answers of the canary", lambda: load.of("eight"))
        assert load.lost == []
        states = [json.loads(path.read_text()) for path in (run / "replicas").glob("staging-*/state.json")]
        os.kill(next(int(state["shim_pid"]) for state in states if state.get("shim_pid")), signal.SIGKILL)
        wait_for("every replica again", lambda: _rollout(canary)["weight"] >= weight and canary.answer(canary.staging)[0])
        by_shim = len(load.lost)
        pid_file = run / "proxies" / "staging" / "haproxy.pid"
        killed = pid_file.read_text()
        os.kill(int(killed.split()[0]), signal.SIGKILL)
        wait_for("another proxy", lambda: pid_file.exists() and pid_file.read_text().strip() not in {"", killed.strip()})
        wait_for("its answers", lambda: canary.answer(canary.staging)[0])
        by_proxy = len(load.lost)
        canary.stop(kill=True)
        before = load.of("eight")
        wait_for("the weight to go on without a server", lambda: load.of("eight") > before + 5)
        canary.start()
        found = _phase(canary, "finished", commit)
    told = [
        entry["body"] for entry in canary.journal() if entry["kind"].startswith("rollout.") and entry["body"]["rollout"] == found["rollout"]
    ]
    weights = [body["weight"] for body in told]
    assert weights == sorted(weights)
    assert weights[-1] == 100
    assert by_shim <= 3, load.lost
    assert len(load.lost) == by_proxy, load.lost
    # While no proxy listens a connection fails; nobody is given an error of the application's or of another proxy's.
    assert not [text for text in load.lost if text.startswith("50")]
    assert {status for who, status in load.answers if who in {"seven", "eight"}} == {200}
