"""The laws of the design that hold in this release, each with a test that fails when it is broken (docs/laws.md)."""

import json
import signal
from typing import Any

import pytest

from live_files import descriptors
from live_home import APP, ENVIRONMENT, PIPELINE, PRODUCTION, SETPOINT_FILE, TESTS, LiveHome, wait_for


def _answers(live: LiveHome) -> dict[str, Any]:
    """Return everything a person can ask, as JSON."""
    api = live.api("sam")
    paths = ["/api/v1/status", "/api/v1/why/hello/staging", "/api/v1/why/hello/production", "/api/v1/promotions", "/api/v1/runs"]
    found = {path: api.get(path) for path in paths}
    found["trace"] = [(s["kind"], s["id"]) for s in api.get("/api/v1/trace", {"thing": f"http://127.0.0.1:{live.staging}/"})["steps"]]
    found["run"] = api.get("/api/v1/runs/latest")
    return found


def test_law_1_only_digests_and_trees_are_pinned(live: LiveHome) -> None:
    """A pin names the image by digest and both configuration trees by id; a tag in a manifest is refused with its place."""
    live.release("one")
    cell = live.serves("staging", "one")
    live.git(live.work / "delivery", "pull", "-q", "origin", "main", who="sam")
    pin = (live.work / "delivery" / "pins" / "staging" / "hello.yaml").read_text()
    assert f"digest: {cell['artifacts']['web']}" in pin
    tree = live.git(live.work / "delivery", "rev-parse", "HEAD:apps/hello").stdout.strip()
    assert f'app: "{tree}"' in pin
    manifest = (live.work / "delivery" / "apps" / "hello" / "hello.yaml").read_text()
    live.commit("delivery", {"apps/hello/hello.yaml": manifest.replace("image: web", "image: web:latest")}, "a tag", who="dana")
    wait_for("the refusal", lambda: "RENDER_FAILED" in live.codes("staging"))
    assert live.answer(live.staging)[0] == "one"
    live.commit("delivery", {"apps/hello/hello.yaml": manifest}, "no tag", who="dana")
    wait_for("the way back", lambda: "RENDER_FAILED" not in live.codes("staging"))


def test_law_2_a_hand_edited_pin_gets_nothing_in(live: LiveHome) -> None:
    """Another digest written by hand into a pin is refused with its reasons, what was admitted keeps running, and rollback mends it."""
    live.approve()
    before = live.serves("production", "one")
    live.git(live.work / "delivery", "pull", "-q", "origin", "main", who="dana")
    path = live.work / "delivery" / "pins" / "production" / "hello.yaml"
    edited = path.read_text().replace(before["artifacts"]["web"], "sha256:" + "0" * 64)
    live.commit("delivery", {"pins/production/hello.yaml": edited}, "by hand", who="dana")
    wait_for("the refusal", lambda: {"PIN_NOT_SIGNED", "NOT_ADMITTED"} <= live.codes("production"))
    assert live.answer(live.production)[0] == "one"
    assert live.cell("production")["health"] == "degraded"
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "production"})["lines"]
    assert not all(line["passed"] for line in lines)
    live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "mend the pin"})
    assert live.serves("production", "one")["artifacts"] == before["artifacts"]


def test_law_2_an_environment_without_a_person_in_its_gates_mends_its_pin_itself(live: LiveHome) -> None:
    """Where every gate still passes, the loop writes the pin back as a signed commit; the hand-written digest never runs."""
    before = live.cell("staging")
    live.git(live.work / "delivery", "pull", "-q", "origin", "main", who="dana")
    path = live.work / "delivery" / "pins" / "staging" / "hello.yaml"
    edited = path.read_text().replace(before["artifacts"]["web"], "sha256:" + "0" * 64)
    live.commit("delivery", {"pins/staging/hello.yaml": edited}, "by hand", who="dana")
    wait_for("another promotion", lambda: live.cell("staging")["promotion"] != before["promotion"])
    assert live.serves("staging", "one")["artifacts"] == before["artifacts"]


