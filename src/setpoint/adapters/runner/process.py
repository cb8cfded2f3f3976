"""The runner process: takes tasks over one socket, runs each in its sandbox, and ends with everything it started when the socket closes.

Started by `client.RunnerClient`, before the server reads any key; as root it becomes a dedicated user before it looks at the first task.
It holds no secret of the home and imports the standard library and the sandbox's argument list only.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.runner.loop import EventLoop
from setpoint.adapters.runner.protocol import VERSION, MessageReader, encode
from setpoint.adapters.runner.sandboxed import SandboxedTask, Surroundings

_FILE_BYTES: Final = 16 << 30
_OPEN_FILES: Final = 65536
_SET_CHILD_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""


def main() -> None:
    """Serve the socket whose descriptor is the last argument until it closes."""
    with socket.socket(fileno=int(sys.argv[-1])) as channel:
        # The server decides when the runner ends, by its socket. A handler, not SIG_IGN, for tasks would inherit that and never hear TERM.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        _limit()
        Runner(channel).serve()


def _limit() -> None:
    """Set what every task inherits: no core dumps, enough descriptors, no file that fills the disk, readable modes."""
    os.umask(0o022)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = _FILE_BYTES if most == resource.RLIM_INFINITY else min(_FILE_BYTES, most)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def become(uid: int) -> None:
    """Give up root for good: no further groups, group and user id of the dedicated user, and no way back."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise RuntimeError("root could be taken back")


class Runner:
    """Dispatches messages to tasks."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._reader = MessageReader()
        self._loop = EventLoop()
        self._tasks: dict[str, SandboxedTask] = {}
        self._around: Surroundings | None = None
        self._open = True

    def serve(self) -> None:
        """Run until the server closes its end; tasks that still run die with this process."""
        self._loop.watch(self._channel.fileno(), self._receive)
        while self._open:
            self._loop.step()

    def _receive(self) -> None:
        try:
            data = self._channel.recv(1 << 16)
            messages = self._reader.feed(data)
        except (OSError, ValueError):
            data, messages = b"", []
        if not data:
            self._open = False
        for message in messages:
            self._handle(message)

    def _handle(self, message: Any) -> None:
        kind = message["type"]
        if kind == "hello":
            self._greet(message)
        elif kind == "run" and self._around is not None:
            task = SandboxedTask(message, self._around, self._loop, self._forget)
            self._tasks[message["id"]] = task
            task.start()
        elif kind == "cancel" and message["id"] in self._tasks:
            self._tasks[message["id"]].cancel()

    def _forget(self, task: str) -> None:
        self._tasks.pop(task, None)

    def _greet(self, hello: Any) -> None:
        """Give up root, look whether the workspaces can be reached, and answer."""
        problem = ""
        if hello["version"] != VERSION:
            problem = f"it speaks version {VERSION} of the protocol, the server version {hello['version']}"
        elif hello["uid"] is not None:
            become(int(hello["uid"]))
        work = Path(hello["work"])
        if not problem and not os.access(work, os.X_OK):
            problem = f"its user ({os.getuid()}) cannot reach {work}"
        if not problem:
            self._around = Surroundings(work, float(hello["grace_s"]), self._send, _now)
        self._send("ready", version=VERSION, problem=problem)

    def _send(self, kind: str, **fields: Any) -> None:
        """Write a message and wait for room: a server that does not read pauses its tasks; one that is gone ends them."""
        try:
            self._channel.sendall(encode(kind, **fields))
        except OSError:
            self._open = False


def _now() -> str:
    """Return the present instant in the form of `core.clock.to_text`, which this process does not import."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    main()
