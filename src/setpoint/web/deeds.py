"""The buttons: form posts that call the same services as the API's acting half, then lead back to the why page.

Included by the pages' router; every deed is journalled by its service; whether the caller may is decided there,
or where the API asks it.
"""

import asyncio
from typing import Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from setpoint.api.actions import RolloutBody, heal_place, run_of, steer
from setpoint.api.auth import App, Caller
from setpoint.core.errors import ConflictError, UserError
from setpoint.ground.hold.model import Then
from setpoint.pipeline.model import Outcome
from setpoint.promotion.break_glass import Terms
from setpoint.promotion.break_glass import seconds_of as lease_seconds
from setpoint.promotion.model import PromotionState
from setpoint.promotion.propose import quarantine_of
from setpoint.promotion.stops import seconds_of
from setpoint.web.entrance import Form
from setpoint.web.render import PageRoute, render
from setpoint.web.rights import rights

router = APIRouter(route_class=PageRoute)

_MESSAGE_CHARS = 2000


def why_path(application: str, environment: str) -> str:
    """Return the path of a why page."""
    return f"/why/{quote(application, safe='')}/{quote(environment, safe='')}"


def _back(application: str, environment: str) -> Response:
    return RedirectResponse(why_path(application, environment), 303)


def message_of(fields: dict[str, str]) -> str:
    """Return what somebody wrote into a form; UserError SP863 when it is too long."""
    text = fields.get("message", "").strip()
    if len(text) > _MESSAGE_CHARS:
        raise UserError("SP863", f"the message is longer than {_MESSAGE_CHARS} characters", fix="say it shorter")
    return text


@router.post("/promotion/{promotion}/approve")
def approve(app: App, caller: Caller, promotion: str, fields: Form) -> Response:
    """Approve an open promotion as the session's person."""
    found = app.promotions.approve(promotion, caller, message_of(fields))
    return _back(found.candidate.app, found.candidate.environment)


