"""Routes of generators and previews: what was made, what would be made at a commit, and people's words; mounted by `api.asgi`."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Caller
from setpoint.core.errors import NotFoundError
from setpoint.observe import generators as view
from setpoint.observe.generated import GeneratorReport, PreviewReport
from setpoint.promotion.generators.service import ExpansionAt
from setpoint.promotion.generators.words import LONGEST_S

router = APIRouter(prefix="/api/v1", tags=["generators"])


class ConfirmBody(BaseModel):
    """What may leave a generator."""

    model_config = ConfigDict(extra="forbid")

    set: Annotated[str, Field(min_length=1, max_length=100)]
    """The digest of exactly what was shown."""
    message: Annotated[str, Field(max_length=2000)] = ""


class ExtendBody(BaseModel):
    """How long a preview lives at least, from now."""

    model_config = ConfigDict(extra="forbid")

    for_s: Annotated[int, Field(ge=1, le=LONGEST_S)]
    message: Annotated[str, Field(max_length=2000)] = ""


class EndBody(BaseModel):
    """Why a preview ends."""

    model_config = ConfigDict(extra="forbid")

    message: Annotated[str, Field(max_length=2000)] = ""


@router.get("/previews")
def previews(app: App, _caller: Caller) -> list[PreviewReport]:
    """Return every preview with its branch, address, age and end."""
    delivery = app.delivery.load()
    return view.previews(delivery) if delivery is not None else []


@router.post("/previews/{environment}/extend")
def extend(app: App, caller: Caller, environment: str, body: ExtendBody) -> PreviewReport:
    """Let a preview live at least so long from now; its owners, approvers and the operator may."""
    app.generators.extend(environment, body.for_s, caller, body.message)
    return next(one for one in view.previews(app.delivery.require_delivery()) if one.environment == environment)


@router.post("/previews/{environment}/end")
def end(app: App, caller: Caller, environment: str, body: EndBody | None = None) -> dict[str, str]:
    """End a preview now: its replicas and objects go, then its pins; a new push to the branch makes another."""
    app.generators.end(environment, caller, body.message if body is not None else "")
    return {"environment": environment}


@router.get("/generators")
def generators(app: App, _caller: Caller) -> list[GeneratorReport]:
    """Return every generator with what it made, and what stands against it."""
    delivery = app.delivery.load()
    return view.reports(delivery) if delivery is not None else []


@router.get("/generators/expansions")
def expansions(app: App, _caller: Caller, at: Annotated[str, Query(min_length=1, max_length=200)]) -> list[ExpansionAt]:
    """Return what every generator would make by the files of a branch or commit of the delivery repository, beside what it makes now."""
    delivery = app.delivery.load()
    commit = app.store.git.resolve(delivery.repository, at) if delivery is not None else None
    if commit is None:
        raise NotFoundError("SP502", f"the delivery repository has no commit `{at}`", fix="push it first")
    return app.generators.shown(commit)


@router.get("/generators/{generator}")
def generator(app: App, _caller: Caller, generator: str) -> GeneratorReport:
    """Return one generator."""
    return view.report(app.delivery.load(), generator)


@router.post("/generators/{generator}/confirm")
def confirm(app: App, caller: Caller, generator: str, body: ConfirmBody) -> dict[str, list[str]]:
    """Let exactly this set leave the generator; owners of setpoint.yaml and the operator may. What was made stays until it is pruned."""
    held = app.generators.confirm(generator, body.set, caller, body.message).held
    return {"elements": list(held.elements) if held is not None else []}