def test_law_3_history_is_never_rewritten(live: LiveHome) -> None:
    """A forced push is refused, and every pin so far is a commit of its own in the branch."""
    folder = live.work / "delivery"
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    live.git(folder, "reset", "-q", "--hard", "HEAD~1", who="sam")
    live.git(folder, "commit", "-q", "--allow-empty", "-m", "another past", who="sam")
    done = live.git(folder, "push", "-q", "--force", "origin", "HEAD:main", who="sam", check=False)
    assert done.returncode != 0
    live.git(folder, "fetch", "-q", "origin", who="sam")
    live.git(folder, "reset", "-q", "--hard", "origin/main", who="sam")
    pinned = [entry["body"]["commit"] for entry in live.journal() if entry["kind"] == "promotion.pinned"]
    history = live.git(folder, "rev-list", "HEAD").stdout.split()
    assert pinned
    assert set(pinned) <= set(history)


def test_law_4_the_database_can_be_deleted(live: LiveHome) -> None:
    """Without the database every answer is the same after a restart, and the old token still works."""
    live.release("four")
    live.serves("staging", "four")
    wait_for("production's gates", lambda: {"APPROVAL_MISSING", "CHECK_PASSED"} <= live.codes("production"))
    before = _answers(live)
    live.stop()
    for file in live.home.glob("setpoint.db*"):
        file.unlink()
    live.start()
    wait_for("the reconciler", lambda: live.cell("staging")["health"] == "healthy")
    assert _answers(live) == before


def test_law_4_a_changed_journal_is_noticed(live: LiveHome) -> None:
    """The chain check names the first entry that does not fit, with file and line, and no server starts on such a journal."""
    assert live.api().get("/api/v1/journal/check")["holds"] is True
    segment = next((live.home / "journal").glob("*.log"))
    good = segment.read_bytes()
    lines = good.split(b"\n")
    entry = json.loads(lines[3])
    entry["actor"] = "somebody else"
    lines[3] = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    segment.write_bytes(b"\n".join(lines))
    try:
        found = live.api().get("/api/v1/journal/check")
        assert found["holds"] is False
        assert "entry 4" in found["fault"]
        assert found["where"].endswith(f"{segment.name}:5")
        live.stop()
        with pytest.raises(pytest.fail.Exception, match=rf"SP005(?s:.*){segment.name}:5(?s:.*)restore journal/ from a copy"):
            live.start()
    finally:
        live.stop()
        segment.write_bytes(good)
        live.start()


def test_law_5_a_kill_in_the_middle_of_a_run_changes_nothing(live: LiveHome) -> None:
    """A server killed while a task runs takes the run up again; the image is built once and serves."""
    slow = TESTS + "\nsleep 1.5\n"
    commit = live.commit("hello", {"app.py": APP % "five", "tests.sh": slow, ".setpoint/pipeline.yaml": PIPELINE}, "slow")
    wait_for("the task", lambda: _running(live, commit))
    live.stop(kill=True)
    live.start()
    live.serves("staging", "five")
    entries = live.journal()
    assert sum(1 for e in entries if e["kind"] == "run.created" and e["body"]["revision"] == commit) == 1
    assert sum(1 for e in entries if e["kind"] == "artifact.built" and e["body"]["revision"] == commit) == 1
    assert (
        sum(1 for e in entries if e["kind"] == "run.finished" and e["subject"] == live.api().get(f"/api/v1/runs/{commit}")["run"]["run"])
        == 1
    )


def _running(live: LiveHome, commit: str) -> bool:
    runs = [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit]
    return bool(runs) and any(row["state"] == "running" for row in live.api().get(f"/api/v1/runs/{commit}")["tasks"])


def test_law_6_gate_why_and_journal_give_the_same_reasons(live: LiveHome) -> None:
    """The reasons that `why` shows for a waiting promotion are those that the journal keeps when it is decided."""
    wait_for("only the approval", lambda: "APPROVAL_MISSING" in live.codes("production") and "CHECK_PASSED" in live.codes("production"))
    shown = {(r["code"], r["subject"]) for r in live.why("production")["reasons"] if r["code"] not in ("APPROVAL_MISSING", "READY")}
    promotion = live.approve()["promotion"]
    live.serves("production", "five")
    decided = next(e for e in live.journal() if e["kind"] == "promotion.decided" and e["subject"] == promotion)
    kept = {(r["code"], r["subject"]) for r in decided["body"]["verdict"]["reasons"] if r["code"] != "APPROVED"}
    assert kept == shown


