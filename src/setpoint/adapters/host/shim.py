"""The shim of one replica: starts its sandbox, restarts it when it ends, keeps its log, and outlives the server.

Run by `HostRuntime.start` as `python -I -S shim.py <replica folder>`, standard library only, so that it starts in milliseconds and an
upgrade of Setpoint never touches a running replica. It speaks by files (spec.json, stop.json in; state.json, log out) and never by network.

bubblewrap's monitor -> its init (pid 1 inside) -> the application: TERM to bubblewrap would not reach the application, so the shim
looks up the application's own pid, as the host sees it, and signals that.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

VERSION: Final = 1
LOG_BYTES: Final = 10 << 20
LOG_FILES: Final = 3
FIRST_BACKOFF_S: Final = 0.2
LAST_BACKOFF_S: Final = 10.0
STABLE_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LOOK_S: Final = 0.01
_IDLE_S: Final = 3600.0
_FILE_LIMIT_BYTES: Final = 8 << 20

# Nothing may be imported after root is dropped, for the interpreter may lie where only root can read: so utf-8 only, ascii is a lazy codec.
_libc = ctypes.CDLL(None, use_errno=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _start_time(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no pathlib: start-up time
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - as above
        return file.read().strip()


def _children(pid: int) -> list[int]:
    """Return a process's children, oldest first; by a scan of /proc where the kernel lists none (CONFIG_PROC_CHILDREN)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:  # noqa: PTH123 - as above
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        pass
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
                    if int(file.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(name))
            except (OSError, ValueError, IndexError):
                continue
    return sorted(found)


def describe_exit(status: int) -> str:
    """Return a wait status in words: `exit status 3`, `killed by SIGKILL` (bubblewrap passes a signal on as 128 + number)."""
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else code - 128
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {code}"


class Log:
    """`log` in the replica's folder, with `log.1` and `log.2` behind it."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open("log", flags, 0o600, dir_fd=self._folder)
        self._size = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses output and never the replica."""
        with contextlib.suppress(OSError):
            if self._size + len(data) > LOG_BYTES and self._size:
                self._rotate()
            self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        os.close(self._file)
        names = ["log", *[f"log.{number}" for number in range(1, LOG_FILES)]]
        for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
            with contextlib.suppress(FileNotFoundError):
                os.rename(newer, older, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._open()


class Child:
    """One start of the sandbox: its pids, its pipes, and when it began."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.started = time.monotonic()
        self.init: int | None = None
        self.app: int | None = None
        self._info = b""
        self.output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.info, info_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Options go through a file descriptor: the environment must not stand on a command line that everybody can read.
        options = os.memfd_create("options", 0)
        view = memoryview("".join(f"{word}\0" for word in spec["options"]).encode())
        while view:
            view = view[os.write(options, view) :]
        os.lseek(options, 0, os.SEEK_SET)
        argv = [spec["bwrap"], "--args", str(options), "--info-fd", str(info_write), "--", *spec["program"]]
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, shim, write, info_write)
        for descriptor in (write, info_write, options):
            os.close(descriptor)
        self.start_time = _start_time(self.pid)

    def read_info(self) -> None:
        """Take what bubblewrap says about its init."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.info, 4096)
            if not data:
                os.close(self.info)
                self.info = -1
        self._info += data
        if self.init is None:
            with contextlib.suppress(ValueError):
                self.init = int(json.loads(self._info)["child-pid"])

    def look(self) -> bool:
        """Look for the application below bubblewrap's init; True when it was found just now."""
        if self.app is None and self.init is not None:
            children = _children(self.init)
            if children:
                self.app = children[0]
                return True
        return False

    def close(self) -> None:
        """Close the pipes."""
        os.close(self.output)
        if self.info >= 0:
            os.close(self.info)


def _become(argv: list[str], shim: int, output: int, info: int) -> None:
    """Turn the forked child into bubblewrap; never returns."""
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != shim:
            os._exit(1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and an ignored signal stays ignored over exec
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.set_blocking(output, True)  # this end of the pipe belongs to the application
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(info, True)
        os.execve(argv[0], argv, {"PATH": "/usr/bin:/bin"})  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"setpoint shim: cannot start {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


class Shim:
    """The loop: one child at a time, until it is told to stop."""

    def __init__(self, folder: int, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self._log = Log(folder)
        self._child: Child | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._due: float | None = None
        """When the next start (backoff) or the KILL (stopping) is due, on the monotonic clock."""
        self._term = False
        self._state: dict[str, Any] = {
            "version": VERSION,
            "shim_pid": os.getpid(),
            "shim_start_time": _start_time(os.getpid()),
            "boot_id": _boot_id(),
            "phase": "running",
            "started_at": None,
            "restarts": 0,
            "last_exit": "",
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
        self._child = Child(self._spec)
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
        stopping = self._state["phase"] == "stopping"
        if not stopping:
            self._due = time.monotonic() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
        self._write_state(phase="stopping" if stopping else "backoff", last_exit=describe_exit(status), started_at=None)

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
        child = self._child
        if first and child is not None:
            child.look()
            with contextlib.suppress(ProcessLookupError):
                if child.app is None:  # the sandbox is still being made: nothing of the application runs yet
                    os.kill(child.pid, signal.SIGKILL)
                else:
                    os.kill(child.app, signal.SIGTERM)

    def _kill(self) -> None:
        """End the whole tree: bubblewrap's init dies with its monitor, and with an init its namespace."""
        self._due = None
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)

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

    def _wait(self) -> None:
        """Wait for a signal, output or the next deadline, and take in what came."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        child = self._child
        timeout_s = _IDLE_S if self._due is None else max(0.0, self._due - time.monotonic())
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
            if self._state["phase"] == "stopping" and self._child is None:
                self._write_state(phase="stopped")
                return
            if self._due is not None and time.monotonic() >= self._due:
                if self._state["phase"] == "stopping":
                    self._kill()
                elif self._child is None:
                    self._start(self._state["restarts"] + 1)
            self._wait()


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
    if os.fork():
        return 0
    os.setsid()
    os.umask(0o077)
    _drop(spec["uid"])
    _detach(folder)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Shim(folder, spec).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
