"""Smart HTTP for the hosted repositories: raw ASGI over `git upload-pack|receive-pack --stateless-rpc`, streaming both ways.

Mounted by the API at /git. Stock git clones, fetches and pushes with HTTP Basic. It never stores a request in memory, never hands the
server's environment to git, runs no hooks, and knows nothing of what a push means: `may_push` and `on_push` do.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from setpoint.adapters.git.pkt import FLUSH, ZERO, ProtocolError, PushHead, line, parse_head, refusal
from setpoint.adapters.git.process import GitProcess, Limits, Service, git_environment
from setpoint.adapters.git.report import PushReport
from setpoint.adapters.git.request import Answer, Body, DisconnectedError, Receive, RefusedBodyError, Scope, Send, header, reply
from setpoint.adapters.git.spool import PushSpool
from setpoint.adapters.git.store import GitRepositories
from setpoint.core.errors import NotFoundError, SetpointError, UserError, WorldError
from setpoint.ground.identity.model import Principal
from setpoint.source.model import RefUpdate

log = logging.getLogger(__name__)

Authenticate = Callable[[str | None], Principal | None]
OnPush = Callable[[Principal, str, list[RefUpdate]], Awaitable[None] | None]
MayPush = Callable[[Principal, str, list[RefUpdate]], Awaitable[str] | str]

_PATH: Final = re.compile(r"(?:/git)?/([^/]+?)(\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
_PROTOCOL: Final = re.compile(r"[a-z0-9=:]{1,64}")
_SERVICES: Final[dict[str, Service]] = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}
_HEAD_BYTES: Final = 1 << 20
_HIDDEN: Final = "refs/setpoint/"
_CHALLENGE: Final = [(b"www-authenticate", b'Basic realm="Setpoint", charset="UTF-8"')]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, after its path was understood and its sender known."""

    scope: Scope
    receive: Receive
    send: Send
    principal: Principal
    repository: str
    service: Service

    def answer(self, kind: str) -> Answer:
        """Return the answer to this call, `advertisement` or `result`."""
        return Answer(self.send, f"application/x-git-{self.service}-{kind}")


