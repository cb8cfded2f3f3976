"""Bad input at every entrance of a live home: one clear error with its place and a fix, nothing lost, what ran keeps running."""

import http.client
import json
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from live_home import ENVIRONMENT, MANIFESTS, PIPELINE, LiveHome, wait_for
from setpoint.core.errors import ConflictError, NotAllowedError, UserError

STAGING = "environments/staging/environment.yaml"
PRODUCTION_PIN = "pins/production/hello.yaml"

CALLS: list[tuple[str, str, str | None, int]] = [
    ("GET", "/api/v1/nothing", None, 404),
    ("GET", "/api/v1/runs/nope/stream", None, 404),
    ("GET", "/api/v1/runs/latest/tasks/nope/log/stream", None, 404),
    ("GET", "/api/v1/trace?thing=http://[", None, 404),
    ("GET", "/api/v1/changes/" + "a" * 5000, None, 404),
    ("GET", "/api/v1/why/hello/%00", None, 404),
    ("GET", "/api/v1/runs?limit=-1", None, 422),
    ("POST", "/api/v1/promotions", "{", 422),
    ("POST", "/api/v1/promotions", "[" * 100_000, 400),
    ("POST", "/api/v1/promotions", '{"app": 1}', 422),
    ("POST", "/api/v1/promotions", '{"app": "hello", "environment": "staging", "message": "\\ud800"}', 422),
    ("POST", "/api/v1/promotions", '{"app": "hello", "environment": "../staging"}', 404),
    ("POST", "/api/v1/repositories", '{"name": "../x"}', 400),
    ("POST", "/api/v1/tokens", json.dumps({"kind": "operator", "name": "n" * 1000}), 422),
    ("POST", "/api/v1/tokens", json.dumps({"kind": "operator", "name": "n" * (2 << 20)}), 413),
]


def _call(live: LiveHome, method: str, path: str, body: str | None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", live.listen, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {live.api().connection.token}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        return response.status, answer
    finally:
        connection.close()


def _push(live: LiveHome, files: dict[str, bytes | None], message: str, *, repository: str = "delivery", who: str = "sam") -> str:
    """Commit bytes, also under names that are no text, and push; returns the commit id."""
    folder = live.work / repository
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who=who)
    for name, data in files.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118 - pathlib holds no names that are no UTF-8
        if data is None:
            Path(os.fsdecode(path)).unlink()
        else:
            Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(data)
    live.git(folder, "add", "-A", who=who)
    live.git(folder, "commit", "-qm", message, who=who)
    live.git(folder, "push", "-q", "origin", "main", who=who)
    return live.git(folder, "rev-parse", "HEAD", who=who).stdout.strip()


def _notices(live: LiveHome) -> list[tuple[str, str]]:
    return [(notice["code"], notice["subject"]) for notice in live.api().get("/api/v1/status")["notices"]]


def test_calls_that_do_not_fit_get_one_problem(live: LiveHome) -> None:
    """A wrong call is answered with a code, words and a fix, never with a 5xx, and nothing of it reaches the journal."""
    live.release("one")
    live.serves("staging", "one")
    before = len(live.journal())
    for method, path, body, wanted in CALLS:
        status, answer = _call(live, method, path, body)
        assert (status, path[:60]) == (wanted, path[:60])
        assert answer["code"].startswith("SP")
        assert answer["title"]
    assert len(live.journal()) == before


def test_concurrent_words_of_people_count_once(live: LiveHome) -> None:
    """Of many approvals of one person given at once exactly one is recorded, the others are told that it was given already."""
    wait_for("the missing approval", lambda: "APPROVAL_MISSING" in live.codes("production") and "CHECK_PASSED" in live.codes("production"))
    promotion = live.cell("production")["waiting"]["promotion"]
    api = live.api("sam")

    def approve(_: int) -> str:
        try:
            api.post(f"/api/v1/promotions/{promotion}/approve", {"message": "now"})
        except ConflictError as error:
            return error.code
        return "given"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(approve, range(8))) == ["SP512"] * 7 + ["given"]
    live.serves("production", "one")
    assert sum(entry["kind"] == "approval.given" for entry in live.journal()) == 1


@pytest.mark.parametrize("bad", [b"{{{{", b"\xff\x00", b"", b"- a\n", b"app: &a [*a]\n"])
def test_an_unreadable_pin_hides_nothing_and_is_written_anew(live: LiveHome, bad: bytes) -> None:
    """Status and why answer, what runs keeps running, and where gates need no person the loop writes the pin back."""
    _push(live, {"pins/staging/hello.yaml": bad}, "by hand")
    assert {cell["environment"] for cell in live.api().get("/api/v1/status")["cells"]} == {"staging", "production"}
    assert live.why("production")["running"]["version"]
    live.serves("staging", "one")
    wait_for("a signed pin", lambda: all(line["passed"] for line in _verified(live)) and live.cell("staging")["health"] == "healthy")


