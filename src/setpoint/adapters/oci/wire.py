"""HTTP as the registry speaks it on raw ASGI: requests, answers, OCI errors, bounded and streamed bodies.

Called by the registry's endpoints; knows nothing of blobs or manifests and never buffers a body beyond the limit it is given.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import parse_qsl

from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, UserError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[str, str]]

P = ParamSpec("P")
T = TypeVar("T")

_PIECE_BYTES: Final = 1 << 20
JSON: Final = ("Content-Type", "application/json")


class OciError(Exception):
    """An answer that is an error (distribution-spec 1.1, error codes)."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = list(headers)


class DisconnectedError(Exception):
    """The client went away; there is nobody left to answer."""


_CODES: Final = {
    "SP301": (400, "DIGEST_INVALID"),
    "SP302": (404, "BLOB_UNKNOWN"),
    "SP303": (413, "SIZE_INVALID"),
    "SP304": (400, "MANIFEST_INVALID"),
    "SP308": (400, "NAME_INVALID"),
    "SP309": (507, "UNKNOWN"),
    "SP316": (404, "BLOB_UPLOAD_UNKNOWN"),
    "SP317": (409, "BLOB_UPLOAD_INVALID"),
    "SP319": (429, "TOOMANYREQUESTS"),
}


def translate(error: SetpointError) -> OciError:
    """Return a store's error in the words of the distribution-spec."""
    if error.code == "SP304" and isinstance(error, NotFoundError):
        return OciError(404, "MANIFEST_BLOB_UNKNOWN", error.what)
    fallback = 409 if isinstance(error, ConflictError) else 400 if isinstance(error, UserError) else 500
    status, code = _CODES.get(error.code, (fallback, "UNKNOWN"))
    return OciError(status, code, f"{error.what}; {error.fix}" if error.fix else error.what)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work off the event loop; when cancelled, wait for the thread first, so that nothing is torn down under it."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@dataclass(frozen=True)
class Exchange:
    """One request and the way to answer it."""

    scope: Scope
    receive: Receive
    send: Send

    @property
    def method(self) -> str:
        """The verb, upper case."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, percent-decoded, as the whole server sees it."""
        return str(self.scope["path"])

    @cached_property
    def headers(self) -> dict[str, str]:
        """Header fields by lower-case name."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """Query parameters in order.

        Raises:
            OciError: there are too many of them.
        """
        try:
            text = self.scope["query_string"].decode("latin-1")
            return parse_qsl(text, keep_blank_values=True, max_num_fields=100)
        except ValueError as error:
            raise OciError(400, "UNSUPPORTED", "too many query parameters") from error

    def parameter(self, name: str) -> str | None:
        """Return the last value of a query parameter."""
        return dict(self.query).get(name)

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and header fields; every answer says which API this is."""
        fields = [("Docker-Distribution-API-Version", "registry/2.0"), *headers]
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def answer(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """Send a whole answer; HEAD gets its header fields only, and an answer of 204 no length."""
        length = [] if status == 204 else [("Content-Length", str(len(body)))]
        await self.start(status, [*headers, *length])
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def answer_json(self, status: int, value: Any, headers: Headers = (JSON,)) -> None:
        """Send a JSON value."""
        await self.answer(status, headers, json.dumps(value).encode())

    async def refuse(self, error: OciError) -> None:
        """Send an error with the spec's JSON body."""
        body = {"errors": [{"code": error.code, "message": error.message}]}
        await self.answer_json(error.status, body, [JSON, *error.headers])

    async def served_by(self, serve: Callable[["Exchange"], Awaitable[None]]) -> None:
        """Have a request served; an error it ends with is answered in the spec's words, a client that went away is not."""
        try:
            await serve(self)
        except DisconnectedError:
            return
        except OciError as error:
            await self.refuse(error)
        except SetpointError as error:
            await self.refuse(translate(error))

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the request's body in pieces of about a megabyte; raises DisconnectedError when it breaks off."""
        held: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            held.append(message.get("body", b""))
            size += len(held[-1])
            more = message.get("more_body", False)
            if size >= _PIECE_BYTES or (size and not more):
                yield b"".join(held)
                held, size = [], 0

    async def body(self, limit_bytes: int) -> bytes:
        """Return a small body whole; OciError 413 when it is larger than the limit."""
        collected = bytearray()
        async for piece in self.pieces():
            collected += piece
            if len(collected) > limit_bytes:
                raise OciError(413, "MANIFEST_INVALID", f"the body is larger than {limit_bytes} bytes")
        return bytes(collected)
