"""The whole road, as a user goes it: push, tested image, evidence, staging, gates, approval, production, second release, rollback."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from live_home import FAILING, LiveHome, wait_for
from setpoint.adapters.git.spool import PushSpool
from setpoint.core.errors import NotAllowedError
from setpoint.source.model import RefUpdate


def test_a_push_becomes_a_tested_image_that_staging_serves(live: LiveHome) -> None:
    """A push alone brings a tested, proved image to the first environment, and production waits with its reasons."""
    commit = live.release("one")
    cell = live.serves("staging", "one")
    assert cell["revision"] == commit
    report = live.api().get(f"/api/v1/runs/{commit}")
    assert report["run"]["state"] == "passed"
    assert {record["predicate_type"].split("/")[2] for record in report["evidence"]} == {"slsa.dev", "in-toto.io"}
    assert all(record["result"] == "PASSED" for record in report["evidence"])
    wait_for("the reasons", lambda: "APPROVAL_MISSING" in live.codes("production"))
    found = live.why("production")
    assert found["outcome"] == "wait"
    assert {"PROVENANCE_SIGNED", "UPSTREAM_RUNS_IT", "POLICY_PASSED", "CHECK_PASSED"} <= live.codes("production")
    assert found["next"] == f"setpoint approve {found['promotion']['promotion']}"


@pytest.mark.parametrize(("who", "words"), [("operator", "nobody's approval"), ("dana", "may not approve")])
def test_only_the_named_people_may_approve(live: LiveHome, who: str, words: str) -> None:
    """The operator belongs to no team and a developer is not an approver: both are refused with the reason."""
    promotion = live.why("production")["promotion"]["promotion"]
    with pytest.raises(NotAllowedError, match=words):
        live.api(who).post(f"/api/v1/promotions/{promotion}/approve", {})


def test_an_approval_brings_it_to_production_traceably(live: LiveHome) -> None:
    """After the approval production serves it; header, metrics, trace and verify all name the same build."""
    live.approve()
    cell = live.serves("production", "one")
    headers = live.answer(live.production)[1]
    assert headers["setpoint-revision"] == cell["revision"]
    assert headers["setpoint-digest"] == cell["artifacts"]["web"]
    assert headers["setpoint-promotion"] == cell["promotion"]
    request = urllib.request.Request(f"{live.ready['url']}/metrics", headers={"Authorization": f"Bearer {live.ready['token']}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        metrics = response.read().decode()
    assert f'environment="production",revision="{cell["revision"]}",digest="{cell["artifacts"]["web"]}"' in metrics
    steps = live.api().get("/api/v1/trace", {"thing": f"http://127.0.0.1:{live.production}/"})["steps"]
    assert [step["kind"] for step in steps][:4] == ["url", "replica", "image", "pin"]
    assert steps[-1] == {**steps[-1], "kind": "revision", "id": cell["revision"]}
    assert any(step["kind"] == "approval" and step["id"] == "sam" for step in steps)
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "production"})["lines"]
    assert len(lines) == 9
    assert all(line["passed"] for line in lines)


def test_stock_git_verifies_the_pin_commit(live: LiveHome) -> None:
    """The commit that pins is signed so that stock git, with the repository's own allowed_signers, accepts it."""
    live.git(live.work / "delivery", "pull", "-q", "origin", "main", who="sam")
    folder = live.work / "delivery"
    done = live.git(folder, "-c", "gpg.ssh.allowedSignersFile=pins/allowed_signers", "verify-commit", "HEAD", check=False)
    assert done.returncode == 0, done.stderr
    assert "Good" in done.stderr
    trailers = live.git(folder, "log", "-1", "--format=%(trailers:key=Setpoint-Promotion,valueonly)").stdout.strip()
    assert trailers == live.cell("production")["promotion"]


