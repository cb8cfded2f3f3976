"""Law 5 for real: server, runner, signer, shim and proxy get SIGKILL in the middle of a release and a rollback, and the end is the same.

When to kill is told by the journal, read from disk as it grows; what and at which entry is drawn from a seed that changes every day
(SETPOINT_CHAOS_SEED repeats one). Production is asked all the time, also while no server lives.
"""

import http.client
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from live_home import APP, PIPELINE, TESTS, LiveHome, new_home, wait_for
from setpoint.adapters import sandbox
from setpoint.adapters.host.shim_state import read_json
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.core.errors import SetpointError
from setpoint.ground.journal.model import Entry, parse

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

SEED = os.environ.get("SETPOINT_CHAOS_SEED") or datetime.now(UTC).strftime("%Y%m%d")
STEP_LIMIT_S = 60.0
RELEASE = ("task.finished", "artifact.built", "evidence.attached", "run.finished", "promotion.created", "pin.intended")
PROMOTION = ("approval.given", "promotion.decided", "pin.intended", "promotion.pinned")
ROLLBACK = ("promotion.created", "quarantine.set", "promotion.decided", "pin.intended", "promotion.pinned")

Plan = list[tuple[str, str]]
"""[(kind of entry, who is killed when it appears)], in this order"""


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHome]:
    """A home that runs its first release in both environments."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    folder = Path(tempfile.mkdtemp(prefix="setpoint-chaos-"))
    folder.chmod(0o711)
    found = new_home(folder)
    try:
        found.release("one")
        found.serves("staging", "one")
        found.approve()
        found.serves("production", "one")
        yield found
    finally:
        found.down()
        shutil.rmtree(folder, ignore_errors=True)


class Asking(threading.Thread):
    """Asks production without pause and keeps what fails."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.done = port, threading.Event()
        self.good, self.faults = 0, list[str]()

    def run(self) -> None:
        """Ask until it is stopped."""
        while not self.done.wait(0.01):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", "/")
                status = connection.getresponse().status
                self.good += status == 200
                self.faults += [] if status == 200 else [str(status)]
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
            finally:
                connection.close()


def _entries(live: LiveHome) -> list[Entry]:
    return [parse(line) for line in JournalFolder(live.home / "journal", writable=False).read()]


def _children(live: LiveHome, word: str) -> list[int]:
    """Return the server's own children whose command line has a word."""
    assert live.process is not None
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == live.process.pid and word in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def _pids(live: LiveHome, who: str) -> list[int]:
    """Return whom to kill; nobody when there is none at this moment. Shim and proxy are staging's: production must go on."""
    work = live.home.with_name("home.run")
    if who == "shim":
        states = [read_json(path) for path in work.glob("replicas/staging-*/state.json")]
        return [int(state["shim_pid"]) for state in states if state.get("shim_pid")]
    if who == "proxy":
        return [int((work / "proxies" / "staging" / "haproxy.pid").read_text().split()[0])]
    return _children(live, {"runner": "runner.process", "signer": "signer.process"}[who])


def _kill(live: LiveHome, who: str, told: list[str]) -> None:
    """Kill somebody; a dead server is started again, after production was seen to answer without it."""
    told.append(who)
    if who != "server":
        for pid in _pids(live, who):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                told.append(f"{who} was gone")
        return
    live.stop(kill=True)
    assert live.answer(live.production)[0] in {"one", "two"}, "production does not answer without the server"
    live.start()


def _through(live: LiveHome, plan: Plan, act: Callable[[], object], done: Callable[[list[Entry]], bool]) -> None:
    """Have somebody act (again, until it is done), and kill by plan as the journal grows."""
    start, told, left = len(_entries(live)), list[str](), list(plan)
    over = threading.Event()

    def insist() -> None:
        while not over.is_set() and not done(_entries(live)[start:]):
            try:
                act()
            except (SetpointError, OSError):
                over.wait(0.1)

    person = threading.Thread(target=insist, daemon=True)
    person.start()
    seen, deadline = start, time.monotonic() + STEP_LIMIT_S
    while left and time.monotonic() < deadline:
        fresh = _entries(live)[seen:]
        for entry in fresh:
            seen = entry.index + 1
            if left and entry.kind == left[0][0]:
                _kill(live, left.pop(0)[1], told)
        over.wait(0 if fresh else 0.002)
    wait_for("what was asked for", lambda: done(_entries(live)[start:]))
    over.set()
    person.join()
    assert left == [], f"nobody died at {left}; {told}"


