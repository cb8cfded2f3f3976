"""The shim of one replica: starts its sandbox, restarts it when it ends, keeps its log, and outlives the server.

Run by `HostRuntime.start` as `python -I -S shim.py <replica folder>`, standard library only, so that it starts in milliseconds and an
upgrade of Setpoint never touches a running replica. It speaks by files (spec.json, stop.json in; state.json, log out) and never by network.
Secrets come over its standard input and stay in its memory: no file and no command line ever holds one.

bubblewrap's monitor -> its init (pid 1 inside) -> the application: TERM to bubblewrap would not reach the application, so the shim
looks up the application's own pid, as the host sees it, and signals that.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

if __name__ == "__main__":  # run by its path, isolated: its own modules lie four folders up
    sys.path.insert(0, __file__.rpartition("/setpoint/")[0])

from setpoint.adapters.host import shim_child, shim_hook
from setpoint.adapters.host.shim_child import Child, Groups
from setpoint.adapters.host.shim_log import LOG_BYTES, RESTARTED, Log

VERSION: Final = 2
FIRST_BACKOFF_S: Final = 0.2
LAST_BACKOFF_S: Final = 10.0
STABLE_S: Final = 30.0
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_LOOK_S: Final = 0.01
_IDLE_S: Final = 3600.0
_FILE_LIMIT_BYTES: Final = 8 << 20


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - no pathlib: start-up time
        return file.read().strip()


def describe_exit(status: int) -> str:
    """Return a wait status in words: `exit status 3`, `killed by SIGKILL` (bubblewrap passes a signal on as 128 + number)."""
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else code - 128
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {code}"


class Shim:
    """The loop: one child at a time, until it is told to stop; that of a Job also until it has succeeded or failed."""

    def __init__(self, folder: int, spec: dict[str, Any], secrets: dict[str, Any], groups: Groups) -> None:
        self._folder = folder
        self._spec = spec
        self._secrets = secrets
        self._groups = groups
        self._job: dict[str, Any] | None = spec["job"]
        self._oom_kills = groups.killed()
        self._log = Log(folder)
        self._child: Child | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._due: float | None = None
        """When the next start (backoff) or the KILL (stopping) is due, on the monotonic clock."""
        self._term = False
        self._hook: int | None = None
        """The process that carries the preStop hook out."""
        limit_s = self._job["deadline_s"] if self._job else None
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        """When a Job has to have ended, whatever it does."""
        self._state: dict[str, Any] = {
            "version": VERSION,
            "shim_pid": os.getpid(),
            "shim_start_time": shim_child.start_time(os.getpid()),
            "boot_id": _boot_id(),
            "phase": "running",
            "started_at": None,
            "restarts": 0,
            "last_exit": "",
            "outcome": "",
            "finished_at": None,
        }
        self._wake, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _number: int, _frame: object) -> None:
        self._term = True

    def _write_state(self, **changes: object) -> None:
        """Write state.json in one step, so that a reader never sees half of it."""
        child = self._child
        self._state.update(changes)
        self._state["sandbox_pid"] = child.pid if child else None
        self._state["sandbox_start_time"] = child.start_time if child else None
        self._state["child_pid"] = child.app if child else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            with os.fdopen(os.open("state.json.tmp", flags, 0o600, dir_fd=self._folder), "w", encoding="utf-8") as file:
                json.dump(self._state, file)
            os.rename("state.json.tmp", "state.json", src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _start(self, restarts: int) -> None:
        self._due = None
        if restarts:
            self._log.write(f"{RESTARTED}{self._state['last_exit']} (restart {restarts}, {_now()})\n".encode())
        self._child = Child(self._spec, self._secrets, self._groups)
        self._write_state(phase="running", started_at=_now(), restarts=restarts)

    def _ended(self, status: int) -> None:
        """Note how the child ended, and plan the next start unless stopping."""
        child = self._child
        if child is None:
            return
        self._drain(child)
        child.close()
        self._child = None
        if time.monotonic() - child.started >= STABLE_S:
            self._backoff_s = FIRST_BACKOFF_S
        exit_text, code = self._exit_text(status), os.waitstatus_to_exitcode(status)
        if self._state["phase"] == "stopping":
            self._write_state(last_exit=exit_text, started_at=None)
        elif self._job is not None and (code == 0 or self._state["restarts"] >= self._job["retries"]):
            self._finish("failed" if code else "succeeded", last_exit=exit_text, started_at=None)
        else:
            self._due = time.monotonic() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
            self._write_state(phase="backoff", last_exit=exit_text, started_at=None)

    def _exit_text(self, status: int) -> str:
        """Return how a child ended, and whether the kernel ended a process of it for want of memory."""
        before, self._oom_kills = self._oom_kills, self._groups.killed()
        return describe_exit(status) + (" (out of memory)" if self._oom_kills > before else "")

    def _finish(self, outcome: str, **changes: object) -> None:
        """Note the end of a Job: `succeeded`, `failed`, `deadline`."""
        self._write_state(phase="finished", outcome=outcome, finished_at=_now(), **changes)

    def _drain(self, child: Child) -> None:
        """Copy what the pipe holds to the log, at most a rotation's worth a turn."""
        for _ in range(LOG_BYTES >> 16):
            try:
                data = os.read(child.output, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            self._log.write(data)

    def _grace_s(self) -> float:
        """Return the grace that this stop was asked with, else the replica's own."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return float(_read_json("stop.json", self._folder)["grace_s"])
        return float(self._spec["grace_s"])

    def _stop(self) -> None:
        """Ask the application to end; a second TERM may only shorten the grace."""
        self._term = False
        due = time.monotonic() + self._grace_s()
        first = self._state["phase"] != "stopping"
        self._due = due if first or self._due is None else min(self._due, due)
        self._write_state(phase="stopping")
        if first and self._child is not None:
            self._child.look()
            hook = self._spec["pre_stop"]
            if self._child.app is not None and hook is not None and self._grace_s() > 0:
                self._hook = shim_hook.start(hook, self._grace_s())
            else:
                self._ask_to_end()

    def _ask_to_end(self) -> None:
        """Signal the application, after its preStop hook if it has one."""
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                if child.app is None:  # the sandbox is still being made: nothing of the application runs yet
                    os.kill(child.pid, signal.SIGKILL)
                else:
                    os.kill(child.app, signal.SIGTERM)

    def _kill(self) -> None:
        """End the whole tree: bubblewrap's init dies with its monitor, and with an init its namespace."""
        self._due = None
        for pid in (self._child.pid if self._child is not None else None, self._hook):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._child is not None and pid == self._child.pid:
                self._ended(status)
            elif pid == self._hook:
                self._hook = None
                self._ask_to_end()

    def _wait(self) -> None:
        """Wait for a signal, output or the next deadline, and take in what came."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        child = self._child
        dues = [due for due in (self._due, self._deadline) if due is not None]
        timeout_s = max(0.0, min(dues) - time.monotonic()) if dues else _IDLE_S
        if child is not None:
            poll.register(child.output, select.POLLIN)
            if child.info >= 0:
                poll.register(child.info, select.POLLIN)
            if child.init is not None and child.app is None:
                timeout_s = min(timeout_s, _LOOK_S)
        ready = {descriptor for descriptor, _events in poll.poll(timeout_s * 1000 + 1)}
        if self._wake in ready:
            os.read(self._wake, 4096)
        if child is not None:
            if child.info in ready:
                child.read_info()
                if child.fault:
                    self._log.write(f"setpoint shim: {child.fault}\n".encode())
                    child.fault = ""
            if child.output in ready:
                self._drain(child)
            if child.look():
                self._write_state()

    def run(self) -> None:
        """Run until a stop has ended the application."""
        self._start(0)
        while True:
            self._reap()
            if self._term:
                self._stop()
            if self._over():
                return
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self._deadline, self._state["outcome"] = None, "deadline"
                self._stop()
            if self._due is not None and now >= self._due:
                if self._state["phase"] == "stopping":
                    self._kill()
                elif self._child is None:
                    self._start(self._state["restarts"] + 1)
            self._wait()

    def _over(self) -> bool:
        """Say whether nothing is left to do, and note it."""
        if self._state["phase"] == "stopping" and self._child is None:
            if self._state["outcome"] == "deadline":
                self._finish("deadline")
            else:
                self._write_state(phase="stopped", finished_at=_now())
        return self._state["phase"] in ("stopped", "finished")


def _read_secrets() -> dict[str, Any]:
    """Return what the runtime sends over standard input; nothing without secrets."""
    with os.fdopen(0, "rb", closefd=False) as file:
        data = file.read(_FILE_LIMIT_BYTES)
    found: dict[str, Any] = json.loads(data) if data else {}
    return found


def _read_json(name: str, folder: int) -> Any:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        return json.loads(file.read(_FILE_LIMIT_BYTES))


def _drop(uid: int | None) -> None:
    """Give up root for good; everything of the replica, this shim included, runs as uid."""
    if uid is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _detach(folder: int) -> None:
    """Let go of the server's pipes; what Python itself would say goes to shim.err."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    errors = os.open("shim.err", flags, 0o600, dir_fd=folder)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)


def main(argv: list[str]) -> int:
    """Leave the server's tree (second fork, own session), drop root, and supervise."""
    folder = os.open(argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    spec = _read_json("spec.json", folder)
    if spec.get("version") != VERSION:
        sys.stderr.write(f"setpoint shim: spec.json has version {spec.get('version')}, this shim reads {VERSION}\n")
        return 2
    secrets = _read_secrets()
    groups = Groups(spec["groups"])
    if os.fork():
        return 0
    os.setsid()
    os.umask(0o077)
    _drop(spec["uid"])
    _detach(folder)
    shim_child.libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if secrets:  # what is in this memory is not for others of the same uid
        shim_child.libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    Shim(folder, spec, secrets, groups).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
