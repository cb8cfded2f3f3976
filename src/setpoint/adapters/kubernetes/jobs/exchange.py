"""What pods of tasks may ask of this home, at the address that images are pulled from: their own task, their log, their own blobs.

Built by wiring, served by `api.asgi` under `/tasks/`. A pod proves itself by a token that is made from the home's key and the name of its
Job, and lets in while that attempt is open and nowhere else. One pod gets a task: a second one of the same attempt is refused, whatever
the cluster does.
"""

import asyncio
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from setpoint.adapters import masking
from setpoint.adapters.kubernetes.jobs import inside
from setpoint.adapters.oci.wire import Exchange, OciError, Receive, Scope, Send
from setpoint.adapters.runner import output
from setpoint.pipeline.model import LogRecord

JOB_NAME: Final = "sp-[0-9a-f]{20}-[0-9]{1,6}"
"""Pattern of the names of Jobs (see `objects.Attempt.name`)."""
_ROUTE: Final = re.compile(rf"/tasks/(?P<job>{JOB_NAME})(?:/(?P<what>program|log))?")
_BLOBS: Final = re.compile(rf"/v2/tasks/(?P<job>{JOB_NAME})/blobs/(?:uploads/|sha256:[0-9a-f]{{64}})")
_LOG_BYTES: Final = 32 << 20
_KEY_BYTES: Final = 32
_MODULES: Final = (masking, output, inside)


@dataclass(slots=True)
class OpenTask:
    """An attempt that goes on."""

    task: Mapping[str, Any]
    """What the pod is told; with its secrets, so it is never written anywhere here."""
    on_log: Callable[[Sequence[LogRecord]], None] = field(repr=False)
    logged: int = 0
    """How many records of the task's own the log has."""
    seq: int = 0
    pod: str = ""
    """Uid of the pod that got it."""
    failure: Exception | None = None
    """What `on_log` raised."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when whoever follows the attempt should look."""

    def note(self, at: str, text: str) -> None:
        """Append a sentence of Setpoint's own to the log."""
        self._append([LogRecord(0, at, "note", text + "\n")])

    def receive(self, before: int, records: Sequence[Sequence[Any]]) -> None:
        """Append what the pod sends: nothing twice, however often it is sent, and what is missing is said."""
        skip = self.logged - before
        found: list[LogRecord] = []
        for _, at, stream, text in records:
            if stream not in ("out", "err", "note"):
                raise ValueError(f"no stream: {stream}")
            if skip > 0:
                skip -= stream != "note"
                continue
            found.append(LogRecord(0, str(at), stream, str(text)))
        if skip < 0 and found:
            found.insert(0, LogRecord(0, found[0].at, "note", f"{-skip} records are missing here\n"))
            self.logged = before
        if found:
            self.logged += sum(record.stream != "note" for record in found)
            self._append(found)

    def _append(self, records: Sequence[LogRecord]) -> None:
        numbered = [LogRecord(self.seq + place, one.at, one.stream, one.text) for place, one in enumerate(records)]
        self.seq += len(numbered)
        if self.failure is None:
            try:
                self.on_log(numbered)
            except Exception as error:  # noqa: BLE001 - whatever the caller's function raised is the caller's answer
                self.failure = error


class TaskExchange:
    """Serves the pods of tasks; lives in the event loop of server and executor."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._open: dict[str, OpenTask] = {}

    def token(self, job: str) -> str:
        """Return the token of an attempt: the same after a restart, and good for nothing once the attempt is closed."""
        return f"{job}.{hmac.new(self._key, job.encode(), 'sha256').hexdigest()}"

    def open(self, job: str, task: OpenTask) -> None:
        """Let the pod of an attempt in."""
        self._open[job] = task

    def close(self, job: str) -> None:
        """Let nobody in for this attempt any more."""
        self._open.pop(job, None)

    def refusal(self, authorization: str | None, path: str, method: str, query: str) -> int:
        """Return the status that refuses a call to the registry, 0 for none: a pod reads and adds blobs of its own open attempt.

        503 is not yet: after a restart attempts are taken over one by one, and a pod comes again.
        """
        route = _BLOBS.fullmatch(path)
        job = route["job"] if route is not None else ""
        reads = method in ("GET", "HEAD")
        adds = method == "POST" and path.endswith("/uploads/") and "digest=" in query and "mount" not in query
        if not self._proves(authorization, job) or not (reads or adds):
            return 403
        return 0 if job in self._open else 503

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a pod."""
        await Exchange(scope, receive, send).served_by(self._serve)

    async def _serve(self, exchange: Exchange) -> None:
        route = _ROUTE.fullmatch(exchange.path)
        job = route["job"] if route is not None else ""
        if route is None or not self._proves(exchange.headers.get("authorization"), job):
            raise OciError(401, "UNAUTHORIZED", "only the pod of a task has anything to ask here")
        found = self._open.get(job)
        if found is None:
            # It may be open in a moment: after a restart attempts are taken over one by one.
            raise OciError(503, "UNAVAILABLE", "this attempt is not open, or not yet")
        if route["what"] == "program" and exchange.method == "GET":
            await exchange.answer(200, [("Content-Type", "text/x-python")], program().encode())
        elif route["what"] == "log" and exchange.method == "POST":
            await self._log(exchange, found)
        elif route["what"] is None and exchange.method == "GET":
            self._claim(exchange, found)
            await exchange.answer_json(200, dict(found.task))
        else:
            raise OciError(405, "UNSUPPORTED", "that is not done here")

    def _claim(self, exchange: Exchange, found: OpenTask) -> None:
        pod = exchange.headers.get("x-setpoint-pod", "")
        if not pod or found.pod not in ("", pod):
            raise OciError(409, "DENIED", "another pod has this attempt: a task is never begun twice")
        found.pod = pod

    async def _log(self, exchange: Exchange, found: OpenTask) -> None:
        data = await exchange.body(_LOG_BYTES)
        try:
            sent = json.loads(data)
            found.receive(int(sent["before"]), sent["records"])
        except (ValueError, KeyError, TypeError) as error:
            raise OciError(400, "INVALID", "these are no records of a log") from error
        if found.failure is not None:
            found.woken.set()
        await exchange.answer_json(200, {})

    def _proves(self, authorization: str | None, job: str) -> bool:
        kind, _, token = (authorization or "").partition(" ")
        return bool(job) and kind == "Bearer" and hmac.compare_digest(token.encode(), self.token(job).encode())


def program() -> str:
    """Return the program for pods as one text: this home's own modules, so that both sides are of one version."""
    sources = {module.__name__: Path(str(module.__file__)).read_text(encoding="utf-8") for module in _MODULES}
    lines = [
        "import os, sys, types",
        f"MODULES = {sources!r}",
        "for name, text in MODULES.items():",
        "    module = sys.modules[name] = types.ModuleType(name)",
        "    exec(compile(text, name, 'exec'), module.__dict__)",
        f"inside = sys.modules[{inside.__name__!r}]",
        "home = inside.Home(os.environ['HOME_URL'], os.environ['JOB'], os.environ['POD_UID'])",
        "inside.main(home, os.environ['WHAT'], globals().get('PROGRAM', ''))",
    ]
    return "\n".join(lines) + "\n"


def key_of(path: Path) -> bytes:
    """Return the key that tokens of pods are made from; made when it is not there. Who loses it has pods that cannot come home."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = b""
    if len(found) != _KEY_BYTES:
        found = secrets.token_bytes(_KEY_BYTES)
        temporary = path.with_name(f".{path.name}.new")
        temporary.touch(mode=0o600)
        temporary.write_bytes(found)
        temporary.replace(path)
    return found