class Load(threading.Thread):
    """Asks an address without pause, by new and kept connections, and keeps what fails."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.done = threading.Event()
        self.good = 0
        self.faults: list[str] = []

    def run(self) -> None:
        """Send requests until it is stopped."""
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.done.wait(0.005):
            fresh = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            for connection in (kept, fresh):
                try:
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    response.read()
                    self.good += response.status == 200
                    self.faults += [] if response.status == 200 else [str(response.status)]
                except (OSError, http.client.HTTPException) as error:
                    self.faults.append(repr(error))
                    connection.close()
            fresh.close()
        kept.close()

    def stop(self) -> None:
        """End it and wait."""
        self.done.set()
        self.join()


def test_a_second_release_and_a_rollback_lose_no_request(live: LiveHome) -> None:
    """Rolling forward and back under load fails no request; the rolled-back candidate is quarantined until a person lifts it."""
    load = Load(live.production)
    load.start()
    try:
        live.release("two")
        live.serves("staging", "two")
        live.approve()
        second = live.serves("production", "two")
        live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "worse"})
        live.serves("production", "one")
    finally:
        load.stop()
    assert load.faults == []
    assert load.good > 50
    found = live.why("production")
    assert "QUARANTINED" in {reason["code"] for reason in found["reasons"]}
    assert "--lift" in found["next"]
    assert live.cell("production")["waiting"] is None
    live.api("sam").post("/api/v1/promotions", {"app": "hello", "environment": "production", "lift": True})
    waiting = wait_for("the lifted candidate", lambda: live.cell("production")["waiting"])
    assert waiting["version"] == second["version"]


def test_a_failing_test_is_signed_as_failed_and_goes_nowhere(live: LiveHome) -> None:
    """A red task leaves signed FAILED evidence and no artifact; staging keeps what it has."""
    commit = live.commit("hello", {"tests.sh": FAILING}, "break the tests")
    report = wait_for("the red run", lambda: _ended(live, commit))
    assert report["run"]["state"] == "failed"
    assert report["artifacts"] == []
    assert [(record["result"], record["subject"]) for record in report["evidence"]] == [("FAILED", f"gitCommit:{commit}")]
    assert live.answer(live.staging)[0] == "two"


def _ended(live: LiveHome, commit: str) -> dict[str, Any] | None:
    runs = [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit and run["state"] != "running"]
    return live.api().get(f"/api/v1/runs/{commit}") if runs else None


def test_a_push_by_path_while_the_server_is_down_is_found(live: LiveHome) -> None:
    """Replicas serve on while the server is down, and a push made into the bare repository by path is found at the next start."""
    live.stop()
    assert live.answer(live.staging)[0] == "two"
    folder = live.work / "hello"
    live.commit("hello", {"app.py": (folder / "app.py").read_text().replace("two", "three"), "tests.sh": "exit 0\n"}, "by path", push=False)
    live.git(folder, "push", "-q", str(live.home / "repositories" / "hello.git"), "main")
    live.start()
    commit = live.git(folder, "rev-parse", "HEAD").stdout.strip()
    report = wait_for("the run", lambda: _ended(live, commit))
    assert report["run"]["pusher"] == ""
    assert "declared but not made: report.xml" in report["tasks"][0]["reason"]


def test_a_push_whose_server_died_has_its_pusher(live: LiveHome) -> None:
    """Git had taken the push, the journal had not: the next start finds the note, journals the push, and the run is the pusher's."""
    folder = live.work / "hello"
    old = live.git(folder, "rev-parse", "HEAD").stdout.strip()
    live.stop(kill=True)
    commit = live.commit("hello", {"died.txt": "in between"}, "died in between", push=False)
    update = RefUpdate("refs/heads/main", old, commit)
    PushSpool(live.home / "repositories" / ".pushes").begin("hello", "person:dana@example.com", "dana@example.com", [update])
    live.git(folder, "push", "-q", str(live.home / "repositories" / "hello.git"), "main")
    live.start()
    assert wait_for("the run", lambda: _ended(live, commit))["run"]["pusher"] == "dana@example.com"
    told = [entry for entry in live.journal() if entry["kind"] == "push.received" and entry["body"]["updates"][0]["new"] == commit]
    assert [(entry["actor"], entry["body"]["pusher"]) for entry in told] == [("person:dana@example.com", "dana@example.com")]


