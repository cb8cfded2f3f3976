"""The page of generators: what each made of what, since when something stands against it, and the button for what leaves.

Included by the pages' router; shows `observe.generators`, and the button calls the service that the API calls.
"""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from setpoint.api.auth import App, Caller
from setpoint.observe import generators as view
from setpoint.web.deeds import message_of
from setpoint.web.entrance import Form
from setpoint.web.render import PageRoute, render

router = APIRouter(route_class=PageRoute)


@router.get("/generators")
def generators(request: Request, app: App, caller: Caller) -> Response:
    """Show every generator with what it made."""
    delivery = app.delivery.load()
    found = view.reports(delivery) if delivery is not None else []
    owners = delivery.directory.members(delivery.setpoint.owners) if delivery is not None else frozenset()
    person = delivery.directory.person(caller.email) if delivery is not None and caller.kind == "person" else None
    may = caller.kind == "operator" or (person is not None and person.name in owners)
    values: dict[str, Any] = {"generators": found, "may": may, "owners": ", ".join(sorted(owners)) or "the home's operator"}
    return render(request, "generators.html", now=app.store.clock.now(), caller=caller, newest=len(app.store.journal) - 1, **values)


@router.post("/generators/{generator}/confirm")
def confirm(app: App, caller: Caller, generator: str, fields: Form) -> Response:
    """Let exactly what the page showed leave a generator."""
    app.generators.confirm(generator, fields.get("set", ""), caller, message_of(fields))
    return RedirectResponse("/generators", 303)
