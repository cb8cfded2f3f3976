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
    times = [int(line) / 1e9 for line in (folder / "log").read_text().split()]
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