@router.post("/why/{application}/{environment}/promote")
def promote(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Ask for the next candidate."""
    app.promotions.request(application, environment, caller, message_of(fields))
    return _back(application, environment)


@router.post("/why/{application}/{environment}/lift")
def lift(app: App, caller: Caller, application: str, environment: str, _fields: Form) -> Response:
    """End the quarantines."""
    app.promotions.lift(application, environment, caller)
    return _back(application, environment)


@router.post("/why/{application}/{environment}/hold")
def hold(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Stop new pins here, or in the whole environment."""
    for_s = seconds_of(fields.get("until", ""))
    app.stops.hold("" if fields.get("all") else application, environment, caller, for_s, message_of(fields))
    return _back(application, environment)


@router.post("/why/{application}/{environment}/release")
def release(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """End people's holds of this application here, or those of the whole environment."""
    app.stops.release("" if fields.get("all") else application, environment, caller)
    return _back(application, environment)


@router.post("/why/{application}/{environment}/break-glass")
def break_glass(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Take what is live here, or in the whole environment, into people's hands."""
    terms = Terms(lease_seconds(fields.get("for", "")), message_of(fields), "", _then(fields) or "correct")
    app.break_glass.open(_scope(application, fields), environment, caller, terms)
    return _back(application, environment)


@router.post("/why/{application}/{environment}/break-glass/extend")
def extend(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Let the leases of this place last longer."""
    terms = Terms(lease_seconds(fields.get("for", "")), message_of(fields))
    app.break_glass.extend(_scope(application, fields), environment, caller, terms)
    return _back(application, environment)


@router.post("/why/{application}/{environment}/break-glass/end")
def end_break_glass(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Give it back to Setpoint."""
    app.break_glass.end(_scope(application, fields), environment, caller, Terms(1, message_of(fields)), _then(fields))
    return _back(application, environment)


def _scope(application: str, fields: dict[str, str]) -> str:
    return "" if fields.get("all") else application


def _then(fields: dict[str, str]) -> Then | None:
    """Return what is chosen to become of drift; None for nothing chosen."""
    chosen: dict[str, Then] = {"correct": "correct", "adopt": "adopt", "hold": "hold"}
    text = fields.get("then", "")
    if text and text not in chosen:
        raise UserError("SP863", f"`{text[:40]}` is nothing that can become of drift", fix=f"one of {', '.join(chosen)}")
    return chosen.get(text)


@router.post("/run/{run}/cancel")
async def cancel(app: App, caller: Caller, run: str, fields: Form) -> Response:
    """Cancel a run that goes on."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    if await app.pipeline.cancel(record.run, caller.actor, message_of(fields)) is None:
        raise ConflictError("SP231", "the run has ended already", where=record.run)
    return RedirectResponse(f"/run/{record.run}", 303)


@router.post("/run/{run}/retry")
async def retry(app: App, caller: Caller, run: str, fields: Form) -> Response:
    """Let a run that has ended go on with what is not green."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    await app.pipeline.retry(record.run, caller.actor, message_of(fields))
    return RedirectResponse(f"/run/{record.run}", 303)


@router.post("/run/{run}/resolve/{task}")
async def resolve(app: App, caller: Caller, run: str, task: str, fields: Form) -> Response:
    """Say what became of a lost task."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    said, outcome = message_of(fields), fields.get("outcome", "")
    if not said or outcome not in set(Outcome):
        raise UserError("SP863", "say what became of it and how you know", where=record.run, fix="go back and fill in the form")
    await app.pipeline.resolve(record.run, task, Outcome(outcome), (caller.actor, said))
    return RedirectResponse(f"/run/{record.run}", 303)


@router.post("/why/{application}/{environment}/heal")
def heal(app: App, caller: Caller, application: str, environment: str, _fields: Form) -> Response:
    """Have what is only reported corrected."""
    heal_place(app, caller, application, environment)
    return _back(application, environment)


@router.post("/why/{application}/{environment}/adopt")
def adopt(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Write the live value of a case onto a branch."""
    app.adoptions.adopt([fields.get("drift", "")], caller, message_of(fields))
    return _back(application, environment)


@router.post("/why/{application}/{environment}/prune")
def prune(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Confirm the removal of exactly what the page showed."""
    delivery = app.delivery.require_environment(environment)
    app.prune.confirm(delivery, (application, environment), caller, fields.get("set", ""), message_of(fields))
    return _back(application, environment)


@router.post("/why/{application}/{environment}/rollout/{verb}")
def decide_rollout(
    app: App, caller: Caller, application: str, environment: str, verb: Literal["resume", "abort"], fields: Form
) -> Response:
    """Go on from a held step of a canary, or send the canary back."""
    steer(app, caller, (application, environment), RolloutBody(verb=verb, message=message_of(fields)))
    return _back(application, environment)


@router.get("/why/{application}/{environment}/rollback")
def confirm_rollback(request: Request, app: App, caller: Caller, application: str, environment: str) -> Response:
    """Show what would come back and what would be quarantined, before anything happens."""
    why = app.status.why(application, environment)
    delivery = app.delivery.load()
    may = rights(delivery, environment, caller, (), app.store.clock.now()) if delivery is not None else None
    pinned = [p for p in app.store.records.promotions(application, environment, 1000) if p.state is PromotionState.PINNED]
    barred = app.store.records.quarantines(application, environment)
    current = next((p for p in pinned if p.promotion == why.running.promotion), None)
    targets = {p.candidate.digest: p for p in reversed(pinned) if quarantine_of(p.candidate, barred) is None}
    if current is not None:
        targets.pop(current.candidate.digest, None)
    chosen = sorted(targets.values(), key=lambda p: p.pinned_at or "", reverse=True)[:20]
    return render(request, "rollback.html", why=why, rights=may, targets=chosen, now=app.store.clock.now(), caller=caller)


@router.post("/why/{application}/{environment}/rollback")
def rollback(app: App, caller: Caller, application: str, environment: str, fields: Form) -> Response:
    """Bring back an earlier candidate."""
    app.promotions.rollback(application, environment, caller, fields.get("to", ""), message_of(fields))
    return _back(application, environment)
