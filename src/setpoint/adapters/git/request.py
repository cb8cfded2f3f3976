"""The ASGI side of one Git request: its body (bounded, unzipped, as it arrives) and its answer.

Called by `adapters.git.http`; never holds more than one chunk of a body.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_CHUNK: Final = 1 << 16
_GZIP: Final = 16 + zlib.MAX_WBITS
_NO_CACHE: Final = [(b"cache-control", b"no-cache, max-age=0, must-revalidate"), (b"pragma", b"no-cache")]


class DisconnectedError(Exception):
    """The client went away before its request was complete."""


class RefusedBodyError(Exception):
    """The body cannot be taken; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def header(scope: Scope, name: bytes) -> str | None:
    """Return a request header (lower-case name), None when it is missing or sent twice."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def reply(send: Send, status: int, text: str, headers: Headers | None = None) -> None:
    """Answer with a sentence; git shows text/plain of a refused request as `remote: ...`."""
    data = text.encode() + b"\n"
    every = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(data)), *_NO_CACHE, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": data})


class Answer:
    """A 200 answer that begins with its first byte, so that until then a failure can still have its own status."""

    def __init__(self, send: Send, media_type: str) -> None:
        self._send = send
        self._media_type = media_type
        self.started = False

    async def write(self, data: bytes) -> None:
        """Send data; returns when the client's window has room (backpressure)."""
        await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Finish the answer, beginning it first when nothing was written."""
        await self._begin()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, status: int, text: str) -> None:
        """Answer with a failure when nothing was written yet; else only end, and git reports what is missing."""
        if self.started:
            await self.end()
        else:
            self.started = True
            await reply(self._send, status, text)

    async def _begin(self) -> None:
        if not self.started:
            self.started = True
            headers = [(b"content-type", self._media_type.encode()), *_NO_CACHE]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})


class Body:
    """The request's body, unzipped; at most limit_bytes before and after unzipping."""

    def __init__(self, scope: Scope, receive: Receive, limit_bytes: int, idle_s: float) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._idle_s = idle_s
        encoding = header(scope, b"content-encoding") or "identity"
        if encoding not in {"identity", "gzip", "x-gzip"}:
            raise RefusedBodyError(415, f"content encoding {encoding[:40]} is not understood; send gzip or none")
        self._unzip = zlib.decompressobj(_GZIP) if encoding != "identity" else None
        length = header(scope, b"content-length")
        if length is not None and length.isdecimal() and int(length) > limit_bytes:
            raise RefusedBodyError(413, self._too_large())
        self._stream = self._read()

    def _too_large(self) -> str:
        return f"the push has more than {self._limit_bytes} bytes; push fewer commits at a time, or raise the server's limit"

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the one iterator over the body as it arrives; who leaves it may go on with it later.

        Raises:
            DisconnectedError: the client went away, or was silent for too long.
            RefusedBodyError: the body is too large or no gzip.
        """
        return self._stream

    async def _read(self) -> AsyncIterator[bytes]:
        raw = plain = 0
        async for data in self._messages():
            raw += len(data)
            for piece in self._pieces(data):
                plain += len(piece)
                if max(raw, plain) > self._limit_bytes:
                    raise RefusedBodyError(413, self._too_large())
                yield piece
        if self._unzip is not None and not self._unzip.eof:
            raise RefusedBodyError(400, "the gzip body ends too early")

    async def drain(self) -> None:
        """Read the rest and forget it, so that the client is ready to read the answer."""
        async for _ in self.chunks():
            pass

    async def gone(self) -> None:
        """Return when the client goes away (or the answer is complete); call it after `chunks` ended."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _messages(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            try:
                message = await asyncio.wait_for(self._receive(), self._idle_s)
            except TimeoutError as error:
                raise DisconnectedError from error
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            more = message.get("more_body", False)
            data = message.get("body", b"")
            if data:
                yield data

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if self._unzip is None:
            yield data
            return
        try:
            while data and not self._unzip.eof:
                yield self._unzip.decompress(data, _CHUNK)
                data = self._unzip.unconsumed_tail
        except zlib.error as error:
            raise RefusedBodyError(400, "the body is no gzip") from error
