"""Supervises a task that runs without a sandbox (`sandbox: none`): speaks bubblewrap's status protocol, and leaves no process behind.

Started by the runner as a program of its own; it isolates nothing. It is the subreaper of the task's tree (prctl(2)), so daemons come back
to it when the task's first process ends, and are killed. It ends its tree when the runner dies. Standard library only.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

_SET_PDEATHSIG: Final = 1
_SET_CHILD_SUBREAPER: Final = 36
_NOT_FOUND: Final = 127


def argv(status: int, gate: int, environment: int, cwd: str, program: list[str]) -> list[str]:
    """Return the command line of the supervisor: descriptors for status, gate and the environment's JSON, then the program."""
    head = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(status), str(gate), str(environment), cwd]
    return [*head, *program]


def main(words: list[str]) -> int:
    """Run `STATUS GATE ENVIRONMENT CWD PROGRAM...` and return the program's exit status, 128 + signal when one ended it."""
    status, gate, environment = (int(word) for word in words[:3])
    cwd, program = words[3], words[4:]
    with os.fdopen(environment, "rb") as file:
        variables: dict[str, str] = json.loads(file.read())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    scratch = tempfile.mkdtemp(prefix="setpoint-task-")
    leader = os.fork()
    if leader == 0:
        _become(libc, gate, cwd, (program, {**variables, "HOME": scratch, "TMPDIR": scratch}))
    signal.signal(signal.SIGTERM, lambda *_: _kill(leader))
    libc.prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.close(gate)
    _tell(status, {"child-pid": leader})
    code = _wait_for(leader)
    _end_all()
    shutil.rmtree(scratch, ignore_errors=True)
    _tell(status, {"exit-code": code})
    return code


def _become(libc: Any, gate: int, cwd: str, what: tuple[list[str], dict[str, str]]) -> None:
    """In the child: lead a session, wait until the runner holds this process by descriptor, then turn into the program; never returns."""
    program, environment = what
    try:
        os.setsid()
        libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.read(gate, 1):
            os.umask(0o022)
            os.chdir(cwd)
            os.execvpe(program[0], program, environment)  # noqa: S606 - no shell but the task's own
    finally:
        os._exit(_NOT_FOUND)


def _wait_for(leader: int) -> int:
    """Reap until the leader is gone; returns its exit status."""
    while True:
        pid, how = os.wait()
        if pid == leader:
            code = os.waitstatus_to_exitcode(how)
            return code if code >= 0 else 128 - code


def _end_all() -> None:
    """Kill whatever came back to this process, until nothing is left."""
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            _kill(int(child))
        try:
            os.wait()
        except ChildProcessError:
            return


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _tell(status: int, what: dict[str, int]) -> None:
    os.write(status, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
