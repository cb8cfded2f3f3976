"""The shim as a program: by its files and signals only, with a stand-in for bubblewrap's command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters import sandbox
from setpoint.adapters.host import processes, shim, shim_log, shim_state

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(bool(sandbox.probe()), reason=f"needs bubblewrap: {sandbox.probe()}")]

BWRAP = "/usr/bin/bwrap"


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Return the condition's first true value; fail after the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def state(folder: Path) -> shim_state.ShimState | None:
    """What the shim says."""
    return shim_state.read(folder, os.getuid())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A replica's folder; its shim ends with the test."""
    yield tmp_path
    found = state(tmp_path)
    if found is not None and found.shim_pid is not None:
        os.kill(found.shim_pid, signal.SIGKILL)


def run(folder: Path, script: str, secrets: dict[str, Any] | None = None, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Start a shim for a shell script in a sandbox."""
    argv = sandbox.sandbox_argv(["/bin/sh", "-c", script], sandbox.system_mounts(), {"GREETING": "hello"}, cwd="/", network=True)
    document = {
        "version": 2,
        "uid": None,
        "bwrap": BWRAP,
        "options": argv[1:-6],
        "last_options": argv[-6:-4],
        "program": argv[-3:],
        "grace_s": 5.0,
        "groups": [],
        "job": None,
        "pre_stop": None,
        **changes,
    }
    (folder / "spec.json").write_text(json.dumps(document))
    command = [sys.executable, "-I", "-S", shim.__file__, str(folder)]
    return subprocess.run(command, input=json.dumps(secrets) if secrets else "", capture_output=True, text=True, check=False, timeout=20)


def test_the_shim_leaves_at_once_and_keeps_the_log(folder: Path) -> None:
    """The starter gets its prompt back, the shim is its own session, and output lands in the log."""
    assert run(folder, "echo $GREETING; echo worse >&2; sleep 100").returncode == 0
    found = wait_for(lambda: (now := state(folder)) and now.child_pid and now)
    assert os.getsid(found.shim_pid) == found.shim_pid
    wait_for(lambda: (folder / "log").read_text() == "hello\nworse\n")


def test_a_program_that_keeps_ending_is_restarted_ever_more_slowly(folder: Path) -> None:
    """Each exit is counted and told, and the waits double."""
    run(folder, "date +%s%N; exit 3")
    wait_for(lambda: (now := state(folder)) and now.restarts >= 3)
    found = state(folder)
    assert found is not None
    assert found.last_exit == "exit status 3"
    lines = (folder / "log").read_text().splitlines()
    assert lines[1].startswith("[setpoint] started again after exit status 3 (restart 1, ")
    times = [int(line) / 1e9 for line in lines if line.isdigit()]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[0] >= 0.19
    assert waits[1] >= 0.38


def test_term_reaches_the_application_and_its_children_end_with_it(folder: Path) -> None:
    """The application is asked itself; what it left running dies with its sandbox; no restart follows."""
    run(folder, "sleep 1000 & trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: "ready" in (folder / "log").read_text() if (folder / "log").exists() else False)
    found = wait_for(lambda: (now := state(folder)) and now.child_pid and now)
    os.kill(found.shim_pid, signal.SIGTERM)
    assert processes.wait_gone(found.shim_pid, 5)
    ended = state(folder)
    assert ended is not None
    assert (ended.alive, ended.phase, ended.last_exit, ended.sandbox_pid) == (False, "stopped", "exit status 7", None)
    assert "bye" in (folder / "log").read_text()


def test_a_second_stop_may_only_shorten_the_grace(folder: Path) -> None:
    """A patient stop is made urgent by another one."""
    run(folder, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: "ready" in (folder / "log").read_text() if (folder / "log").exists() else False)
    found = wait_for(lambda: (now := state(folder)) and now.child_pid and now)
    (folder / "stop.json").write_text('{"grace_s": 600}')
    os.kill(found.shim_pid, signal.SIGTERM)
    wait_for(lambda: (now := state(folder)) and now.phase == "stopping")
    (folder / "stop.json").write_text('{"grace_s": 0}')
    os.kill(found.shim_pid, signal.SIGTERM)
    assert processes.wait_gone(found.shim_pid, 5)
    ended = state(folder)
    assert ended is not None
    assert ended.last_exit == "killed by SIGKILL"


def test_another_version_is_refused(folder: Path) -> None:
    """A spec of a version that this shim does not know starts nothing."""
    done = run(folder, "true", version=99)
    assert done.returncode == 2
    assert "version 99" in done.stderr
    assert not (folder / "state.json").exists()


def test_the_log_turns_over_and_keeps_three_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No log grows beyond its size, and only the newest three files stay."""
    monkeypatch.setattr(shim_log, "LOG_BYTES", 100)
    descriptor = os.open(folder, os.O_RDONLY)
    log = shim_log.Log(descriptor)
    for number in range(12):
        log.write(f"{number:02d}".encode() * 20)
    os.close(descriptor)
    assert sorted(path.name for path in folder.glob("log*")) == ["log", "log.1", "log.2"]
    assert max(path.stat().st_size for path in folder.glob("log*")) <= 100
    assert (folder / "log").read_bytes().endswith(b"11" * 20)


def test_a_state_that_names_somebody_elses_process_is_not_believed(folder: Path) -> None:
    """A pid counts only with its start time, this boot, and the uid that replicas run as."""
    me = {"shim_pid": os.getpid(), "shim_start_time": processes.start_time(os.getpid()), "boot_id": processes.boot_id()}
    for changes, uid, alive in (
        ({}, os.getuid(), True),
        ({"shim_start_time": 1}, os.getuid(), False),
        ({"boot_id": "x"}, os.getuid(), False),
        ({}, 4711, False),
    ):
        (folder / "state.json").write_text(json.dumps({**me, **changes}))
        found = shim_state.read(folder, uid)
        (folder / "state.json").unlink()
        assert found is not None
        assert (found.alive, found.shim_pid) == (alive, os.getpid() if alive else None)
    (folder / "state.json").symlink_to("/etc/hostname")
    assert shim_state.read(folder, os.getuid()) is None


def job(retries: int, deadline_s: float | None = None) -> dict[str, Any]:
    """What makes a shim that of a Job."""
    return {"retries": retries, "deadline_s": deadline_s}


def finished(folder: Path) -> shim_state.ShimState:
    """Wait until the shim of a Job has gone by itself."""
    found: shim_state.ShimState = wait_for(lambda: (now := state(folder)) and now.phase == "finished" and not now.alive and now, 20)
    return found


def test_a_job_ends_with_its_program(folder: Path) -> None:
    """Exit 0 is the end: nothing is started again, and the end is kept for whoever looks later."""
    run(folder, "echo done", job=job(5))
    ended = finished(folder)
    assert (ended.outcome, ended.last_exit, ended.restarts) == ("succeeded", "exit status 0", 0)
    assert ended.finished_at is not None
    assert (folder / "log").read_text() == "done\n"


def test_a_job_that_fails_is_tried_again_and_then_has_failed(folder: Path) -> None:
    """As many attempts as it has, each in the log."""
    run(folder, "echo once more; exit 3", job=job(2))
    ended = finished(folder)
    assert (ended.outcome, ended.last_exit, ended.restarts) == ("failed", "exit status 3", 2)
    assert (folder / "log").read_text().count("once more") == 3


def test_a_job_that_takes_too_long_is_ended(folder: Path) -> None:
    """It is asked, then killed after the grace; that it was the deadline is told."""
    run(folder, "trap 'echo asked' TERM; while :; do sleep 0.05; done", job=job(5, 0.5), grace_s=0.3)
    ended = finished(folder)
    assert (ended.outcome, ended.last_exit) == ("deadline", "killed by SIGKILL")
    assert "asked" in (folder / "log").read_text()


def test_a_stopped_job_has_no_outcome(folder: Path) -> None:
    """Who stops it knows why; it neither succeeded nor failed."""
    run(folder, "echo ready; sleep 100", job=job(5))
    found = wait_for(lambda: (now := state(folder)) and now.child_pid and now)
    os.kill(found.shim_pid, signal.SIGTERM)
    assert processes.wait_gone(found.shim_pid, 10)
    ended = state(folder)
    assert ended is not None
    assert (ended.phase, ended.outcome) == ("stopped", "")


def test_a_flood_of_output_is_bounded_and_the_shim_still_listens(folder: Path) -> None:
    """However much a program writes, three files of 10 MiB stay, and a stop is heard."""
    run(folder, "exec yes a line of some length that is written again and again", grace_s=2.0)
    wait_for((folder / "log.2").exists, 60)
    found = state(folder)
    assert found is not None
    assert found.shim_pid is not None
    assert sum(path.stat().st_size for path in folder.glob("log*")) <= 3 * shim_log.LOG_BYTES
    os.kill(found.shim_pid, signal.SIGTERM)
    assert processes.wait_gone(found.shim_pid, 20)


def test_what_an_older_shim_wrote_is_understood(folder: Path) -> None:
    """A replica that version 1 started goes on under a newer server: its state is read, and its stop file is the same."""
    me = {"shim_pid": os.getpid(), "shim_start_time": processes.start_time(os.getpid()), "boot_id": processes.boot_id()}
    first = {
        "version": 1,
        **me,
        "phase": "backoff",
        "started_at": None,
        "restarts": 4,
        "last_exit": "exit status 3",
        "sandbox_pid": None,
        "sandbox_start_time": None,
        "child_pid": None,
    }
    (folder / "state.json").write_text(json.dumps(first))
    found = state(folder)
    (folder / "state.json").unlink()
    assert found is not None
    assert (found.alive, found.shim_pid, found.phase, found.restarts) == (True, os.getpid(), "backoff", 4)
    assert (found.last_exit, found.outcome, found.finished_at) == ("exit status 3", "", None)