def _verified(live: LiveHome) -> list[dict[str, Any]]:
    try:
        lines: list[dict[str, Any]] = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
    except UserError:  # the unreadable pin itself, until the loop has mended it
        return [{"passed": False}]
    return lines


def test_rollback_mends_a_pin_that_hands_broke_and_bars_nothing(live: LiveHome) -> None:
    """Where a person must approve, the broken pin is shown with its place, and rollback brings back what Setpoint pinned last."""
    before = live.serves("production", "one")
    _push(live, {PRODUCTION_PIN: b"app: hello\napp: hello\n"}, "by hand")
    wait_for("the place", lambda: f"{PRODUCTION_PIN}:2:1" in {reason["subject"] for reason in live.why("production")["reasons"]})
    assert live.answer(live.production)[0] == "one"
    live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "mend"})
    assert live.serves("production", "one")["artifacts"] == before["artifacts"]
    assert "QUARANTINED" not in live.codes("production")


def test_a_hand_written_pin_makes_nobody_an_approver(live: LiveHome) -> None:
    """Four eyes are counted from what Setpoint pinned: a pin that names the candidate as its base excludes its author all the same."""
    live.commit("hello", {"app.py": (live.work / "hello" / "app.py").read_text().replace('b"one"', 'b"mine"')}, "mine", who="sam")
    mine = live.git(live.work / "hello", "rev-parse", "HEAD").stdout.strip()
    live.serves("staging", "mine")
    live.git(live.work / "delivery", "pull", "-q", "--rebase", "origin", "main", who="sam")
    pin = (live.work / "delivery" / PRODUCTION_PIN).read_text()
    old = next(line.split('"')[1] for line in pin.splitlines() if "revision:" in line)
    _push(live, {PRODUCTION_PIN: pin.replace(old, mine).encode()}, "by hand")
    waiting = wait_for("the candidate", lambda: live.cell("production")["waiting"])
    with pytest.raises(NotAllowedError, match="cannot count"):
        live.api("sam").post(f"/api/v1/promotions/{waiting['promotion']}/approve", {"message": "mine"})
    live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "mend"})
    live.serves("production", "one")


def test_a_pin_of_what_only_staging_verified_gets_nothing_in(live: LiveHome) -> None:
    """Copying staging's digest into production's pin is refused, with one reason and a way out; what was approved keeps running."""
    before = live.serves("production", "one")
    live.release("unapproved")
    verified = live.serves("staging", "unapproved")["artifacts"]["web"]
    asked: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            asked.append(live.answer(live.production)[0])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        live.git(live.work / "delivery", "pull", "-q", "--rebase", "origin", "main", who="sam")
        pin = (live.work / "delivery" / PRODUCTION_PIN).read_text()
        assert before["artifacts"]["web"] in pin
        _push(live, {PRODUCTION_PIN: pin.replace(before["artifacts"]["web"], verified).encode()}, "straight to production")
        wait_for("the refusal", lambda: "PIN_NOT_SIGNED" in live.codes("production"))
        cell = live.cell("production")
        refused = [reason for reason in cell["reasons"] if reason["severity"] == "problem"]
        (unsigned,) = [reason for reason in refused if reason["code"] == "PIN_NOT_SIGNED"]
        assert "setpoint rollback hello production" in unsigned["fix"]
        assert {reason["code"] for reason in refused} <= {"PIN_NOT_SIGNED", "NOT_ADMITTED"}
        assert cell["artifacts"] == before["artifacts"]
        assert not [
            e for e in live.journal() if e["kind"] == "promotion.pinned" and verified in str(e["body"]) and "production" in str(e["body"])
        ]
    finally:
        over.set()
        asking.join()
    assert set(asked) == {"one"}
    live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "mend"})
    assert live.serves("production", "one")["artifacts"] == before["artifacts"]


def test_a_head_that_cannot_be_read_stops_nothing(live: LiveHome) -> None:
    """Faults in governed files are shown with their place while the accepted version goes on judging, and a release still arrives."""
    good = (ENVIRONMENT % live.staging).encode()
    faults = {
        STAGING + ":8:1": {STAGING: good + b"owners: []\n"},
        STAGING + ":8:9": {STAGING: good + b"after: [staging]\n"},
        STAGING: {STAGING: good + b"# " + b"x" * (2 << 20)},
        "environments/x\ufffd": {os.fsdecode(b"environments/x\xff/environment.yaml"): b"a: b\n"},
    }
    for place, files in faults.items():
        _push(live, dict(files), place)
        wait_for(place, lambda place=place: ("FAULTY", place) in _notices(live))  # type: ignore[misc]
    live.release("two")
    live.serves("staging", "two")
    _push(live, {os.fsdecode(b"environments/x\xff/environment.yaml"): None, STAGING: good}, "mended")
    wait_for("no notice", lambda: not _notices(live))


