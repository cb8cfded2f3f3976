"""The end of the crash road's script: what people say beside a release: asking, barring, cancelling, removing, confirming, resuming.

Used by tests/chaos/later_steps.py. Every act looks first whether it is done, as somebody does whose answer was lost.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from chaos import later_steps
from chaos.world import PORTS
from live_home import ENVIRONMENT
from setpoint.api import actions
from setpoint.app.application import Application
from setpoint.ground.registries.model import RegistryAccess
from setpoint.pipeline.model import RunState

if TYPE_CHECKING:
    from chaos.crash_road import Road

STAGING = {"app": "hello", "environment": "staging"}
PRODUCTION = {"app": "hello", "environment": "production"}
REGISTRY = "registry.example.com"
QUIET = """rollout:
  canary:
    weights: [50]
    hold: 10s
    look: 5s
    keep: 10s
    errors: {requests: 1000000}
"""
"""A canary that never has enough requests."""
NOTHING_BY_ITSELF = """prune: {budget: "0"}
"""
NO_JOB = {
    "apps/hello/hello.yaml": later_steps.SEALED,
    "environments/staging/environment.yaml": ENVIRONMENT % PORTS["staging"] + QUIET + NOTHING_BY_ITSELF,
}


def steps(road: "Road", app: Application) -> "Iterator[later_steps.Step]":
    """Yield (what a person does, what is there in the end)."""
    yield functools.partial(_ask, road, app), lambda: _told(app, "promotion.requested")
    yield functools.partial(_bar, road, app), lambda: not _waiting(app) and bool(app.store.records.quarantines("hello", "production"))
    yield functools.partial(_log_in, app), lambda: bool(app.registries.listed())
    yield functools.partial(_log_out, app), lambda: not app.registries.listed()
    yield functools.partial(_remove_secret, app), lambda: not app.secrets.listed("hello")
    yield functools.partial(road.push, app, "delivery", NO_JOB, "no job"), lambda: app.prune.held("hello", "staging") is not None
    yield functools.partial(_confirm, road, app), lambda: _told(app, "prune.done")
    yield functools.partial(_cancel, road, app), lambda: _cancelled(app)
    five = functools.partial(road.push, app, "hello", {"app.py": "print('five')\n"}, "five")
    yield five, lambda: _told(app, "rollout.held")
    yield functools.partial(_resume, road, app), lambda: road.runs(app, "staging", 6) and _alone(road)


def _told(app: Application, kind: str) -> bool:
    return any(entry.kind == kind for entry in app.store.journal.entries())


def _waiting(app: Application) -> list[Any]:
    return [p for p in app.store.records.unfinished() if p.candidate.environment == "production"]


def _ask(road: "Road", app: Application) -> None:
    """Ask for what waits for production, unless it was asked for."""
    if not _told(app, "promotion.requested"):
        actions.promote(cast(Any, app), road.person, actions.PromoteBody(app="hello", environment="production", message="please"))


def _bar(road: "Road", app: Application) -> None:
    """Bar it all the same, unless it is barred."""
    if not app.store.records.quarantines("hello", "production"):
        actions.quarantine(cast(Any, app), road.person, actions.QuarantineBody(**PRODUCTION, message="not this one"))


def _log_in(app: Application) -> None:
    """Log in to another registry, unless that is done."""
    if not app.registries.listed():
        app.registries.login(RegistryAccess(REGISTRY, "robot", later_steps.VALUE), "operator")


def _log_out(app: Application) -> None:
    """End the login, unless it has ended."""
    if app.registries.listed():
        app.registries.logout(REGISTRY, "operator")


def _remove_secret(app: Application) -> None:
    """Remove the secret of tasks, unless it is gone."""
    if app.secrets.listed("hello"):
        app.secrets.remove("hello", later_steps.SECRET, "operator")


def _confirm(road: "Road", app: Application) -> None:
    """Confirm that the Job goes, unless that was confirmed."""
    held = app.prune.held("hello", "staging")
    if held is not None and not _told(app, "prune.confirmed"):
        actions.prune(cast(Any, app), road.person, actions.PruneBody(**STAGING, set=held.set, message="it has run"))


async def _cancel(road: "Road", app: Application) -> None:
    """Push by mistake, and cancel the run before it does anything."""
    road.push(app, "hello", {"app.py": "print('mistake')\n"}, "mistake")
    app.loop._sources()
    for run in app.store.records.runs("hello", 10):
        if run.state is RunState.RUNNING:
            await app.pipeline.cancel(run.run, "operator", "a mistake")


def _cancelled(app: Application) -> bool:
    return [run.state for run in app.store.records.runs("hello", 1)] == [RunState.CANCELLED]


def _resume(road: "Road", app: Application) -> None:
    """Let a canary go on that is held for want of requests, unless that was said."""
    if not _told(app, "rollout.resumed"):
        body = actions.RolloutBody(verb="resume", message="a quiet night")
        actions.decide_rollout(cast(Any, app), road.person, "hello", "staging", body)


def _alone(road: "Road") -> bool:
    """Say whether nothing of an earlier build is kept in staging any more."""
    return len([replica for replica in road.world.replicas() if replica.spec.identity.environment == "staging"]) == 1
