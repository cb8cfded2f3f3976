"""HTTP to one API server: connections, retries by type, and errors that say what to do. Called by the client; knows no kinds.

What may be repeated (reads, server-side applies, deletes with a precondition) is repeated when the server is busy or a connection breaks;
nothing else is. Every answer is bounded in time and size. A server that says when to come back (429) is left alone until then.
"""

import asyncio
import json
import random
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from setpoint.adapters.kubernetes.credentials import Credentials, Proof
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.core.errors import (
    ConflictError,
    CredentialError,
    NotAllowedError,
    NotFoundError,
    SetpointError,
    UnreachableError,
    UserError,
    WorldError,
)

LIMIT_BYTES: Final = 256 << 20
"""Largest answer that is read; lists are asked for in pages, so only a single object or page can be as large."""
CONNECTIONS: Final = 16
"""Calls at once; watches and followed logs, which last, are not counted."""
_CONNECT_S: Final = 5.0
_READ_S: Final = 60.0
_ATTEMPTS: Final = 5
_SILENT_ATTEMPTS: Final = 2
"""Of who does not answer at all: once for a connection that was kept and is dead by now; then the caller has to know."""
_SILENCE_S: Final = 0.2
_BACKOFF_S: Final = 0.25
_LONGEST_S: Final = 10.0
_UNTYPED: Final = (
    "field not declared in schema",
    "failed to create typed patch object",
    "failed to create typed live object",
    "unable to convert unstructured object",
)
"""A server-side apply with a misspelt field or a value of another type is answered as status 500: no reason to try it again."""
_BY_RULE: Final = re.compile(r" is forbidden: (?!User )|denied the request")
"""A quota, a Pod Security level or a webhook refuses with the status that a missing right has too."""
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_GATEWAY: Final = frozenset({502, 503, 504})
"""Without a `Status` of Kubernetes they are words of a proxy that reaches no API server."""
_WEBHOOK: Final = re.compile(r"failed calling webhook|failed to call webhook")


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    repeatable: bool = True
    """May be sent again when it is not known what became of it."""


