"""The page of generators: what each made of what, since when something stands against it, and the button for what leaves.

Included by the pages' router; shows `observe.generators`, and the button calls the service that the API calls.
"""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from setpoint.api.auth import App, Caller
from setpoint.observe import generators as view
from setpoint.web.deeds import message_of
from setpoint.web.entrance import Form
from setpoint.web.render import PageRoute, render
from setpoint.web.rights import rights

router = APIRouter(route_class=PageRoute)

_EXTEND_S: Final = 3 * 86_400


@router.get("/generators")
def generators(request: Request, app: App, caller: Caller) -> Response:
    """Show every generator with what it made."""
    delivery = app.delivery.load()
    found = view.reports(delivery) if delivery is not None else []
    owners = delivery.directory.members(delivery.setpoint.owners) if delivery is not None else frozenset()
    person = delivery.directory.person(caller.email) if delivery is not None and caller.kind == "person" else None
    may = caller.kind == "operator" or (person is not None and person.name in owners)
    shown = view.previews(delivery) if delivery is not None else []
    now = app.store.clock.now()
    mine = {one.environment for one in shown if delivery is not None and rights(delivery, one.environment, caller, (), now).operate}
    values: dict[str, Any] = {"generators": found, "may": may, "owners": ", ".join(sorted(owners)) or "the home's operator"}
    values |= {"previews": shown, "mine": mine}
    return render(request, "generators.html", now=now, caller=caller, newest=len(app.store.journal) - 1, **values)


@router.post("/generators/{generator}/confirm")
def confirm(app: App, caller: Caller, generator: str, fields: Form) -> Response:
    """Let exactly what the page showed leave a generator."""
    app.generators.confirm(generator, fields.get("set", ""), caller, message_of(fields))
    return RedirectResponse("/generators", 303)


@router.post("/previews/{environment}/word")
def word(app: App, caller: Caller, environment: str, fields: Form) -> Response:
    """Let a preview live three days longer, or end it."""
    if fields.get("verb") == "end":
        app.generators.end(environment, caller, message_of(fields))
    else:
        app.generators.extend(environment, _EXTEND_S, caller, message_of(fields))
    return RedirectResponse("/generators", 303)
