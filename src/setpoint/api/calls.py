"""Calls that do not fit the API, refused in the words of every other error: bodies that are too long, fields that are wrong or missing.

Used by the ASGI application; the limit holds before anything is parsed, so that no caller can fill the server's memory or the journal.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

BODY_BYTES: Final = 1 << 20
_SHOWN: Final = 200
_SCHEMA: Final = {"type": "object", "required": ["title", "status", "code", "where", "fix"]}
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": words, "content": {"application/problem+json": {"schema": _SCHEMA}}}
    for status, words in (("4XX", "The call cannot be done; the problem says why and what helps."), (503, "Something outside failed."))
}
"""What every call may answer beside its result (RFC 9457); part of the OpenAPI document."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def bounded(receive: Receive, limit_bytes: int = BODY_BYTES) -> Receive:
    """Return receive, raising HTTPException 413 as soon as more than limit_bytes of a body have come."""
    seen = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit_bytes:
            raise HTTPException(413, f"the body is longer than {limit_bytes >> 10} KiB")
        return message

    return counted


async def refused(request: Request, error: Exception) -> Response:
    """Answer a body that is too long or cannot be read, or a path or method that is none, as a problem."""
    if not isinstance(error, HTTPException):
        raise error
    fix = "send less" if error.status_code == 413 else "docs/openapi.json lists the calls"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return _problem(error.status_code, ("SP865", str(error.detail), "", fix), [], headers)


def _methods(request: Request) -> list[str]:
    """Return every method that a path takes: each has a route of its own, and the framework names the first one's only."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


async def unfit(request: Request, error: Exception) -> Response:
    """Answer a call whose fields are wrong or missing: every fault, each with its place, without what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [{key: fault[key] for key in ("type", "loc", "msg") if key in fault} for fault in error.errors()]
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    title = f"{place}: {str(first['msg'])[:_SHOWN]}{more}"
    return _problem(422, ("SP866", title, request.url.path, "docs/openapi.json says what the call takes"), faults, {})


def _problem(status: int, words: tuple[str, str, str, str], detail: list[Any], headers: dict[str, str]) -> Response:
    """Return a problem of (code, title, where, fix); written as ASCII, for half a surrogate pair has no bytes."""
    code, title, where, fix = words
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "where": where, "fix": fix, "detail": detail}
    return Response(json.dumps(body), status, headers, "application/problem+json")
