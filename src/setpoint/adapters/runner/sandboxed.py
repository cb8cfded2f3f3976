"""One task's process tree: bubblewrap, two pipes, limits, and an end that is certain.

Called by the runner process. The sandbox's first process (pid 1 of its namespace) is held by a pidfd: when that is readable the kernel has
ended every process inside, daemons included. Options go to bubblewrap through a descriptor, never as arguments that `ps` shows.
Standard library only.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.runner import bare
from setpoint.adapters.runner.inside import inside, memory_file
from setpoint.adapters.runner.loop import EventLoop
from setpoint.adapters.runner.output import LINE_LIMIT, Record, Stream, TaskOutput
from setpoint.adapters.sandbox import INSTALL_HINT, LIMITER, probe, sandbox_argv

_CHUNK_BYTES: Final = 1 << 16
_PIPE_BYTES: Final = 1 << 20
_BATCH: Final = 10_000
"""Records in a message."""
_PARTIAL_S: Final = 0.1
"""How long an unfinished line waits before it is shown."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all tasks of a runner share."""

    work: Path
    grace_s: float
    send: Callable[..., None]
    now: Callable[[], str]


class SandboxedTask:
    """Starts a task, forwards its output, and reports its end once, when no process of it is left."""

    def __init__(self, request: Mapping[str, Any], around: Surroundings, loop: EventLoop, on_end: Callable[[str], None]) -> None:
        self._id = str(request["id"])
        self._request = request
        self._around = around
        self._loop = loop
        self._on_end = on_end
        self._how = "exited"
        self._detail = ""
        self._exit_code: int | None = None
        self._init: int | None = None
        """Pidfd of the sandbox's pid 1."""
        self._init_pid = 0
        self._init_gone = False
        self._monitor_code: int | None = None
        self._tickets: list[int] = []
        self._partial_ticket: int | None = None
        self._last_error = ""
        self._status = b""

    def start(self) -> None:
        """Start bubblewrap; a sandbox that cannot be made is reported as refused."""
        program = [str(word) for word in self._request["argv"]]
        network = bool(self._request["network"])
        secrets: Mapping[str, str] = self._request["secrets"]
        own = inside(self._around.work, str(self._request["task_id"]), {**self._request["environment"], **secrets}, network=network)
        self._output = TaskOutput((*own.secrets, *secrets.values()), int(self._request["log_quota_bytes"]), self._around.now)
        if self._request["sandbox"] == "none":
            self._start_bare(program, own.environment)
            return
        if self._request["processes"] is not None:
            if shutil.which(LIMITER) is None:
                self._refuse(f"{LIMITER} (util-linux) is not installed, which keeps it to its number of processes")
                return
            # Set inside, where the user is the sandbox's own: outside, everything else of the user would count (user_namespaces(7)).
            program = [LIMITER, f"--nproc={int(self._request['processes'])}", "--", *program]
        argv = sandbox_argv(program, own.mounts, own.environment, cwd="/work", network=network)
        bubblewrap = shutil.which(argv[0])
        try:
            if bubblewrap is None:
                self._refuse(f"bubblewrap is not installed: {INSTALL_HINT}")
                return
            self._launch([bubblewrap], program, argv[1 : -len(program) - 1], own.files)
        except (OSError, ValueError) as error:
            self._refuse(f"bubblewrap does not start: {error}")
            return
        self._tickets.append(self._loop.after(float(self._request["timeout_s"]), self._time_out))

    def _start_bare(self, program: list[str], environment: Mapping[str, str]) -> None:
        """Start a task that declared `sandbox: none` under a supervisor that speaks bubblewrap's status protocol."""
        self._send(self._output.note("this task runs without a sandbox: it reaches whatever its user reaches"))
        work = str(self._around.work / str(self._request["task_id"]))
        data = memory_file(json.dumps(dict(environment)).encode())
        try:
            self._begin(lambda status, gate: bare.argv(status, gate, data, work, program), [data])
        except (OSError, ValueError) as error:
            self._refuse(f"the supervisor does not start: {error}")
            return
        self._tickets.append(self._loop.after(float(self._request["timeout_s"]), self._time_out))

    def _refuse(self, detail: str) -> None:
        self._around.send("refused", id=self._id, detail=detail)
        self._on_end(self._id)

    def _launch(self, argv: list[str], program: Sequence[str], options: Sequence[str], files: Mapping[str, str]) -> None:
        passed: list[int] = []
        for path, text in files.items():
            passed.append(memory_file(text.encode()))
            options = [*options, "--ro-bind-data", str(passed[-1]), path]

        def command(status: int, gate: int) -> list[str]:
            every = [*options, "--json-status-fd", str(status), "--block-fd", str(gate)]
            passed.append(memory_file(b"".join(option.encode() + b"\0" for option in every)))
            return [*argv, "--args", str(passed[-1]), "--", *program]

        self._begin(command, passed)

    def _begin(self, command: Callable[[int, int], list[str]], passed: list[int]) -> None:
        """Start what command(status, gate) says with the descriptors that it is passed, and watch it; they are closed here."""
        pipes = [os.pipe() for _ in range(4)]
        (out, out_end), (err, err_end), (status, status_end), (gate_end, gate) = pipes
        theirs = [out_end, err_end, status_end, gate_end]
        try:
            argv = command(status_end, gate_end)
            self._monitor = _popen(argv, out_end, err_end, [status_end, gate_end, *passed])
        except BaseException:
            _close(out, err, status, gate)
            raise
        finally:
            _close(*theirs, *passed)
        self._pipes: dict[Stream, int] = {"out": out, "err": err}
        for pipe in (out, err):
            with contextlib.suppress(OSError):  # the user has too much in pipes: then it is slower
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._status_pipe, self._gate = status, gate
        self._monitor_end = os.pidfd_open(self._monitor.pid)
        self._loop.watch(out, partial(self._read, "out"))
        self._loop.watch(err, partial(self._read, "err"))
        self._loop.watch(status, self._read_status)
        self._loop.watch(self._monitor_end, self._monitor_ended)

    def cancel(self) -> None:
        """Ask the tree to end: TERM, grace, KILL; asked again, KILL at once."""
        if self._how == "cancelled":
            self._kill()
        else:
            self._stop("cancelled", "cancelled")

    def _time_out(self) -> None:
        self._stop("timed-out", f"timed out after {self._request['timeout_s']:g} s")

    def _stop(self, how: str, why: str) -> None:
        if self._how != "exited" or self._monitor_code is not None:
            return
        self._how, self._detail = how, why
        self._send(self._output.note(f"{why}: asked to end (TERM)"))
        if self._init is None:
            self._kill()
            return
        # bubblewrap does not hand TERM on; the sandbox's pid 1 leads the process group of the command and ignores TERM itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._init_pid, signal.SIGTERM)
        self._tickets.append(self._loop.after(self._around.grace_s, self._lose_patience))

    def _lose_patience(self) -> None:
        if not self._init_gone:
            self._detail += f", killed after {self._around.grace_s:g} s of grace"
            self._send(self._output.note("still running: killed"))
            self._kill()

    def _kill(self) -> None:
        """KILL pid 1 of the sandbox, and with it every process inside; without a known pid 1, bubblewrap, with which it dies."""
        if self._init is None:
            self._monitor.kill()
        elif not self._init_gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def _read(self, stream: Stream) -> None:
        data = os.read(self._pipes[stream], _PIPE_BYTES if self._output.full else _CHUNK_BYTES)
        if not data:
            self._loop.unwatch(self._pipes[stream])
            return
        if stream == "err":
            self._last_error = (self._last_error + data.decode(errors="replace"))[-500:]
        self._send(self._output.feed(stream, data))
        if self._output.partial and self._partial_ticket is None:
            self._partial_ticket = self._loop.after(_PARTIAL_S, self._show_partial)

    def _show_partial(self) -> None:
        self._partial_ticket = None
        self._send(self._output.show_partial())

    def _send(self, records: list[Record]) -> None:
        """Send records in messages that the protocol allows, however many there are."""
        batch: list[Record] = []
        letters = 0
        for record in records:
            letters += len(str(record[3]))
            if batch and (letters > LINE_LIMIT or len(batch) >= _BATCH):
                self._around.send("log", id=self._id, records=batch)
                batch, letters = [], len(str(record[3]))
            batch.append(record)
        if batch:
            self._around.send("log", id=self._id, records=batch)

    def _read_status(self) -> None:
        """Learn pid 1 of the sandbox before anything runs in it, and the command's exit status after it."""
        data = os.read(self._status_pipe, _CHUNK_BYTES)
        if not data:
            self._loop.unwatch(self._status_pipe)
        *lines, self._status = (self._status + data).split(b"\n")
        for line in lines:
            found = json.loads(line)
            if "child-pid" in found:
                self._hold(int(found["child-pid"]))
            if "exit-code" in found:
                self._exit_code = int(found["exit-code"])

    def _hold(self, pid: int) -> None:
        """Take hold of pid 1 by descriptor while the gate still keeps it waiting, then let it go on."""
        try:
            self._init, self._init_pid = os.pidfd_open(pid), pid
        except ProcessLookupError:
            return
        self._loop.watch(self._init, self._init_ended)
        os.write(self._gate, b"\0")

    def _monitor_ended(self) -> None:
        self._loop.unwatch(self._monitor_end)
        self._drain(self._status_pipe, self._read_status)
        self._monitor_code = self._monitor.wait()
        self._kill()
        self._conclude()

    def _init_ended(self) -> None:
        self._init_gone = True
        if self._init is not None:
            self._loop.unwatch(self._init)
        self._conclude()

    def _conclude(self) -> None:
        """Report the end, once bubblewrap and everything inside the sandbox are gone."""
        if self._monitor_code is None or (self._init is not None and not self._init_gone):
            return
        for stream, pipe in self._pipes.items():
            self._drain(pipe, partial(self._read, stream))
        for ticket in (*self._tickets, self._partial_ticket):
            self._loop.forget(ticket)
        self._send(self._output.finish())
        if self._init is not None:
            # The runner is the tree's reaper: pid 1 outlives bubblewrap by a moment and would stay as a zombie.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._init, os.WEXITED | os.WNOHANG)
            os.close(self._init)
        for descriptor in (*self._pipes.values(), self._status_pipe, self._monitor_end):
            self._loop.unwatch(descriptor)
        _close(*self._pipes.values(), self._status_pipe, self._gate, self._monitor_end)
        self._report(self._monitor_code)
        self._on_end(self._id)

    def _report(self, code: int) -> None:
        if self._how == "exited" and self._exit_code is None:
            if code < 0:
                detail = f"the sandbox was killed from outside by signal {-code} (out of memory?)"
                self._around.send("exit", id=self._id, how="lost", exit_code=None, detail=detail)
            else:
                self._around.send("refused", id=self._id, detail=probe() or self._last_error.strip())
            return
        exit_code = self._exit_code if self._exit_code is not None else (code if code >= 0 else 128 - code)
        self._around.send("exit", id=self._id, how=self._how, exit_code=exit_code, detail=self._detail)

    def _drain(self, descriptor: int, read: Callable[[], None]) -> None:
        """Read what a dead writer left; a writer that lives on elsewhere (a descriptor passed to a friend) is not waited for."""
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while self._loop.watching(descriptor):
                read()


def _popen(argv: list[str], out: int, err: int, passed: list[int]) -> subprocess.Popen[bytes]:
    """Start bubblewrap with no environment of its own, in a session of its own."""
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=passed, env={}, cwd="/", start_new_session=True
    )


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
