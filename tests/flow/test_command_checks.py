"""Commands of gates on a live home: a script of the environment's owners decides, whatever it does, and whoever dies meanwhile."""

import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live_home import LiveHome, wait_for
from setpoint.cli.main import run

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:%d"}}
after: [staging]
owners: [team:sre]
gates:
  checks:
    - command: %s
"""
SMOKE = """#!/bin/sh
# Asks the application and the test that watches; fails with what it heard.
exec python3 - <<'EOF'
import json, os, sys, urllib.request
with urllib.request.urlopen(os.environ["SETPOINT_URL"]) as answer:
    said = answer.read().decode()
with urllib.request.urlopen(os.environ["WATCHER"] + "/" + said) as answer:
    answer.read()
with open(os.environ["SETPOINT_CANDIDATE"]) as file:
    candidate = json.load(file)
assert candidate["upstream"]["environment"] == os.environ["SETPOINT_UPSTREAM"] == "staging"
assert candidate["candidate"]["app"] == os.environ["SETPOINT_APP"] == "hello"
assert candidate["source"]["revision"] == os.environ["SETPOINT_REVISION"]
print(f"\\x1b[31mit answers {said}\\x1b[0m")
sys.exit("bad" in said)
EOF
"""


BOMB = """
import os
hold, release = os.pipe()
count = 0
try:
    while count < 2000:
        if os.fork() == 0:
            os.close(release)
            os.read(hold, 1)
            os._exit(0)
        count += 1
except OSError:
    pass
os.close(release)
print("processes:", count)
"""
_CHANGES = itertools.count()


class Watcher:
    """A web server of the test: it hears of every check, and lets none go on while `hold` is set."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        watcher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watcher.heard.append(self.path[1:])
                watcher.go_on.wait(120)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    """A watcher for all tests of this file."""
    found = Watcher()
    yield found
    found.go_on.set()
    found.server.shutdown()
    found.server.server_close()


def _gate(live: LiveHome, command: dict[str, Any], scripts: dict[str, str | None] | None = None) -> None:
    """Have sam, who owns production, push its gate: one command, and the files beside it."""
    folder = live.work / "delivery" / "environments" / "production" / "checks"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# change {next(_CHANGES)}{ENVIRONMENT % (live.production, json.dumps(command))}"
    files: dict[str, str | None] = {"environments/production/environment.yaml": text}
    for name, content in (scripts or {}).items():
        files[f"environments/production/checks/{name}"] = content
        if content is not None and name.endswith(".sh"):
            (folder / name).touch(0o755)
    live.commit("delivery", files, "the gate of production", who="sam")


def _smoke(live: LiveHome, watcher: Watcher, **more: Any) -> None:
    _gate(live, {"run": "./smoke.sh", "network": True, "timeout": "60s", "env": {"WATCHER": watcher.url}, **more}, {"smoke.sh": SMOKE})


def _reason(live: LiveHome, *codes: str) -> dict[str, Any]:
    """Wait for the reason that a command gives production's gate."""

    def look() -> dict[str, Any] | None:
        told = [reason for reason in live.why("production")["reasons"] if reason["code"] in codes]
        found = [reason for reason in told if not reason["found"].startswith("not asked")]
        return found[0] if found else None

    return wait_for(f"{codes} in production", look)


def _commands(live: LiveHome) -> list[dict[str, Any]]:
    """Return every entry about checks."""
    return [entry for entry in live.journal() if entry["kind"].startswith("check.")]


def _check_of(reason: dict[str, Any]) -> str:
    return str(reason["fix"].split()[2].rstrip(";"))