class GitHttp:
    """The ASGI application; `/git/<name>.git/...` with or without the `/git`."""

    def __init__(
        self,
        store: GitRepositories,
        authenticate: Authenticate,
        on_push: OnPush,
        may_push: MayPush,
        limits: Limits | None = None,
        spool: PushSpool | None = None,
    ) -> None:
        """With a spool every push is noted there before a ref moves, and forgotten once on_push has it."""
        self._spool = spool
        self._store = store
        self._authenticate = authenticate
        self._on_push = on_push
        self._may_push = may_push
        self._limits = limits or Limits()
        self._slots = asyncio.Semaphore(self._limits.processes)
        self._environment = git_environment(store.root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        A client that goes away ends its git process; only a push whose body is complete is brought to its end.
        """
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, receive, send)
        except DisconnectedError:
            log.debug("git client went away: %s", scope["path"])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _PATH.fullmatch(scope["path"])
        principal = self._authenticate(header(scope, b"authorization"))
        if principal is None:
            text = "log in: any user name, and a token as the password (setpoint token create)"
            await reply(send, 401, text, _CHALLENGE)
        elif found is None:
            await reply(send, 404, "there is nothing here; a repository is at /git/<name>.git, for the smart protocol of git")
        elif found[2] is None:
            await reply(send, 404, f"write the address with .git at its end: /git/{found[1]}.git")
        else:
            await self._dispatch(scope, receive, send, (principal, found[1], found[3]))

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send, who: tuple[Principal, str, str]) -> None:
        principal, name, what = who
        service = _query_service(scope) if what == "info/refs" else _SERVICES[what]
        if service is None:
            await reply(send, 403, "only the smart protocol is spoken here: use git 1.6.6 or newer")
            return
        try:
            await asyncio.to_thread(self._store.path, name)
        except (NotFoundError, UserError) as error:
            await reply(send, 404, f"{error.what}; {error.fix}" if error.fix else error.what)
            return
        wanted = "GET" if what == "info/refs" else "POST"
        if scope["method"] != wanted:
            await reply(send, 405, f"use {wanted}", [(b"allow", wanted.encode())])
            return
        call = Call(scope, receive, send, principal, name, service)
        try:
            async with asyncio.timeout(self._limits.queue_s):
                await self._slots.acquire()
        except TimeoutError:
            await reply(send, 503, "too many git requests at once; try again", [(b"retry-after", b"5")])
            return
        answer = call.answer("advertisement" if what == "info/refs" else "result")
        try:
            await (self._advertise(call, answer) if what == "info/refs" else self._rpc(call, answer))
        except RefusedBodyError as error:
            await answer.refuse(error.status, str(error))
        else:
            await answer.end()
        finally:
            self._slots.release()

    async def _advertise(self, call: Call, answer: Answer) -> None:
        """Answer info/refs; the `# service` banner is left out for protocol v2, as http-backend does."""
        environment = self._protocol(call)
        process = await self._start(call, environment, advertise=True)
        try:
            process.close_input()
            if environment.get("GIT_PROTOCOL") != "version=2":
                await answer.write(line(f"# service=git-{call.service}\n".encode()) + FLUSH)
            _judge(call, await self._copy(process, answer), process, answer)
        finally:
            await process.end()

    async def _rpc(self, call: Call, answer: Answer) -> None:
        wanted = f"application/x-git-{call.service}-request"
        if header(call.scope, b"content-type") != wanted:
            raise RefusedBodyError(415, f"the content type must be {wanted}")
        body = Body(call.scope, call.receive, self._limits.body_bytes, self._limits.idle_s)
        if call.service == "receive-pack":
            await self._push(call, answer, body)
        else:
            await self._exchange(call, answer, body, b"")

    async def _push(self, call: Call, answer: Answer, body: Body) -> None:
        """Ask whether the push may happen, run receive-pack, and report the refs that really moved before the client hears the end."""
        head, start = await _read_head(body)
        refused = await self._refusal(call, head)
        if refused is not None:
            await body.drain()
            await answer.write(refused)
            return
        before = await asyncio.to_thread(self._store.refs, call.repository)
        try:
            noted = await asyncio.to_thread(self._note, call, head)
        except WorldError as error:
            await body.drain()
            await answer.write(refusal(head, error.what, error.render()))
            return
        report = PushReport(head)
        try:
            await self._exchange(call, answer, body, start, report)
        finally:
            stored = await self._report(call, head, before, noted)
        last = report.end(stored or report.fault(await asyncio.to_thread(self._store.refs, call.repository)))
        if last:
            await answer.write(last)

    def _note(self, call: Call, head: PushHead) -> str:
        who = call.principal
        return self._spool.begin(call.repository, who.actor, who.pusher, list(head.commands)) if self._spool is not None else ""

    async def _refusal(self, call: Call, head: PushHead) -> bytes | None:
        """Return the answer that refuses a push before git sees it; None when git may have it."""
        if any(update.ref.startswith(_HIDDEN) for update in head.commands):
            return refusal(head, f"{_HIDDEN} belongs to Setpoint; push to refs/heads/ or refs/tags/")
        if not head.commands:
            return None
        try:
            answer = self._may_push(call.principal, call.repository, list(head.commands))
            sentence = answer if isinstance(answer, str) else await answer
        except SetpointError as error:
            return refusal(head, error.what, error.render())
        return refusal(head, sentence) if sentence else None

    async def _report(self, call: Call, head: PushHead, before: dict[str, str], noted: str) -> SetpointError | None:
        """Call on_push with what moved; its failure does not fail the push: the heads are found by looking, the pusher by the note.

        Returns what the pusher is to be told of such a failure.
        """
        try:
            after = await asyncio.to_thread(self._store.refs, call.repository)
            moved = [update for update in head.commands if _happened(update, before, after)]
            if moved:
                done = self._on_push(call.principal, call.repository, moved)
                if done is not None:
                    await done
            if self._spool is not None:
                await asyncio.to_thread(self._spool.settle, noted)
        except Exception as error:
            log.exception("a push to %s was stored but not announced", call.repository)
            if self._spool is not None:
                self._spool.leave(noted)
            why = f"{error.what}; {error.fix}" if isinstance(error, SetpointError) else "the server's log says why"
            return WorldError("SP114", "the push is stored; it is journalled later, by itself", fix=why)
        return None

    def _protocol(self, call: Call) -> dict[str, str]:
        """Return git's environment with the protocol version the client asked for; a push is always version 0."""
        asked = header(call.scope, b"git-protocol") or ""
        if call.service == "receive-pack" or not _PROTOCOL.fullmatch(asked):
            return self._environment
        version = next((word for word in asked.split(":") if word.startswith("version=")), "")
        return {**self._environment, "GIT_PROTOCOL": version} if version else self._environment

    async def _exchange(self, call: Call, answer: Answer, body: Body, start: bytes, report: PushReport | None = None) -> None:
        """Stream the body into git and git's answer out at the same time, through the report of a push.

        Raises:
            RefusedBodyError, DisconnectedError: what happened to the body; git is ended then.
        """
        process = await self._start(call, self._protocol(call), advertise=False)
        taken = asyncio.create_task(_feed(process, body, start))
        watcher: asyncio.Task[None] | None = None
        try:
            if call.service == "upload-pack":
                watcher = asyncio.create_task(_watch(process, body, taken))
            status = await self._copy(process, answer, report)
            await taken
            _judge(call, status, process, answer)
        finally:
            tasks = [taken, *([watcher] if watcher else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await process.end()

    async def _copy(self, process: GitProcess, answer: Answer, report: PushReport | None = None) -> int:
        """Send git's output as it comes, but for what a report holds back, and return its exit status."""
        try:
            while data := await process.read(self._limits.idle_s):
                passed = report.feed(data) if report is not None else data
                if passed:
                    await answer.write(passed)
        except TimeoutError as error:
            raise RefusedBodyError(504, "git said nothing for too long") from error
        status = await process.wait()
        if report is not None:
            report.complaint = process.complaint()
        return status

    async def _start(self, call: Call, environment: dict[str, str], *, advertise: bool) -> GitProcess:
        try:
            return await GitProcess.start(call.service, self._store.path(call.repository), environment, advertise=advertise)
        except FileNotFoundError as error:
            raise RefusedBodyError(500, "git is not installed on the server") from error


def _judge(call: Call, status: int, process: GitProcess, answer: Answer) -> None:
    """Log what git complains of; when it said nothing in band, answer 500."""
    if not status:
        return
    log.warning("git %s of %s ended with %d: %s", call.service, call.repository, status, process.complaint())
    if not answer.started:
        raise RefusedBodyError(500, "git could not serve this repository; the server's log says why")


def _query_service(scope: Scope) -> Service | None:
    values = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("service", [])
    return _SERVICES.get(values[0]) if len(values) == 1 else None


def _happened(update: RefUpdate, before: dict[str, str], after: dict[str, str]) -> bool:
    """Say whether this push moved the ref: git takes an update only when `old` is what it found."""
    return update.old != update.new and before.get(update.ref, ZERO) == update.old and after.get(update.ref, ZERO) == update.new


async def _read_head(body: Body) -> tuple[PushHead, bytes]:
    """Return the commands of a push, and all bytes read so far (git wants them too)."""
    read = bytearray()
    async for data in body.chunks():
        read += data
        try:
            head = parse_head(read)
        except ProtocolError as error:
            raise RefusedBodyError(400, f"this is no push: {error}") from error
        if head is not None:
            return head, bytes(read)
        if len(read) > _HEAD_BYTES:
            raise RefusedBodyError(413, "too many refs in one push; push them in several")
    raise RefusedBodyError(400, "this is no push: the body ends too early")


async def _feed(process: GitProcess, body: Body, start: bytes) -> None:
    """Write the body to git; when git stops reading (it refused the pack), read on, so that the client gets to its answer."""
    reading = True
    try:
        async for data in _chain(start, body):
            if reading:
                try:
                    await process.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    reading = False
    except (DisconnectedError, RefusedBodyError):
        process.terminate()
        raise
    process.close_input()


async def _chain(start: bytes, body: Body) -> AsyncIterator[bytes]:
    if start:
        yield start
    async for data in body.chunks():
        yield data


async def _watch(process: GitProcess, body: Body, taken: "asyncio.Task[None]") -> None:
    """End a fetch whose client went away; a push whose body is complete is left to finish."""
    await asyncio.wait([taken])
    await body.gone()
    process.terminate()
