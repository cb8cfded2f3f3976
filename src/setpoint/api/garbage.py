"""Routes of garbage collection: look, begin, follow, stop; beginning and stopping are the operator's. Mounted by `api.asgi`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from setpoint.api.auth import App, Caller, Operator
from setpoint.retention.model import Collection, Going, Report, Sum

router = APIRouter(prefix="/api/v1", tags=["garbage collection"])

_SHOWN = 1000


@router.get("/gc")
def report(app: App, _caller: Caller) -> Report:
    """Return where garbage collection stands: the active one, the last one, when it runs by itself, and the disk."""
    return app.garbage.report()


@router.get("/gc/plan")
def plan(app: App, _caller: Caller, limit: Annotated[int, Query(ge=0, le=100_000)] = _SHOWN) -> dict[str, Any]:
    """Return what a collection would delete now and why, the largest first, and why the rest stays; nothing is deleted."""
    found = app.garbage.plan()
    items: list[Going] = sorted(found.going, key=lambda item: item.size_bytes, reverse=True)[:limit]
    going: dict[str, Sum] = found.sums()
    return {
        "size_bytes": found.size_bytes,
        "count": len(found.going),
        "going": going,
        "keeping": found.keeping,
        "reasons": found.reasons,
        "items": items,
        "rules": found.rules,
    }


@router.post("/gc", status_code=202)
def begin(app: App, caller: Operator) -> Collection:
    """Begin a collection and return it at once; `GET /gc` follows it."""
    return app.garbage.begin(caller.actor)


@router.delete("/gc", status_code=202)
def stop(app: App, _caller: Operator) -> Collection:
    """Ask the active collection to end after the thing that it is at."""
    return app.garbage.stop()
