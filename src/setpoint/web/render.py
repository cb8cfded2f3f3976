"""Templates to responses: escaping, security headers, live fragments, and every error as a page with code, what, where and fix.

Called by all page routes; knows no application and decides nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute

from setpoint.api import problems
from setpoint.api.auth import NotLoggedInError
from setpoint.core import digest, names
from setpoint.core.errors import ConfigError, SetpointError
from setpoint.reconcile.pods.digests import name_of
from setpoint.web import views

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers send `Origin: null` with forms, and the same-origin rule would refuse our own pages outside loopback.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("setpoint.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    short=digest.short,
    clock=views.clock_text,
    ago=views.ago,
    seconds=views.seconds_text,
    mark=views.mark,
    plain=names.kind,
    who=names.actor,
    pretty=views.pretty,
    split_command=views.split_command,
    image_name=name_of,
)


def add_global(name: str, value: Callable[..., str]) -> None:
    """Give every template a function; called at import by the modules above this one."""
    _templates.globals[name] = value


def render(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page; with the header `X-Fragment: main` only what stands in its main element."""
    fragment = request.headers.get("x-fragment") == "main"
    layout = "fragment.html" if fragment else "base.html"
    shown = {"caller": None, **values}
    text = _templates.get_template(template).render(layout=layout, path=request.url.path, **shown)
    headers = {"Cache-Control": "no-store", "Vary": "Cookie, X-Fragment"}
    return HTMLResponse(text, status_code, headers)


def error_page(request: Request, error: SetpointError) -> HTMLResponse:
    """Return an error as a page; for somebody we do not know, the page that says how to log in."""
    if isinstance(error, NotLoggedInError):
        # A strict cookie is not sent when the link was followed from another site: look again from here, once.
        again = request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site"
        return render(request, "login.html", status_code=401, error=error, again=again)
    details = error.render() if isinstance(error, ConfigError) else ""
    return render(request, "error.html", status_code=problems.status_of(error), error=error, details=details)


class PageRoute(APIRoute):
    """A route whose errors are pages and whose answers all carry the security headers."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the handler, wrapped."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await answer(request)
            except SetpointError as error:
                response = error_page(request, error)
            response.headers.update(_HEADERS)
            return response

        return handler