def test_a_damaged_key_shows_at_the_start(live: LiveHome) -> None:
    """`up` names the file and the way out, and does not serve; with the key restored it does."""
    live.stop()
    key = live.home / "keys" / "gate.pem"
    kept = key.read_bytes()
    key.write_bytes(b"rubbish")
    argv = [sys.executable, "-m", "setpoint.cli.main", "up", "--home", str(live.home), "--listen", f"127.0.0.1:{live.listen}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    key.write_bytes(kept)
    assert done.returncode != 0
    assert "SP406" in done.stderr
    assert str(key) in done.stderr
    live.start()


def test_a_killed_replica_comes_back_and_its_end_is_told(live: LiveHome) -> None:
    """A replica whose process is killed is restarted by its shim, and the journal says how it ended."""
    replica = next(r for r in live.api().get("/api/v1/replicas") if r["spec"]["identity"]["environment"] == "production")
    os.kill(replica["pid"], signal.SIGKILL)
    wait_for("the journal's word", lambda: [e for e in live.journal() if e["kind"] == "replica.exited"])
    live.serves("production", "one")
    entry = next(e for e in live.journal() if e["kind"] == "replica.exited")
    assert "SIGKILL" in entry["body"]["exit"]


def test_a_lost_shim_is_replaced(live: LiveHome) -> None:
    """When the supervisor itself is killed, the reconciler brings a new replica up."""
    replica = next(r for r in live.api().get("/api/v1/replicas") if r["spec"]["identity"]["environment"] == "staging")
    state = json.loads(next((live.home.parent / "home.run" / "replicas" / replica["spec"]["replica"]).glob("state.json")).read_text())
    os.kill(int(state["shim"]["pid"] if isinstance(state.get("shim"), dict) else state["shim_pid"]), signal.SIGKILL)
    wait_for("another replica", lambda: replica["spec"]["replica"] not in _names(live) and _names(live))
    live.serves("staging", "two")


def _names(live: LiveHome) -> set[str]:
    replicas = live.api().get("/api/v1/replicas")
    return {r["spec"]["replica"] for r in replicas if r["spec"]["identity"]["environment"] == "staging"}


@pytest.mark.parametrize("path", ["/api/v1/status", "/metrics", "/v2/", "/git/hello.git/info/refs?service=git-upload-pack"])
def test_anonymous_callers_are_refused_everywhere(live: LiveHome, path: str) -> None:
    """Without a token, or with a wrong one, API, metrics, registry and Git answer 401."""
    wrong = base64.b64encode(b"x:sp_wrong").decode()
    for headers in ({}, {"Authorization": f"Basic {wrong}"}, {"Authorization": "Bearer sp_wrong"}):
        request = urllib.request.Request(live.ready["url"] + path, headers=headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        assert caught.value.code == 401
        caught.value.close()


def test_any_user_name_with_the_token_as_password_is_let_in(live: LiveHome) -> None:
    """HTTP Basic with any user name and the token as password opens the registry, and evidence hangs at the image as referrers."""
    basic = base64.b64encode(f"whoever:{live.ready['token']}".encode()).decode()
    digest = live.cell("production")["artifacts"]["web"]
    url = f"http://{live.ready['registry']}/v2/hello/web/referrers/{digest}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Basic {basic}"}), timeout=10) as response:
        found = json.loads(response.read())
    types = {manifest["annotations"]["dev.sigstore.bundle.predicateType"] for manifest in found["manifests"]}
    assert "https://slsa.dev/provenance/v1" in types
    assert "https://slsa.dev/verification_summary/v1" in types


def test_the_operators_first_push_makes_the_repository(live: LiveHome) -> None:
    """The operator pushes to a repository that is not there yet and it is hosted; a person cannot do that."""
    folder = live.work / "fresh"
    folder.mkdir()
    live.git(folder, "init", "-q", "-b", "main")
    live.git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    url = f"{live.ready['git']}/fresh.git"
    refused = live.git(folder, "push", "-q", url, "main", who="dana", check=False)
    assert refused.returncode != 0
    live.git(folder, "push", "-q", url, "main", who="operator")
    assert "fresh" in {repository["name"] for repository in live.api().get("/api/v1/repositories")}