def test_a_denied_candidate_is_explained_whenever_it_is_at_head_again(live: LiveHome) -> None:
    """A manifest that was refused once says why again when it comes back, also when others were refused in between."""
    for text in ("{{{", "kind: [", "{{{"):
        _push(live, {"apps/hello/hello.yaml": text.encode()}, f"manifest {text}")
        wait_for("the refusal", lambda: "RENDER_FAILED" in live.codes("staging"))
        assert live.answer(live.staging)[0] == "two"
        _push(live, {"apps/hello/hello.yaml": MANIFESTS.encode()}, "good")
        wait_for("no refusal", lambda: "RENDER_FAILED" not in live.codes("staging"))


def test_an_address_in_use_costs_no_request(live: LiveHome) -> None:
    """An environment that is moved to a taken port says who has it, and its old address answers every request meanwhile."""
    _push(live, {STAGING: (ENVIRONMENT % live.listen).encode()}, "taken")
    missed: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            missed.extend(text for text in [live.answer(live.staging)[0]] if text != "two")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        wait_for("the error", lambda: "SP641" in live.codes("staging"))
        seen = len(live.journal())
        wait_for("another look", lambda: live.api().get("/api/v1/status") and len(live.journal()) >= seen)
    finally:
        over.set()
        asking.join()
    assert missed == []
    _push(live, {STAGING: (ENVIRONMENT % live.staging).encode()}, "free")
    live.serves("staging", "two")


def test_a_pipeline_that_is_no_file_still_gets_a_run(live: LiveHome) -> None:
    """A push never vanishes: a pipeline that is too large, a folder or a link fails its run with the place and a fix."""
    folder = live.work / "hello" / ".setpoint"
    for kind in ("large", "folder", "link"):
        live.git(live.work / "hello", "pull", "-q", "--rebase", "origin", "main")
        path = folder / "pipeline.yaml"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind == "large":
            path.write_text(PIPELINE + "#" * (2 << 20))
        elif kind == "folder":
            path.mkdir()
            (path / "x").write_text("x")
        else:
            path.symlink_to("/etc/passwd")
        live.git(live.work / "hello", "add", "-A")
        live.git(live.work / "hello", "commit", "-qm", kind)
        live.git(live.work / "hello", "push", "-q", "origin", "main")
        commit = live.git(live.work / "hello", "rev-parse", "HEAD").stdout.strip()
        found = wait_for(
            kind,
            lambda commit=commit: [r for r in live.api().get("/api/v1/runs") if r["revision"] == commit and r["state"] != "running"],  # type: ignore[misc]
        )
        assert found[0]["state"] == "failed"
        assert ".setpoint/pipeline.yaml" in found[0]["error"]


def test_odd_commits_and_refs_are_served(live: LiveHome) -> None:
    """Names and messages that are no UTF-8, odd file names and refs of other kinds make a run and an answer, or a refusal by Git."""
    live.api().post("/api/v1/repositories", {"name": "odd"})
    pipeline = PIPELINE.partition("artifacts:")[0].replace("    evidence: {tests: report.xml}\n", "")
    pipeline = pipeline.replace("[app.py, tests.sh]", '["a b.txt"]').replace("sh tests.sh", "cat *")
    live.commit("odd", {".setpoint/pipeline.yaml": pipeline, "a b.txt": "x", "q\"uo'te.txt": "x", "new\nline": "x"}, "odd", push=False)
    folder = live.work / "odd"
    live.git(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},submodule")
    tree = live.git(folder, "write-tree").stdout.strip()
    who = b"D\xffna <dana@example.com> 1700000000 +0000"
    raw = b"tree %s\nauthor %s\ncommitter %s\n\nodd \xff\xfe message\x1b[31m\n" % (tree.encode(), who, who)
    made = subprocess.run(["git", "hash-object", "-t", "commit", "-w", "--stdin"], input=raw, cwd=folder, capture_output=True, check=True)
    commit = made.stdout.decode().strip()
    live.git(folder, "push", "-q", "origin", f"{commit}:refs/heads/main", f"{commit}:refs/tags/v1", f"{commit}:refs/weird/x")
    runs = wait_for("its run", lambda: [r for r in live.api().get("/api/v1/runs", {"repository": "odd"}) if r["state"] != "running"])
    assert [(run["state"], run["error"]) for run in runs] == [("passed", "")]
    assert live.git(folder, "push", "-q", "origin", ":refs/heads/main", check=False).returncode != 0
    assert "odd" in live.api().get(f"/api/v1/changes/{commit}")["title"]
