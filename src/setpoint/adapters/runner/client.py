"""The server's side of the runner: starts the process, hands it tasks, and gives every waiting caller an answer even when it dies.

Built by wiring with `RunnerClient.spawn`, before any key is read; fills `pipeline.ports.Executor`. It never executes project code itself.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import setpoint
from setpoint.adapters.runner import package_client
from setpoint.adapters.runner.protocol import RUNNER_UID, VERSION, MessageReader, encode
from setpoint.core.errors import BugError, WorldError
from setpoint.pipeline.model import LogRecord, NotStartedError, TaskCommand, TaskExit

_READY_TIMEOUT_S: Final = 30.0
_KILL_MARGIN_S: Final = 10.0
"""Beyond the grace: a tree that is not gone by then is ended together with its runner."""
_ENTRY: Final = "import sys; sys.path.insert(0, sys.argv[1]); from setpoint.adapters.runner.process import main; main()"
_REACH_FIX: Final = "choose a home whose parent folders every user may pass (mode o+x), for example --home /var/lib/setpoint"


def dedicated_uid() -> int | None:
    """Return the uid that tasks run as: `RUNNER_UID` when this process is root, None (its own) otherwise."""
    return RUNNER_UID if os.geteuid() == 0 else None


@dataclass(slots=True)
class _Waiting:
    """Somebody who waits for a task."""

    on_log: Callable[[Sequence[LogRecord]], None]
    ended: asyncio.Future[TaskExit]
    failure: Exception | None = None
    """What `on_log` raised; the task is stopped and the caller gets this."""


@dataclass(slots=True)
class _Link(asyncio.Protocol):
    """The socket to one runner process."""

    ready: asyncio.Future[None]
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    reader: MessageReader = field(default_factory=MessageReader)
    transport: asyncio.Transport | None = None
    lost: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a socket pair gives nothing else
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle what the runner says; nonsense counts as its death, for it is as good as that."""
        try:
            for message in self.reader.feed(data):
                self._handle(message)
        except (ValueError, KeyError, TypeError):
            if self.transport is not None:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason changes nothing
        """Answer everybody who waits."""
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(
                NotStartedError("SP240", "the runner process ended before it was ready", fix="its last words are in the server's log")
            )
        for waiting in self.waiting.values():
            _settle(waiting, TaskExit("lost", None, "the runner process ended, and the task with it"))
        self.waiting.clear()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message, unless nobody is there any more."""
        if self.transport is not None and not self.lost:
            self.transport.write(encode(kind, **fields))

    def _handle(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._greeted(str(message["problem"]))
        elif kind == "log" and message["id"] in self.waiting:
            self._log(message["id"], self.waiting[message["id"]], message["records"])
        elif kind == "exit" and message["id"] in self.waiting:
            code = message["exit_code"]
            ended = TaskExit(message["how"], None if code is None else int(code), str(message["detail"]))
            _settle(self.waiting.pop(message["id"]), ended)
        elif kind == "refused" and message["id"] in self.waiting:
            waiting = self.waiting.pop(message["id"])
            waiting.failure = waiting.failure or NotStartedError(
                "SP241", f"the sandbox cannot be made: {message['detail']}", fix="`setpoint doctor` looks at what a sandbox needs"
            )
            _settle(waiting, TaskExit("lost", None))

    def _greeted(self, problem: str) -> None:
        if not self.ready.done():
            if problem:
                self.ready.set_exception(NotStartedError("SP240", f"the runner cannot work: {problem}", fix=_REACH_FIX))
            else:
                self.ready.set_result(None)

    def _log(self, task: str, waiting: _Waiting, records: list[list[Any]]) -> None:
        if waiting.failure is not None:
            return
        try:
            waiting.on_log([LogRecord(seq, at, stream, text) for seq, at, stream, text in records])
        except Exception as error:  # noqa: BLE001 - whatever the caller's function raised is the caller's answer
            waiting.failure = error
            self.send("cancel", id=task)


def _settle(waiting: _Waiting, ended: TaskExit) -> None:
    if waiting.ended.done():
        return
    if waiting.failure is not None:
        waiting.ended.set_exception(waiting.failure)
    else:
        waiting.ended.set_result(ended)


class RunnerClient:
    """Executes tasks in the runner process; a runner that died is started again for the next task.

    `work` is the folder with one workspace per task; `grace_s` is the time between TERM and KILL.
    """

    def __init__(self, work: Path, uid: int | None, grace_s: float = 5.0) -> None:
        if uid is None and os.geteuid() == 0:
            raise BugError("SP242", "as root the runner needs a user to become", fix="pass dedicated_uid()")
        self._work = work
        self._uid = uid
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._link: _Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ids = itertools.count(1)

    @classmethod
    def spawn(cls, work: Path, uid: int | None, *, grace_s: float = 5.0) -> Self:
        """Start the runner process and return at once; it becomes uid before it handles anything.

        Raises:
            WorldError: the process cannot be started (SP240).
        """
        client = cls(work, uid, grace_s)
        client._start()
        return client

    @property
    def pid(self) -> int | None:
        """The runner's process id, None while none was started."""
        return self._process.pid if self._process else None

    def _start(self) -> None:
        """Start a runner that inherits a socket, the search path and the package clients' configuration, and nothing else."""
        self._end_process()
        ours, theirs = socket.socketpair()
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **package_client.relevant(os.environ)}
        source = str(Path(setpoint.__file__).resolve().parent.parent)
        argv = [sys.executable, "-I", "-S", "-c", _ENTRY, source, str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise NotStartedError("SP240", f"the runner process cannot be started: {error.strerror}", where=sys.executable) from error
        ours.setblocking(False)
        self._socket, self._link = ours, None

    async def _ready(self) -> _Link:
        """Return the link to a runner that answered, starting one if there is none."""
        loop = asyncio.get_running_loop()
        if self._link is None or self._link.lost or self._loop is not loop:
            if self._socket is None or self._process is None or self._process.poll() is not None:
                self._start()
            connection, self._socket = self._socket, None
            self._loop = loop
            self._link = link = _Link(loop.create_future())
            await loop.create_connection(lambda: link, sock=connection)
            uid = None if self._uid == os.geteuid() else self._uid
            link.send("hello", version=VERSION, work=str(self._work), uid=uid, grace_s=self._grace_s)
        link = self._link
        try:
            await asyncio.wait_for(asyncio.shield(link.ready), _READY_TIMEOUT_S)
        except TimeoutError as error:
            raise NotStartedError("SP240", "the runner process does not answer", fix="look at the machine's load") from error
        except WorldError:
            self._end_process()
            raise
        return link

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Run a task to its end; `on_log` is called in the event loop. Cancelling stops the process tree and returns when it is gone.

        Raises:
            NotStartedError: no runner (SP240) or no sandbox (SP241) can be had.
        """
        task_id = _plain_name(command.task_id)
        if command.sandbox == "none" and self._uid is not None:
            raise NotStartedError(
                "SP247", "a server that is root runs no task without a sandbox", where=task_id, fix="start it as another user"
            )
        link = await self._ready()
        while link.lost:  # it died while it was waited for: nobody would ever answer on that link
            link = await self._ready()
        task = str(next(self._ids))
        waiting = _Waiting(on_log, asyncio.get_running_loop().create_future())
        link.waiting[task] = waiting
        link.send(
            "run",
            id=task,
            task_id=task_id,
            argv=list(command.argv),
            environment=command.environment,
            network=command.network,
            timeout_s=command.timeout_s,
            log_quota_bytes=command.log_quota_bytes,
            secrets=command.secrets,
            sandbox=command.sandbox,
            processes=command.processes,
        )
        try:
            return await asyncio.shield(waiting.ended)
        except asyncio.CancelledError:
            await self._stop(link, task, waiting.ended)
            raise

    async def _stop(self, link: _Link, task: str, ended: asyncio.Future[TaskExit]) -> None:
        """End a task whose caller was cancelled; being cancelled again means KILL now. The tree is gone when this returns."""
        link.send("cancel", id=task)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s + _KILL_MARGIN_S
        while not ended.done():
            try:
                await asyncio.wait({ended}, timeout=max(0.0, deadline - loop.time()))
            except asyncio.CancelledError:
                link.send("cancel", id=task)
            if not ended.done() and loop.time() >= deadline:
                self._end_process()
                deadline = loop.time() + _KILL_MARGIN_S
        if not ended.cancelled():
            ended.exception()

    def _end_process(self) -> None:
        """Kill the runner; everything it started dies with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the runner and all it runs, for example at the end of the server."""
        if self._link is not None and self._link.transport is not None and not self._link.lost:
            with contextlib.suppress(RuntimeError):
                self._link.transport.abort()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._end_process()


def _plain_name(task_id: str) -> str:
    """Return a task id that names one folder below the workspaces.

    Raises:
        BugError: it does not (SP243).
    """
    if not task_id or task_id in {".", ".."} or "/" in task_id or "\0" in task_id:
        raise BugError("SP243", f"a task id names one folder, not {task_id!r}")
    return task_id
