"""Routes of break-glass leases: break the glass, give it more time, end it; mounted by `api.asgi`. `GET /holds` lists them too."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Caller
from setpoint.ground.hold.model import Hold, Then
from setpoint.promotion.break_glass import LONGEST_S, Terms

router = APIRouter(prefix="/api/v1", tags=["act"])

Name = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=2000)]
Objects = Annotated[str, Field(max_length=320)]


class _PlaceBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    environment: Name
    app: Name = ""
    """Empty: every application in the environment."""
    objects: Objects = ""
    """`Deployment/web`, `ConfigMap/*`; empty: all that can drift there."""


class BreakGlassBody(_PlaceBody):
    """What people take into their hands, for how long, and why."""

    for_s: Annotated[int, Field(ge=1, le=LONGEST_S)]
    """Seconds."""
    message: Annotated[str, Field(min_length=1, max_length=2000)]
    then: Then = "correct"
    """What becomes of drift at the end: brought back, or left to a person."""


class ExtendBody(_PlaceBody):
    """How long from now it lasts, and why."""

    for_s: Annotated[int, Field(ge=1, le=LONGEST_S)]
    """Seconds."""
    message: Annotated[str, Field(min_length=1, max_length=2000)]
    then: Then | None = None
    """Left out: as it was said before."""


class EndBody(_PlaceBody):
    """What is over."""

    message: Words = ""
    then: Then | None = None
    """Left out: as it was said when the glass was broken."""


@router.post("/break-glass")
def break_glass(app: App, caller: Caller, body: BreakGlassBody) -> Hold:
    """Let people change what is live: drift is recorded and not corrected; owners, approvers and the operator may."""
    return app.break_glass.open(body.app, body.environment, caller, Terms(body.for_s, body.message, body.objects, body.then))


@router.post("/break-glass/extend")
def extend(app: App, caller: Caller, body: ExtendBody) -> list[Hold]:
    """Let the leases of exactly this place end later, or earlier; returns them."""
    return app.break_glass.extend(body.app, body.environment, caller, Terms(body.for_s, body.message, body.objects), body.then)


@router.post("/break-glass/end")
def end(app: App, caller: Caller, body: EndBody) -> list[Hold]:
    """End the leases of exactly this place; returns them."""
    return app.break_glass.end(body.app, body.environment, caller, Terms(1, body.message, body.objects), body.then)