def test_law_2_an_old_pin_brought_back_by_a_merge_is_refused(live: LiveHome) -> None:
    """A merge whose first parent is an old signed pin commit, with its tree, does not bring the old build back past its gates."""
    folder = live.work / "delivery"
    first = next(e for e in live.journal() if e["kind"] == "promotion.pinned" and _environment_of(live, e["subject"]) == "production")
    live.git(folder, "fetch", "-q", "origin")
    live.git(folder, "checkout", "-q", first["body"]["commit"])
    live.git(folder, "merge", "-q", "-s", "ours", "-m", "nothing to see", "origin/main")
    live.git(folder, "push", "-q", "origin", "HEAD:main")
    live.git(folder, "checkout", "-q", "-B", "main", "HEAD")
    wait_for("the refusal", lambda: "PIN_SUPERSEDED" in live.codes("production"))
    assert live.answer(live.production)[0] == "five"
    live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "mend"})
    live.serves("production", "five")


def _environment_of(live: LiveHome, promotion: str) -> str:
    found: str = live.api().get(f"/api/v1/promotions/{promotion}")["candidate"]["environment"]
    return found


def test_law_7_a_deleted_pin_prunes_nothing(live: LiveHome) -> None:
    """Deleting a pin by hand removes no workload: it keeps running, and the reason says so."""
    live.commit("delivery", {"pins/production/hello.yaml": None}, "delete the pin")
    wait_for("the reason", lambda: "PIN_MISSING" in {r["code"] for r in live.cell("production")["reasons"]})
    assert live.answer(live.production)[0] == "five"


def test_law_8_a_task_sees_nothing_of_the_home(live: LiveHome) -> None:
    """A task finds neither keys nor tokens nor other workspaces, whatever it tries; the server holds no key file open."""
    spy = f"ls {live.home} {live.home}.run >seen 2>&1 || true\nenv >>seen\n! grep -qE 'keys|tokens|sp_' seen\n" + TESTS
    commit = live.commit("hello", {"tests.sh": spy}, "a curious task")
    report = wait_for("the run", lambda: _passed(live, commit))
    assert report["run"]["state"] == "passed", report["tasks"]
    assert live.process is not None
    assert not [path for path in descriptors(live.process.pid) if "/keys/" in path]


def _passed(live: LiveHome, commit: str) -> dict[str, Any] | None:
    runs = [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit and run["state"] != "running"]
    return live.api().get(f"/api/v1/runs/{commit}") if runs else None


def test_law_9_a_gate_cannot_be_weakened_by_the_judged(live: LiveHome) -> None:
    """A developer who drops production's approval, or puts herself into the approving team, changes nothing until an owner does it."""
    weak = PRODUCTION.replace("  approvals: {required: 1, from: [team:sre]}\n", "") % live.production
    members = SETPOINT_FILE.replace("sre: [sam]", "sre: [sam, dana]")
    weakening = {"environments/production/environment.yaml": weak, "setpoint.yaml": members}
    live.commit("delivery", weakening, "weaker gates", who="dana")
    notices = wait_for("the notice", lambda: live.api().get("/api/v1/status")["notices"])
    assert {notice["code"] for notice in notices} == {"NOT_ACCEPTED"}
    live.release("nine")
    live.serves("staging", "nine")
    wait_for("the gate", lambda: "APPROVAL_MISSING" in live.codes("production"))
    assert "sam" in next(r["found"] for r in live.why("production")["reasons"] if r["code"] == "APPROVAL_MISSING")
    strict = {"environments/production/environment.yaml": PRODUCTION % live.production, "setpoint.yaml": SETPOINT_FILE}
    live.commit("delivery", strict, "back to the accepted gates", who="sam")
    wait_for("no notice", lambda: not live.api().get("/api/v1/status")["notices"])
    stricter = (ENVIRONMENT % live.staging).replace("total > 0", "total > 1")
    live.commit("delivery", {"environments/staging/environment.yaml": stricter}, "stricter, by an owner", who="sam")
    wait_for("the acceptance", lambda: [e for e in live.journal() if e["kind"] == "baseline.accepted" and "owners" in e["body"]["why"]])


def test_sigterm_stops_the_server_only(live: LiveHome) -> None:
    """After SIGTERM replicas and proxies serve on with the same process ids, and the next start adopts them."""
    pids = {r["spec"]["replica"]: r["pid"] for r in live.api().get("/api/v1/replicas")}
    assert live.process is not None
    live.process.send_signal(signal.SIGTERM)
    live.process.wait(20)
    live.process = None
    assert live.answer(live.production)[0] != ""
    live.start()
    wait_for("adoption", lambda: {r["spec"]["replica"]: r["pid"] for r in live.api().get("/api/v1/replicas")} == pids)
