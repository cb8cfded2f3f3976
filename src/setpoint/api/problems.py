"""Errors as RFC 9457 problems: the same code, words, place and fix that the command line and the pages show."""

from dataclasses import asdict
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from setpoint.core.errors import ConfigError, ConflictError, NotAllowedError, NotFoundError, SetpointError, UserError, WorldError

_STATUS: list[tuple[type[SetpointError], int]] = [
    (NotFoundError, 404),
    (NotAllowedError, 403),
    (ConflictError, 409),
    (ConfigError, 422),
    (UserError, 400),
    (WorldError, 503),
]


def status_of(error: SetpointError) -> int:
    """Return the HTTP status of an error's family; 500 for a bug."""
    return next((status for family, status in _STATUS if isinstance(error, family)), 500)


def body_of(error: SetpointError) -> dict[str, Any]:
    """Return the problem document of an error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.what,
        "status": status_of(error),
        "code": error.code,
        "where": error.where,
        "fix": error.fix,
    }
    if isinstance(error, ConfigError):
        body["detail"] = error.render()
        body["findings"] = [asdict(finding) for finding in error.findings]
    return body


async def answer(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's exception handler for SetpointError."""
    if not isinstance(error, SetpointError):
        raise error
    headers = {"Retry-After": str(int(error.retry_after_s))} if isinstance(error, WorldError) else None
    return JSONResponse(body_of(error), status_of(error), headers, media_type="application/problem+json")
