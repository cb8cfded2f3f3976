"""The acting half of the API: promote, approve, rollback, hold, release, heal, prune, cancel, retry, check, and what the operator makes.

Every call is journalled by the service it reaches; nothing is decided here.
"""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Caller, Operator
from setpoint.app.application import Application
from setpoint.app.tokens import issue
from setpoint.core.errors import ConflictError, NotAllowedError, UserError
from setpoint.ground.hold.model import Hold
from setpoint.ground.identity.model import Principal, TokenKind
from setpoint.pipeline.model import Outcome, Run, RunState
from setpoint.promotion.checks.model import CommandRun
from setpoint.promotion.model import Promotion, Quarantine
from setpoint.promotion.people import require_responsible
from setpoint.promotion.stops import LONGEST_S
from setpoint.reconcile.adopt.model import Adoption
from setpoint.reconcile.drift.model import Drift
from setpoint.reconcile.prune.model import Prunable
from setpoint.rollout.model import Rollout

router = APIRouter(prefix="/api/v1", tags=["act"])

Message = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(max_length=200)]
"""A name, an id, or part of one."""
Email = Annotated[str, Field(max_length=320)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PromoteBody(_Body):
    """What to promote, or whose quarantine to lift."""

    app: Name
    environment: Name
    message: Message = ""
    lift: bool = False
    """End the quarantines of this application in this environment."""


class ApproveBody(_Body):
    """An approval's words."""

    message: Message = ""


class RollbackBody(_Body):
    """Where to roll back."""

    app: Name
    environment: Name
    to: Name = ""
    """Promotion id or version; empty for what was pinned before."""
    message: Message = ""


class HoldBody(_Body):
    """What to stop, for how long, and why."""

    environment: Name
    app: Name = ""
    """Empty: every application in the environment."""
    for_s: Annotated[int, Field(ge=1, le=LONGEST_S)] | None = None
    """Seconds; left out: until a release."""
    message: Annotated[str, Field(min_length=1, max_length=2000)]


class ReleaseBody(_Body):
    """What to let go on."""

    environment: Name
    app: Name = ""
    """Empty: the hold of the whole environment, not those of single applications."""
    message: Message = ""


class PlaceBody(_Body):
    """An application in an environment."""

    app: Name
    environment: Name


class AdoptBody(_Body):
    """Which cases become the desired state."""

    drifts: Annotated[list[Name], Field(min_length=1, max_length=50)]
    """Ids of open cases, all of one object."""
    message: Message = ""


class PruneBody(PlaceBody):
    """What may be removed."""

    set: Annotated[str, Field(min_length=1, max_length=100)]
    """The digest of exactly what was shown."""
    message: Message = ""


class QuarantineBody(_Body):
    """What to bar."""

    app: Name
    environment: Name
    digest: Name = ""
    """Of an artifact; empty: the candidate that waits there."""
    message: Annotated[str, Field(min_length=1, max_length=2000)]


class RolloutBody(_Body):
    """What a person decides about a canary."""

    verb: Literal["resume", "abort"]
    message: Message = ""


class RepositoryBody(_Body):
    """A repository to host."""

    name: Annotated[str, Field(max_length=200, json_schema_extra={"maxLength": 64, "pattern": "^[a-z0-9][a-z0-9_-]*$"})]
    """Declared as the plain names that are always good; what else is refused (SP101) is told in words by the repositories themselves."""


class TokenBody(_Body):
    """A token to make."""

    kind: TokenKind = "person"
    email: Email = ""
    name: Name = ""


class DeliveryBody(_Body):
    """The delivery repository to register, or a version of it to accept."""

    repository: Name
    branch: Name = ""
    """Empty: the one that is registered, else main; another one is taken from now on."""
    commit: Name = ""
    """Accept this commit (law 9); empty for the head of the branch at registration."""


@router.post("/promotions")
def promote(app: App, caller: Caller, body: PromoteBody) -> dict[str, Any]:
    """Ask for the next candidate of an environment; with `lift`, end its quarantines instead."""
    if body.lift:
        count = app.promotions.lift(body.app, body.environment, caller)
        return {"lifted": count, "promotion": None}
    found = app.promotions.request(body.app, body.environment, caller, body.message)
    return {"lifted": 0, "promotion": found.promotion}


@router.post("/promotions/{promotion}/approve")
def approve(app: App, caller: Caller, promotion: str, body: ApproveBody) -> Promotion:
    """Approve an open promotion as the token's person."""
    return app.promotions.approve(promotion, caller, body.message)


@router.post("/rollbacks")
def rollback(app: App, caller: Caller, body: RollbackBody) -> Promotion:
    """Bring back an earlier candidate; quarantines the one it overrides."""
    return app.promotions.rollback(body.app, body.environment, caller, body.to, body.message)


@router.get("/quarantines")
def quarantines(app: App, _caller: Caller, application: str, environment: str) -> list[Quarantine]:
    """Return what is barred from an environment; `POST /promotions` with `lift` ends it."""
    return app.store.records.quarantines(application, environment)


@router.post("/quarantines")
def quarantine(app: App, caller: Caller, body: QuarantineBody) -> Quarantine:
    """Bar the candidate that waits for an environment, or a digest, until somebody lifts it."""
    return app.promotions.quarantine(body.app, body.environment, caller, body.digest, body.message)


@router.get("/holds")
def holds(app: App, _caller: Caller, application: str | None = None, environment: str | None = None, ended: bool = False) -> list[Hold]:  # noqa: FBT001, FBT002 - a query
    """Return what is on hold, people's stops and rollbacks that are not committed yet; with `ended` also those of the past."""
    return app.stops.listed(application, environment, ended=ended)


@router.post("/holds")
def hold(app: App, caller: Caller, body: HoldBody) -> Hold:
    """Stop new pins of an application in an environment, or of all; what runs stays."""
    return app.stops.hold(body.app, body.environment, caller, body.for_s, body.message)


@router.post("/holds/release")
def release(app: App, caller: Caller, body: ReleaseBody) -> list[Hold]:
    """End people's holds of exactly this place; returns them."""
    return app.stops.release(body.app, body.environment, caller, body.message)


@router.post("/drift/heal")
def heal(app: App, caller: Caller, body: PlaceBody) -> list[Drift]:
    """Have every case of drift corrected that is only reported there; owners, approvers and the operator may."""
    return heal_place(app, caller, body.app, body.environment)


def heal_place(app: Application, caller: Principal, application: str, environment: str) -> list[Drift]:
    """Heal for whoever may, whichever way in they took: the drift stage knows no people."""
    require_responsible(app.delivery.require(application, environment), environment, caller)
    return app.drift.heal(application, environment, caller.actor)


@router.post("/drift/adopt")
def adopt(app: App, caller: Caller, body: AdoptBody) -> Adoption:
    """Write the live values of cases of one object onto a branch of the delivery repository; owners, approvers and the operator may."""
    return app.adoptions.adopt(body.drifts, caller, body.message)


@router.get("/adoptions")
def adoptions(
    app: App,
    _caller: Caller,
    application: str | None = None,
    environment: str | None = None,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query
) -> list[Adoption]:
    """Return live values on their way into Git; with `ended` also those of the past."""
    return list(app.adoptions.listed(application, environment, ended=ended))


@router.post("/prunes")
def prune(app: App, caller: Caller, body: PruneBody) -> Prunable:
    """Confirm that exactly this set is removed; owners, approvers and the operator may."""
    delivery = app.delivery.require_environment(body.environment)
    return app.prune.confirm(delivery, (body.app, body.environment), caller, body.set, body.message)


@router.post("/rollouts/{application}/{environment}")
def decide_rollout(app: App, caller: Caller, application: str, environment: str, body: RolloutBody) -> dict[str, str]:
    """Go on from a held step of a canary, or send the canary back; who may roll back may do both."""
    found = steer(app, caller, (application, environment), body)
    return {"rollout": found.rollout, "phase": found.phase.value}


def steer(app: Application, caller: Principal, place: tuple[str, str], body: RolloutBody) -> Rollout:
    """Decide about the canary of (application, environment) for whoever may, whichever way in they took: the rollout knows no people."""
    require_responsible(app.delivery.require(*place), place[1], caller)
    act = app.rollouts.resume if body.verb == "resume" else app.rollouts.abort
    return act(*place, caller.actor, body.message)


class CancelBody(_Body):
    """Why a run or task is cancelled, a run goes on, or a check is asked again."""

    message: Message = ""


class ResolveBody(_Body):
    """What became of a lost task."""

    outcome: Outcome
    message: Annotated[str, Field(min_length=1, max_length=2000)]
    """How the caller knows."""


def run_of(app: Application, caller: Principal, text: str) -> Run:
    """Return a run that the caller may act on.

    Raises:
        NotAllowedError: the caller is neither its pusher nor the operator (SP804).
    """
    record = app.runs.find(text)
    if caller.kind == "person" and caller.email != record.pusher:
        raise NotAllowedError("SP804", "only the pusher or the operator may act on a run", where=record.run)
    return record


@router.post("/runs/{run}/cancel")
async def cancel(app: App, caller: Caller, run: str, body: CancelBody | None = None) -> dict[str, Any]:
    """Cancel a run that goes on; its pusher or the operator may."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    state = await app.pipeline.cancel(record.run, caller.actor, body.message if body is not None else "")
    if state is None:
        raise ConflictError("SP231", f"the run is {app.runs.find(record.run).state}, not running", where=record.run)
    return {"run": record.run, "state": "cancelled" if state is RunState.CANCELLED else "cancelling"}


@router.post("/runs/{run}/tasks/{task}/cancel")
async def cancel_task(app: App, caller: Caller, run: str, task: str, body: CancelBody | None = None) -> dict[str, Any]:
    """Stop one task that runs or waits for a slot; what needs it is skipped, and the rest of the run goes on."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    if not await app.pipeline.cancel_task(record.run, task, caller.actor, body.message if body is not None else ""):
        fix = f"setpoint cancel {record.run} ends the whole run"
        raise ConflictError("SP231", f"`{task}` neither runs nor waits for a slot", where=record.run, fix=fix)
    return {"run": record.run, "task": task, "state": "cancelled"}


@router.post("/runs/{run}/retry")
async def retry(app: App, caller: Caller, run: str, body: CancelBody | None = None) -> dict[str, Any]:
    """Let a run that failed or was cancelled go on with what is not green; its pusher or the operator may."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    tasks = await app.pipeline.retry(record.run, caller.actor, body.message if body is not None else "")
    return {"run": record.run, "state": "running", "tasks": tasks}


@router.post("/checks/{check}/retry")
def ask_again(app: App, caller: Caller, check: str, body: CancelBody | None = None) -> CommandRun:
    """Have a gate's command asked again now; owners, approvers and the operator may."""
    return app.checks.again(check, caller, body.message if body is not None else "")


@router.post("/runs/{run}/tasks/{task}/resolve")
async def resolve(app: App, caller: Caller, run: str, task: str, body: ResolveBody) -> dict[str, Any]:
    """Say what became of a lost task: it happened, it failed, or it did not happen and is run again."""
    record = await asyncio.to_thread(run_of, app, caller, run)
    found = await app.pipeline.resolve(record.run, task, body.outcome, (caller.actor, body.message))
    return {"run": record.run, "task": task, "state": found.state}


@router.get("/repositories")
def repositories(app: App, _caller: Caller) -> list[dict[str, Any]]:
    """Return the hosted repositories with their heads."""
    deliveries = app.store.records.deliveries()
    return [{"name": name, "heads": app.store.git.heads(name), "delivery": name in deliveries} for name in app.store.git.names()]


@router.post("/repositories")
def create_repository(app: App, caller: Operator, body: RepositoryBody) -> dict[str, Any]:
    """Host a new, empty repository; nothing happens when it is there."""
    return {"name": body.name, "created": app.registration.host(body.name, caller.actor)}


@router.get("/tokens")
def tokens(app: App, _caller: Operator) -> list[dict[str, Any]]:
    """Return the tokens, without what would let anyone in."""
    return [
        {"id": t.token_id, "kind": t.kind, "email": t.email, "name": t.name, "created_at": t.created_at, "revoked_at": t.revoked_at}
        for t in app.store.tokens.list()
    ]


@router.post("/tokens")
def create_token(app: App, caller: Operator, body: TokenBody) -> dict[str, str]:
    """Make a token; a person's must be in the accepted setpoint.yaml. The token itself is shown once, here."""
    if body.kind == "person":
        delivery = app.delivery.load()
        if delivery is None or delivery.directory.person(body.email) is None:
            known = ", ".join(sorted(person.emails[0] for person in delivery.directory.people)) if delivery is not None else "nobody yet"
            raise UserError("SP805", f"`{body.email}` is nobody in the accepted setpoint.yaml", fix=f"people: {known}")
    record, text = issue(app.store.tokens, app.store.recorder, caller.actor, (body.kind, body.email, body.name))
    return {"id": record.token_id, "token": text, "kind": body.kind, "email": body.email}


@router.delete("/tokens/{token_id}")
def revoke_token(app: App, caller: Operator, token_id: str) -> dict[str, str]:
    """Revoke a token."""
    record = app.store.tokens.revoke(token_id)
    app.store.recorder.record("token.revoked", record.token_id, caller.actor, {})
    return {"id": record.token_id, "revoked_at": record.revoked_at or ""}


@router.post("/delivery")
def register_delivery(app: App, caller: Operator, body: DeliveryBody) -> dict[str, str]:
    """Register the delivery repository and accept its first version, or accept a later one by commit id (law 9)."""
    return app.registration.register(body.repository, body.branch, body.commit, caller)


@router.post("/login-links")
def login_link(app: App, caller: Caller) -> dict[str, str]:
    """Make a one-time link that logs a browser in as the caller; valid for ten minutes."""
    return {"path": f"/?login={app.links.login_code(caller)}"}


@router.post("/logout", status_code=204)
def logout(app: App, _caller: Caller, response: Response) -> None:
    """Forget the session's cookie."""
    _ = app
    response.delete_cookie("setpoint_session")
