"""Routes of logins to other registries, for the operator only; mounted by `api.asgi`. A password goes in and never comes out."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Operator
from setpoint.ground.registries.model import Registry, RegistryAccess

router = APIRouter(prefix="/api/v1", tags=["registries"])

_SECRET = {"writeOnly": True, "format": "password"}


class LoginBody(BaseModel):
    """How this home is known at a registry; nothing of it is written to any log, and only user and kind to the journal."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, Field(max_length=255)] = ""
    password: Annotated[str, Field(max_length=65_536, repr=False, json_schema_extra=_SECRET)] = ""
    plain_http: bool = False
    authorities: Annotated[str, Field(max_length=65_536)] = ""
    """Certificates (PEM) that its own is checked against; left out: the system's."""


@router.get("/registries")
def registries(app: App, _caller: Operator) -> list[Registry]:
    """Return the logins in force, without their passwords."""
    return app.registries.listed()


@router.put("/registries/{host}")
def login(app: App, caller: Operator, host: str, body: LoginBody) -> Registry:
    """Try a login, and keep it when the registry lets it in."""
    access = RegistryAccess(host, body.user, body.password, body.plain_http, body.authorities)
    return app.registries.login(access, caller.actor)


@router.delete("/registries/{host}")
def logout(app: App, caller: Operator, host: str) -> dict[str, Any]:
    """End a login and delete its password."""
    found = app.registries.logout(host, caller.actor)
    return {"host": found.host, "user": found.user, "removed": True}