class Transport:
    """The connection to one API server; used as `async with`, in one event loop."""

    def __init__(self, access: Access, chance: Callable[[], float] = random.random, heard: Callable[[], None] = lambda: None) -> None:
        self._access = access
        self.sent = {"read": 0, "dry-run": 0, "write": 0}
        """How many calls were made, watches among the reads."""
        self._heard = heard
        """Called at every answer of the API server, whatever it says."""
        self._silent_from: float | None = None
        """When it did not answer for the first time since it did, by the loop's clock."""
        self._not_before = 0.0
        """When it wants to be asked again, by the loop's clock."""
        self._credentials = Credentials(access.credential)
        self._chance = chance
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._connecting = asyncio.Lock()
        self._identity: tuple[bytes, bytes] | None = None
        """The client certificate that the session was made with."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, call: Call) -> bytes:
        """Return the body of a good answer.

        Raises:
            NotFoundError: no such object or kind (SP684).
            ConflictError: somebody else was first, or owns a field (SP685).
            NotAllowedError: this user may not do that (SP683).
            UserError: the server refuses the request itself (SP686).
            UnreachableError: nobody answers (SP682), or we are not known there (CredentialError, SP681 or SP689).
            WorldError: it is too busy or broken (SP682), or a webhook of the cluster does not answer (SP699).
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self.open(call) as response:
                    return await _read(response, call.path)
            except (_BusyError, _SilentError) as error:
                silent = isinstance(error, _SilentError)
                if attempt >= (_SILENT_ATTEMPTS if silent else _ATTEMPTS) or not call.repeatable or error.retry_after_s > _LONGEST_S:
                    raise
                pause_s = _BACKOFF_S * 2**attempt * (0.5 + self._chance())
                if silent and self._silence_s() > _SILENCE_S:
                    raise  # somebody else tried it again meanwhile
                if silent:
                    self._hold(pause_s)  # nobody else finds out the same meanwhile
                else:
                    pause_s = min(_LONGEST_S, max(error.retry_after_s, pause_s))
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def open(self, call: Call, *, endless: bool = False) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give a good answer's response, unread; endless ones (a watch, a followed log) have no limit in time.

        Raises:
            SetpointError: as `send`.
        """
        self.sent["read" if call.method == "GET" else "dry-run" if "dryRun" in call.query else "write"] += 1
        for trial in (1, 2):
            proof = await self._credentials.proof()
            session = await self._connected(proof)
            timeout = aiohttp.ClientTimeout(
                total=None if endless else _READ_S, sock_connect=_CONNECT_S, sock_read=None if endless else _READ_S
            )
            try:
                async with nullcontext() if endless else self._slots, self._turn(call), session.request(
                    call.method, self._access.server + call.path, params=call.query, data=call.body, timeout=timeout,
                    headers=self._headers(call, proof), allow_redirects=False, server_hostname=self._access.server_name or None,
                ) as response:  # fmt: skip
                    if response.status == 401 and trial == 1:
                        self._credentials.refused()
                        continue
                    if response.status >= 300:
                        raise self._told(
                            _fault(response.status, await _beginning(response), response.headers.get("Retry-After"), self._where(call)),
                            response.status,
                        )
                    self._answered()
                    try:
                        yield response
                    finally:
                        _abort(response)
                    return
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _unreachable(error, self._where(call)) from error

    @asynccontextmanager
    async def _turn(self, call: Call) -> AsyncIterator[None]:
        """Wait until the server wants to be asked again; when that is long, say so instead."""
        wait_s = self._not_before - asyncio.get_running_loop().time()
        if wait_s > _LONGEST_S:
            what = f"the API server asks to be left alone for {wait_s:.0f} s more"
            raise _BusyError("SP682", what, where=self._where(call), fix="it is tried again then", retry_after_s=wait_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield

    def _answered(self) -> None:
        self._silent_from = None
        self._heard()

    def _silence_s(self) -> float:
        """Return how long nobody has answered by now."""
        now = asyncio.get_running_loop().time()
        self._silent_from = now if self._silent_from is None else self._silent_from
        return now - self._silent_from

    def _hold(self, pause_s: float) -> None:
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + pause_s)

    def _told(self, fault: SetpointError, status: int) -> SetpointError:
        """Note what a refusal says about the server as a whole, and return it."""
        if not isinstance(fault, UnreachableError):
            self._answered()
        if status == 429 and isinstance(fault, WorldError):
            self._hold(fault.retry_after_s)
        return fault

    def _headers(self, call: Call, proof: Proof) -> list[tuple[str, str]]:
        headers = [("Accept", call.accept), ("User-Agent", "setpoint")]
        if call.body is not None:
            headers.append(("Content-Type", call.content_type))
        if proof.token:
            headers.append(("Authorization", f"Bearer {proof.token}"))
        if self._access.impersonate:
            headers.append(("Impersonate-User", self._access.impersonate))
        return [*headers, *(("Impersonate-Group", group) for group in self._access.impersonate_groups)]

    async def _connected(self, proof: Proof) -> aiohttp.ClientSession:
        identity = (proof.certificate, proof.key)
        async with self._connecting:
            if self._session is None or self._identity != identity:
                await self.close()
                try:
                    context = await asyncio.to_thread(_context, self._access, proof)
                except (ssl.SSLError, ValueError):
                    what = "the certificates of the kubeconfig cannot be used: the cluster's authority, or ours with its key"
                    raise UserError("SP680", what, where=urlsplit(self._access.server).netloc, fix="add the cluster again") from None
                connector = aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=30)
                self._session = aiohttp.ClientSession(connector=connector)
                self._identity = identity
            return self._session

    def _where(self, call: Call) -> str:
        return f"{call.method} {urlsplit(self._access.server).netloc}{call.path}"


def _abort(response: aiohttp.ClientResponse) -> None:
    """End a connection that is left in the middle of an answer at once: a polite end of TLS would outlive the loop."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class _BusyError(WorldError):
    """The same call may succeed in a moment."""


class _SilentError(UnreachableError):
    """Nobody answered: the next call may find somebody."""


