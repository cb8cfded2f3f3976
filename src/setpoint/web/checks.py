"""The page of a gate's command: what became of it, its log, and the button that asks again; shows what the API answers.

Included by the pages' router. Nothing is decided here.
"""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from setpoint.api.auth import App, Caller
from setpoint.pipeline.model import LogRecord
from setpoint.promotion.checks.service import LOG
from setpoint.web import logs
from setpoint.web.deeds import message_of
from setpoint.web.entrance import Form
from setpoint.web.render import PageRoute, render
from setpoint.web.rights import rights

router = APIRouter(route_class=PageRoute)


@router.get("/check/{check}")
def check_page(request: Request, app: App, caller: Caller, check: str, after: str = "") -> Response:
    """Show a gate's command."""
    found = app.checks.find(check)
    delivery, now = app.delivery.load(), app.store.clock.now()
    known = delivery is not None and found.environment in delivery.environments
    may = rights(delivery, found.environment, caller, (), now) if known and delivery is not None else None

    def read(start: int, limit: int) -> list[LogRecord]:
        return app.store.logs.read(found.check, LOG, start, limit)

    log = logs.page(read, int(after) if after.isascii() and after.isdigit() and len(after) < 16 else None)
    newest = len(app.store.journal) - 1
    return render(request, "check.html", now=now, caller=caller, newest=newest, check=found, log=log, rights=may)


@router.post("/check/{check}/retry")
def ask_again(app: App, caller: Caller, check: str, fields: Form) -> Response:
    """Have the command asked again now."""
    app.checks.again(check, caller, message_of(fields))
    return RedirectResponse(f"/check/{check}", 303)