def test_a_failing_command_holds_the_candidate_and_the_next_one_passes(
    live: LiveHome, watcher: Watcher, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last words are the reason, everywhere the same; a mended release passes, and the signed statement says by what."""
    _smoke(live, watcher)
    live.release("bad")
    live.serves("staging", "bad")
    failed = _reason(live, "CHECK_FAILED")
    assert failed["found"].startswith("exit status 1: it answers bad"), "without its colours"
    assert failed["subject"] == "check ./smoke.sh in staging"
    assert "(checks/ at " in failed["wanted"]
    assert failed["recheck_at"]
    check = _check_of(failed)
    (told,) = live.api().get("/api/v1/checks", {"promotion": live.why("production")["promotion"]["promotion"]})
    assert (told["check"], told["state"], told["exit_code"]) == (check, "failed", 1)
    where = ["--home", str(live.home)]
    assert run(["log", check, *where]) == 0
    log = capsys.readouterr().out
    assert "it answers bad" in log
    assert f"[setpoint] failed: {told['found']}" in log
    asked = len(watcher.heard)
    assert run(["retry", check, "-m", "looked at it", *where]) == 0
    assert "is asked again" in capsys.readouterr().out
    wait_for("the question again", lambda: len(watcher.heard) > asked)
    live.release("good")
    live.serves("production", "good")
    statement = next(
        entry["body"]["verdict"]["reasons"]
        for entry in reversed(live.journal())
        if entry["kind"] == "promotion.decided" and "verdict" in entry["body"]
    )
    passed = next(reason for reason in live.why("production")["reasons"] if reason["code"] == "CHECK_PASSED")
    assert passed in statement
    assert passed["found"] == "exit status 0: it answers good"


def test_law_9_a_script_cannot_be_changed_by_what_it_judges(live: LiveHome, watcher: Watcher) -> None:
    """Who does not own the environment pushes a script that always passes together with a bad release: the accepted bytes judge."""
    _smoke(live, watcher)
    live.release("fine")
    live.serves("production", "fine")
    live.commit("delivery", {"environments/production/checks/smoke.sh": "#!/bin/sh\nexit 0\n"}, "quicker checks", who="dana")
    live.release("bad-again")
    live.serves("staging", "bad-again")
    failed = _reason(live, "CHECK_FAILED")
    assert "it answers bad-again" in failed["found"]
    pending = [notice for notice in live.api().get("/api/v1/status")["notices"] if "checks" in json.dumps(notice)]
    assert pending, "the change waits for an owner"
    assert "dana@example.com" in json.dumps(pending)
    live.commit("delivery", {"environments/production/checks/smoke.sh": SMOKE}, "the checks as they were", who="dana")


def test_a_command_that_takes_too_long_never_passes(live: LiveHome, watcher: Watcher) -> None:
    """It is ended with all that it began, told as an error, and asked again later."""
    _gate(live, {"run": "echo begun; trap '' TERM; sleep 300 & wait; sleep 300", "timeout": "1s"})
    live.release("slow")
    live.serves("staging", "slow")
    error = _reason(live, "CHECK_ERROR")
    assert error["found"].startswith("timed out after 1 s"), error
    assert "its last words: begun" in error["found"]
    assert error["recheck_at"]
    assert "CHECK_PASSED" not in live.codes("production")


def test_hostile_commands_hurt_nobody(live: LiveHome, watcher: Watcher) -> None:
    """A fork bomb meets its limit, a flood is bounded, and neither home, repository nor network is there."""
    spy = f"ls -d ../environments {live.home} 2>/dev/null && exit 3"
    probe = f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {live.listen}), 2)' 2>/dev/null && exit 4"
    flood = "head -c 30000000 /dev/zero | tr '\\0' x | fold -w 200"
    _gate(live, {"run": f"{spy}; {probe}; {flood}; python3 bomb.py; exit 7"}, {"bomb.py": BOMB, "a\nname": "x"})
    live.release("hostile")
    live.serves("staging", "hostile")
    failed = _reason(live, "CHECK_FAILED", "CHECK_ERROR")
    assert failed["code"] == "CHECK_FAILED", failed
    assert failed["found"].startswith("exit status 7"), failed
    assert 200 < int(failed["found"].rsplit(" ", 1)[1]) < 256, failed
    assert len(failed["found"]) < 600
    log = sum(path.stat().st_size for path in (live.home / "logs" / _check_of(failed)).iterdir())
    assert log < 8 << 20


def test_a_link_out_of_the_scripts_is_not_accepted(live: LiveHome, watcher: Watcher) -> None:
    """The version in force stays, and says why."""
    _smoke(live, watcher)
    live.serves("production", "hostile")
    link = live.work / "delivery" / "environments" / "production" / "checks" / "secret"
    link.unlink(missing_ok=True)
    link.symlink_to("../../../../../../etc/passwd")
    live.commit("delivery", {}, "a link", who="sam")
    notices = wait_for(
        "the finding", lambda: [n for n in live.api().get("/api/v1/status")["notices"] if "symbolic link" in json.dumps(n)] or None
    )
    assert "checks" in json.dumps(notices)
    live.commit("delivery", {"environments/production/checks/secret": None}, "no link", who="sam")


def test_a_new_candidate_ends_the_question_about_the_old_one(live: LiveHome, watcher: Watcher) -> None:
    """What runs for nobody is stopped, and says so in the journal."""
    _smoke(live, watcher)
    watcher.go_on.clear()
    try:
        live.release("bad-old")
        live.serves("staging", "bad-old")
        wait_for("the question", lambda: "bad-old" in watcher.heard)
        old = _reason(live, "CHECK_RUNNING")
        live.release("newer")
        live.serves("staging", "newer")
        wait_for(
            "the end of the old one",
            lambda: any(e["subject"] == _check_of(old) and e["body"].get("state") == "cancelled" for e in _commands(live)),
        )
    finally:
        watcher.go_on.set()
    live.serves("production", "newer")


def test_law_5_a_command_whose_server_was_killed_is_asked_again(live: LiveHome, watcher: Watcher) -> None:
    """Its beginning is journalled, its end is not: the next server asks anew, and nothing of it is left running."""
    _smoke(live, watcher)
    live.serves("production", "newer")
    watcher.go_on.clear()
    try:
        live.release("survivor")
        live.serves("staging", "survivor")
        wait_for("the question", lambda: "survivor" in watcher.heard)
        check = _check_of(_reason(live, "CHECK_RUNNING"))
        live.stop(kill=True)
    finally:
        watcher.go_on.set()
    live.start()
    live.serves("production", "survivor")
    kinds = [(entry["kind"], entry["body"]["attempt"]) for entry in _commands(live) if entry["subject"] == check]
    assert kinds == [("check.started", 1), ("check.started", 2), ("check.finished", 2)]
    assert watcher.heard.count("survivor") == 2
    left = list((Path(f"{live.home}.run") / "workspaces").glob("c-*"))
    assert left == []
    live.stop()
    (live.home / "setpoint.db").unlink()
    live.start()
    assert live.api().get(f"/api/v1/checks/{check}")["state"] == "passed", "law 4"
