"""Who calls: a token in the Authorization header, or the session cookie of a page; anonymous callers are refused.

A cookie is only believed for writing when the request comes from our own page (SameSite=Strict, and the browser's Sec-Fetch-Site or
Origin says so), so another site cannot act through a logged-in browser.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from setpoint.app.application import Application
from setpoint.core.errors import NotAllowedError
from setpoint.ground.identity.model import Principal

COOKIE = "setpoint_session"
_SAFE = ("GET", "HEAD", "OPTIONS")
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token that `setpoint token create` made.")
"""What generated clients are told; whether a token is good is found out by `principal`."""


class NotLoggedInError(NotAllowedError):
    """The request carries no token that is known."""


def application(request: Request) -> Application:
    """Return the application that this server serves."""
    found: Application = request.app.state.application
    return found


def principal(request: Request, _declared: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None) -> Principal:
    """Return who calls.

    Raises:
        NotLoggedInError: nobody we know (SP801).
    """
    app = application(request)
    found = app.store.tokens.authenticate(request.headers.get("authorization"))
    if found is None and "authorization" not in request.headers:
        found = _by_cookie(request, app)
    if found is None:
        fix = "send `Authorization: Bearer <token>`; `setpoint token create` makes one, `setpoint up` prints a login link"
        raise NotLoggedInError("SP801", "not logged in", where=request.url.path, fix=fix)
    return found


def _by_cookie(request: Request, app: Application) -> Principal | None:
    found = app.links.principal_of_session(request.cookies.get(COOKIE, ""))
    if found is None or request.method in _SAFE:
        return found
    return found if same_origin(request) else None


def same_origin(request: Request) -> bool:
    """Say whether a browser sent this request from a page of ours."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    return site == "same-origin" if site is not None else origin is not None and urlsplit(origin).netloc == request.headers.get("host")


Caller = Annotated[Principal, Depends(principal)]
App = Annotated[Application, Depends(application)]


def operator(caller: Caller) -> Principal:
    """Return the caller if it is the home's operator.

    Raises:
        NotAllowedError: it is a person (SP804).
    """
    if caller.kind != "operator":
        raise NotAllowedError("SP804", f"{caller.email} is not the operator of this home", fix="use the token that `setpoint up` wrote")
    return caller


Operator = Annotated[Principal, Depends(operator)]
