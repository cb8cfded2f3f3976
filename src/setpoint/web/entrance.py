"""Logging a browser in: by the one-time link that `setpoint up` prints, or by a token; and out again.

Included by the pages' router; a session is kept by adapters.tokens and named by a strict, HTTP-only cookie.
"""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from setpoint.api.auth import COOKIE, App, NotLoggedInError, principal, same_origin
from setpoint.app.application import Application
from setpoint.core.errors import NotAllowedError, UserError
from setpoint.ground.identity.model import Principal
from setpoint.web.render import PageRoute, render

router = APIRouter(route_class=PageRoute)

_FORM_BYTES = 64 << 10


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form that one of our own pages sent.

    Raises:
        NotAllowedError: another site sent it (SP861). UserError: it is too long or no text (SP863).
    """
    if not same_origin(request):
        fix = "open the page here and press the button again"
        raise NotAllowedError("SP861", "this form was not sent by a page of this server", where=request.url.path, fix=fix)
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _FORM_BYTES:
            raise UserError("SP863", f"the form is longer than {_FORM_BYTES >> 10} KiB", where=request.url.path, fix="send less")
    try:
        return dict(parse_qsl(data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50))
    except ValueError as error:
        raise UserError("SP863", "the form cannot be read", where=request.url.path, fix="send it again from its page") from error


Form = Annotated[dict[str, str], Depends(form)]


def redeem(request: Request, app: Application, code: str) -> Response:
    """Use up a login code and answer with a session; somebody who is logged in already just goes on.

    Raises:
        NotLoggedInError: the code is unknown, used or too old (SP860).
    """
    found = app.links.redeem(code)
    if found is not None:
        return enter(app, found)
    try:
        principal(request)
    except NotLoggedInError:
        what = "this login link was used already, or is older than ten minutes"
        raise NotLoggedInError("SP860", what, where=request.url.path, fix="get a new one as described below") from None
    return RedirectResponse("/", 303)


def enter(app: Application, who: Principal) -> Response:
    """Begin a session and go to the first page."""
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, app.links.session(who), path="/", httponly=True, samesite="strict")
    return response


@router.get("/login")
def login_page(request: Request) -> Response:
    """Show the ways in, also to somebody who wants to be somebody else."""
    return render(request, "login.html", error=None, again=False)


@router.post("/login")
def login(request: Request, app: App, fields: Form) -> Response:
    """Begin a session as the owner of a token."""
    found = app.store.tokens.authenticate(f"Bearer {fields.get('token', '').strip()}")
    if found is None:
        fix = "paste the whole token as `setpoint token create` printed it; a revoked one no longer works"
        raise NotLoggedInError("SP864", "this token is not known here", where=request.url.path, fix=fix)
    _end_session(request, app)
    return enter(app, found)


@router.post("/logout")
def logout(request: Request, app: App, _fields: Form) -> Response:
    """End the session."""
    _end_session(request, app)
    response = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _end_session(request: Request, app: Application) -> None:
    app.links.end_session(request.cookies.get(COOKIE, ""))
