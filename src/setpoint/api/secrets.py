"""Secrets in the API: set, list, remove; the operator's only. An answer holds names and versions, never a value."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Operator
from setpoint.core.records import encode
from setpoint.ground.secrets.model import Secret

router = APIRouter(prefix="/api/v1", tags=["secrets"])


class SecretBody(BaseModel):
    """A value to keep; it is not written to any log or entry."""

    model_config = ConfigDict(extra="forbid")

    value: Annotated[str, Field(max_length=65_536, repr=False, json_schema_extra={"writeOnly": True, "format": "password"})]


@router.get("/secrets")
def secrets(app: App, _caller: Operator, repository: str | None = None) -> list[Secret]:
    """Return the secrets in force, of one repository or of all, without their values."""
    return app.secrets.listed(repository)


@router.put("/secrets/{repository}/{name}")
def put_secret(app: App, caller: Operator, repository: str, name: str, body: SecretBody) -> dict[str, Any]:
    """Keep a value as the next version of a secret; `waits` says that its repository is not there yet."""
    kept = app.secrets.set(repository, name, body.value, caller.actor)
    return {**encode(kept), "waits": app.secrets.waits(repository)}


@router.delete("/secrets/{repository}/{name}")
def remove_secret(app: App, caller: Operator, repository: str, name: str) -> dict[str, Any]:
    """Remove a secret and delete its values; tasks that ask for it fail from now on."""
    found = app.secrets.remove(repository, name, caller.actor)
    return {"repository": repository, "name": name, "version": found.version, "removed": True}