def _context(access: Access, proof: Proof) -> ssl.SSLContext:
    """Return a TLS context that knows the cluster's authority and our certificate."""
    context = ssl.create_default_context(cadata=access.authority.decode() if access.authority else None)
    if proof.certificate:
        # OpenSSL takes a certificate chain from files only; both are gone before this returns.
        with tempfile.NamedTemporaryFile() as file:
            file.write(proof.certificate + b"\n" + proof.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def _read(response: aiohttp.ClientResponse, path: str) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > LIMIT_BYTES:
            raise WorldError("SP682", f"the answer is larger than {LIMIT_BYTES >> 20} MiB", where=path, fix="ask for less at once")
    return bytes(data)


def decoded(data: bytes, where: str) -> dict[str, Any]:
    """Return the object that an answer holds.

    Raises:
        WorldError: it holds none (SP682): something else answers there, a proxy's page for example.
    """
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        fix = "is this address an API server's?"
        raise WorldError("SP682", "the answer is no object of Kubernetes", where=where, fix=fix, retry_after_s=30)
    return found


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer of a failed call, at most its first MiB: one read may give less than there is."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) >= 1 << 20:
            break
    return bytes(data[: 1 << 20])


def _unreachable(error: BaseException, where: str) -> UnreachableError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return UnreachableError(
            "SP682", f"the server's certificate is not accepted: {error}", where=where, fix="check certificate-authority", retry_after_s=30
        )
    what = "no answer in time" if isinstance(error, TimeoutError) else f"cannot be reached: {str(error) or type(error).__name__}"
    return _SilentError("SP682", what, where=where, fix="is the cluster up, and its address right?", retry_after_s=1.0)


def _fault(status: int, body: bytes, retry_after: str | None, where: str) -> SetpointError:
    """Return the error for a `Status` answer (API conventions, "Response Status Kind")."""
    said = _status(body)
    message = _shortened(str(said.get("message") or f"status {status}"))
    if status in _AGAIN and not any(words in message for words in _UNTYPED):
        return _unserved(status, said, retry_after, where)
    if status == 401:
        fix = "renew the token or certificate: setpoint cluster add NAME --kubeconfig FILE"
        what = f"the API server does not accept our credential, it ended or was withdrawn: {message}"
        return CredentialError("SP689", what, where=where, fix=fix, retry_after_s=30)
    if status == 403 and _BY_RULE.search(message):
        fix = "it fits when the object, or the cluster's rule, is changed"
        return UserError("SP686", f"an admission rule of the cluster refuses it: {message}", where=where, fix=fix)
    if status == 403:
        return NotAllowedError("SP683", message, where=where, fix="give the user a role with that verb (kubectl auth can-i ...)")
    if status == 404:
        return NotFoundError("SP684", message, where=where)
    if status in (409, 410, 412):
        return ConflictError("SP685", _conflict(said) or message, where=where, fix="it is decided again on what is there now")
    return UserError("SP686", f"the API server refuses it ({status}): {message}", where=where, fix="mend the manifest as the message says")


def _unserved(status: int, said: Mapping[str, Any], retry_after: str | None, where: str) -> WorldError:
    """Return the error for a call that the same server may serve later, told apart by who did not do its part."""
    message = _shortened(str(said.get("message") or f"status {status}"))
    if status in _GATEWAY and said.get("kind") != "Status":
        what = f"what answers there reaches no API server (status {status})"
        return _SilentError("SP682", what, where=where, fix="is the cluster up behind its address?", retry_after_s=1.0)
    if _WEBHOOK.search(message):
        fix = "see who serves that webhook; a webhook that may be left out has failurePolicy Ignore"
        return WorldError("SP699", f"an admission webhook of the cluster does not answer: {message}", where=where, fix=fix)
    said_s = retry_after or str((said.get("details") or {}).get("retryAfterSeconds") or "")
    wait_s = float(said_s) if said_s.isdigit() else 1.0
    what = f"the API server is busy or broken ({status}): {message}"
    return _BusyError("SP682", what, where=where, fix="it is tried again", retry_after_s=wait_s)


def _shortened(message: str) -> str:
    """Return both ends of a long message: the server writes a whole object between what is wrong and why."""
    return message if len(message) <= 2000 else f"{message[:600]} ... {message[-1400:]}"


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _conflict(said: Mapping[str, Any]) -> str:
    """Return who owns the fields of a conflicting server-side apply: `kubectl owns .spec.replicas`."""
    causes = (said.get("details") or {}).get("causes") or ()
    rows = [f"{cause.get('message', '')}: {cause.get('field', '')}" for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    return "; ".join(rows)
