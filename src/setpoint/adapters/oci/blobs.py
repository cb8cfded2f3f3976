"""The registry's blob endpoints: reading with ranges, uploads in one piece or many, mounts, deletes.

Called by `Registry` after it has authenticated the caller and taken the path apart; bytes go from socket to disk and back off the event
loop and are never held whole. Source: OCI distribution-spec 1.1, endpoints 2, 4 to 7, 10, 11, 13, 14.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import Final

from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.oci.uploads import Session
from setpoint.adapters.oci.wire import Exchange, Headers, OciError, in_thread
from setpoint.core import digest as digests

_READ_BYTES: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CONTENT_RANGE: Final = re.compile(r"(?:bytes )?(\d{1,19})-(\d{1,19})(?:/.*)?")


class BlobEndpoints:
    """Blobs and upload sessions of one store over HTTP."""

    def __init__(self, store: OciStoreFolder) -> None:
        self._store = store
        self._busy: set[str] = set()

    async def blob(self, exchange: Exchange, repository: str, digest: str) -> None:
        """Serve GET, HEAD and DELETE of one blob."""
        if not digests.is_digest(digest):
            raise OciError(404 if exchange.method in ("GET", "HEAD") else 400, "DIGEST_INVALID", "that is not a digest")
        if exchange.method == "DELETE":
            if not await in_thread(self._store.delete_blob, repository, digest):
                raise OciError(404, "BLOB_UNKNOWN", "there is no such blob")
            await exchange.answer(202)
            return
        if exchange.method not in ("GET", "HEAD"):
            raise OciError(405, "UNSUPPORTED", "blobs are read, or made by uploads")
        file = await in_thread(self._store.open_blob, repository, digest)
        try:
            await self._send(exchange, file.fileno(), digest)
        finally:
            file.close()

    async def _send(self, exchange: Exchange, descriptor: int, digest: str) -> None:
        size = os.fstat(descriptor).st_size
        start, end, partial = _wanted(exchange.headers.get("range", ""), size)
        headers = [("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", digest), ("Accept-Ranges", "bytes")]
        headers.append(("Content-Length", str(end - start)))
        if partial:
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        await exchange.start(206 if partial else 200, headers)
        if exchange.method == "GET":
            await self._stream(exchange, descriptor, start, end)
        await exchange.send({"type": "http.response.body", "body": b""})

    async def _stream(self, exchange: Exchange, descriptor: int, start: int, end: int) -> None:
        """Send bytes start..end, and stop reading the disk as soon as the client is gone."""
        gone = asyncio.ensure_future(_until_gone(exchange))
        try:
            while start < end and not gone.done():
                piece = await in_thread(os.pread, descriptor, min(_READ_BYTES, end - start), start)
                if not piece:
                    raise OSError(f"{exchange.path} ended early")  # the status is sent: only breaking the connection tells the client
                start += len(piece)
                await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            gone.cancel()

    async def uploads(self, exchange: Exchange, repository: str, session: str) -> None:
        """Serve the start of an upload, and its progress, chunks, end and cancellation."""
        if not session:
            if exchange.method != "POST":
                raise OciError(405, "UNSUPPORTED", "an upload starts with POST")
            await self._start(exchange, repository)
            return
        found = await in_thread(self._store.uploads.find, repository, session)
        serve: dict[str, Callable[[Exchange, Session], Awaitable[None]]] = {
            "GET": self._progress,
            "PATCH": self._chunk,
            "PUT": self._finish,
            "DELETE": self._cancel,
        }
        if exchange.method not in serve:
            raise OciError(405, "UNSUPPORTED", "an upload knows GET, PATCH, PUT and DELETE")
        if found.session in self._busy:
            raise OciError(409, "BLOB_UPLOAD_INVALID", "another request writes to this upload")
        self._busy.add(found.session)
        try:
            await serve[exchange.method](exchange, found)
        finally:
            self._busy.discard(found.session)

    async def _start(self, exchange: Exchange, repository: str) -> None:
        mount, digest = exchange.parameter("mount"), exchange.parameter("digest")
        source = exchange.parameter("from")
        if mount is not None and digests.is_digest(mount) and await in_thread(self._store.mount, repository, mount, source):
            await exchange.answer(201, _created(repository, mount))
            return
        session = await in_thread(self._store.uploads.start, repository)
        if digest is None:
            await exchange.answer(202, _where(session))
            return
        try:
            await self._receive(exchange, session)
            await self._close(exchange, session, digest)
        finally:
            await in_thread(self._store.uploads.drop, session)

    async def _receive(self, exchange: Exchange, session: Session) -> None:
        """Append the body; a body that breaks its own Content-Range is forgotten, one that breaks off is kept to be resumed."""
        begin = session.size_bytes
        expected_end = _expected_end(exchange.headers.get("content-range"), begin, session)
        end = begin
        async for piece in exchange.pieces():
            end = await in_thread(self._store.uploads.append, session, end, piece)
        if expected_end not in (None, end):
            await in_thread(self._store.uploads.cut, session, begin)
            raise OciError(416, "SIZE_INVALID", "the body and its Content-Range differ in length", _where(session))

    async def _progress(self, exchange: Exchange, session: Session) -> None:
        await exchange.answer(204, _where(session))

    async def _chunk(self, exchange: Exchange, session: Session) -> None:
        await self._receive(exchange, session)
        await exchange.answer(202, _where(session))

    async def _finish(self, exchange: Exchange, session: Session) -> None:
        digest = exchange.parameter("digest") or ""
        await self._receive(exchange, session)
        try:
            await self._close(exchange, session, digest)
        finally:
            await in_thread(self._store.uploads.drop, session)

    async def _close(self, exchange: Exchange, session: Session, digest: str) -> None:
        if not digests.is_digest(digest):
            raise OciError(400, "DIGEST_INVALID", "the digest is neither sha256 nor sha512")
        put = self._store.put_blob_file
        await in_thread(put, session.repository, session.data, "application/octet-stream", expected=digest)
        await exchange.answer(201, _created(session.repository, digest))

    async def _cancel(self, exchange: Exchange, session: Session) -> None:
        await in_thread(self._store.uploads.drop, session)
        await exchange.answer(204)


def _wanted(header: str, size: int) -> tuple[int, int, bool]:
    """Return (start, end, partial) of a Range header; several or odd ranges mean the whole (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return 0, size, False
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return 0, size, False
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= end:
        raise OciError(416, "SIZE_INVALID", "the range lies behind the end", [("Content-Range", f"bytes */{size}")])
    return start, end, True


def _expected_end(header: str | None, begin: int, session: Session) -> int | None:
    """Return where a chunk must end by its Content-Range, None without one; out of order is 416 with the place to go on."""
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[1]) != begin:
        raise OciError(416, "BLOB_UPLOAD_INVALID", "the chunk does not start where the upload ends", _where(session))
    return int(match[2]) + 1


def _where(session: Session) -> Headers:
    location = f"/v2/{session.repository}/blobs/uploads/{session.session}"
    last = max(session.size_bytes - 1, 0)
    return [("Location", location), ("Range", f"0-{last}"), ("Docker-Upload-UUID", session.session)]


def _created(repository: str, digest: str) -> Headers:
    return [("Location", f"/v2/{repository}/blobs/{digest}"), ("Docker-Content-Digest", digest)]


async def _until_gone(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