def _plan(chance: random.Random, kinds: tuple[str, ...], victims: list[str]) -> Plan:
    """Draw at which entries who dies, in the order in which the entries come."""
    at = sorted(chance.sample(range(len(kinds)), len(victims)))
    chance.shuffle(victims)
    return [(kinds[place], victim) for place, victim in zip(at, victims, strict=True)]


def test_kills_in_a_release_and_a_rollback_change_nothing(live: LiveHome) -> None:
    """A release reaches production and a rollback takes it back, each thing done once, whoever died; production always answers."""
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    asking = Asking(live.production)
    asking.start()
    slow = TESTS + "\nsleep 0.4\n"
    files = {"app.py": APP % "two", "tests.sh": slow, ".setpoint/pipeline.yaml": PIPELINE}
    commit = live.commit("hello", files, "say two", push=False)
    plan = [("task.started", "runner"), *_plan(chance, RELEASE, ["server", "signer", "shim", "proxy"])]
    message = f"SETPOINT_CHAOS_SEED={SEED}: {plan}"
    _through(
        live,
        plan,
        lambda: live.git(live.work / "hello", "push", "-q", "origin", "main"),
        lambda entries: any(entry.kind == "push.received" for entry in entries),
    )
    live.serves("staging", "two")
    waiting = str(wait_for("the promotion", live.only_approval_missing))
    plan = _plan(chance, PROMOTION, ["server"])
    message += f", {plan}"
    _through(
        live,
        plan,
        lambda: live.api("sam").post(f"/api/v1/promotions/{waiting}/approve", {"message": "good"}),
        lambda entries: any(entry.kind == "approval.given" for entry in entries),
    )
    second = live.serves("production", "two")
    plan = _plan(chance, ROLLBACK, ["server", "signer"])
    message += f", {plan}"
    _through(
        live,
        plan,
        lambda: live.api("sam").post("/api/v1/rollbacks", {"app": "hello", "environment": "production", "message": "worse"}),
        lambda entries: any(entry.kind == "promotion.created" and entry.body["kind"] == "rollback" for entry in entries),
    )
    live.serves("production", "one")
    asking.done.set()
    asking.join()
    assert asking.faults == [], message
    assert asking.good > 100
    _assert_done_once(live, commit, message)
    assert live.cell("staging")["artifacts"] == second["artifacts"]
    for environment in ("staging", "production"):
        lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": environment})["lines"]
        assert all(line["passed"] for line in lines), message


def _assert_done_once(live: LiveHome, commit: str, message: str) -> None:
    """Nothing is in the journal twice that happened once, and Git has one pin commit per pinned promotion."""
    assert live.api().get("/api/v1/journal/check")["holds"] is True
    entries = _entries(live)
    kinds = ("run.created", "run.finished", "promotion.created", "promotion.pinned", "approval.given", "quarantine.set", "push.received")
    counted = Counter((entry.kind, entry.subject) for entry in entries if entry.kind in kinds[:5])
    assert {key for key, count in counted.items() if count > 1} == set(), message
    assert sum(entry.kind == "quarantine.set" for entry in entries) == 1, message
    assert sum(entry.kind == "artifact.built" and entry.body["revision"] == commit for entry in entries) == 1, message
    names = ("predicate_type", "subject", "task", "artifact", "promotion", "result")
    statements = Counter(tuple(entry.body.get(name) for name in names) for entry in entries if entry.kind == "evidence.attached")
    assert {key for key, count in statements.items() if count > 1} == set(), message
    created = [entry.body for entry in entries if entry.kind == "promotion.created"]
    places = Counter((body["kind"], body["candidate"]["environment"], body["version"].partition("-")[0]) for body in created)
    wanted = [("advance", environment, version) for environment in ("staging", "production") for version in ("1", "2")]
    assert places == Counter([*wanted, ("rollback", "production", "1")]), message
    live.git(live.work / "delivery", "pull", "-q", "--rebase", "origin", "main", who="sam")
    trailers = live.git(live.work / "delivery", "log", "--format=%(trailers:key=Setpoint-Promotion,valueonly)").stdout.split()
    assert sorted(trailers) == sorted(entry.subject for entry in entries if entry.kind == "promotion.pinned"), message
