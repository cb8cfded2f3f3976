"""The later part of the crash road's script: a secret of tasks, a Secret that sops sealed, a Job, a canary, and one that is sent back.

Used by tests/chaos/crash_road.py. A canary's requests come from the model: as many as its weight says, and every second one of the bad
version fails.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.world import PORTS
from live_home import ENVIRONMENT, MANIFESTS
from setpoint.app.application import Application

if TYPE_CHECKING:
    from chaos.crash_road import Road

SECRET, VALUE = "DEPLOY_TOKEN", "never to be found in a frozen home"
SOPS = Path(__file__).parents[1] / "contract" / "sops"
PASSWORD = b"correct horse battery staple"
"""What the sealed Secret holds."""
USES_IT = "          env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: database, key: PASSWORD}}}]\n          ports: ["
SEALED = MANIFESTS.replace("          ports: [", USES_IT)
WITH_SECRET = {"apps/hello/hello.yaml": SEALED, "apps/hello/secret.yaml": (SOPS / "regex.yaml").read_text()}
JOB = """---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: web, command: [python3, app.py]}]
"""
CANARY = """rollout:
  canary:
    weights: [20, 50]
    hold: 10s
    look: 5s
    keep: 10s
    errors: {requests: 10}
"""
WITH_JOB = {"apps/hello/hello.yaml": SEALED + JOB}
WITH_CANARY = {**WITH_JOB, "environments/staging/environment.yaml": ENVIRONMENT % PORTS["staging"] + CANARY}

Step = tuple[Callable[[], object], Callable[[], bool]]


def steps(road: "Road", app: Application) -> Iterator[Step]:
    """Yield (what a person does, what is there in the end)."""
    yield functools.partial(_set_secret, app), lambda: bool(app.secrets.listed("hello"))
    yield functools.partial(_seal, road, app), lambda: _knowing(road) and road.approvable(app, 2)
    yield functools.partial(road.push, app, "delivery", WITH_JOB, "a job"), lambda: _job_done(app) and road.approvable(app, 2)
    yield functools.partial(road.push, app, "delivery", WITH_CANARY, "canary"), lambda: road.runs(app, "staging", 2)
    for text, stays, phase in (("three", 3, "finished"), ("four", 3, "returned")):
        push = functools.partial(road.push, app, "hello", {"app.py": f"print({text!r})\n"}, text)
        yield push, functools.partial(_rolled, road, app, stays, phase)


def _set_secret(app: Application) -> None:
    """Set a secret, unless it is set."""
    if not app.secrets.listed("hello"):
        app.secrets.set("hello", SECRET, VALUE, "operator")


def _seal(road: "Road", app: Application) -> None:
    """Bring the key that the Secret is sealed to, and push both the Secret and who uses it."""
    shutil.copy(SOPS / "age.key", road.home.age_key)
    road.home.age_key.chmod(0o600)
    road.push(app, "delivery", WITH_SECRET, "a secret")


def _knowing(road: "Road") -> bool:
    """Say whether all that serves in staging knows the password."""
    return all(road.world.knows.get(name, {}).get("stringData:PASSWORD") == PASSWORD for name in road.world.serving("staging"))


def _job_done(app: Application) -> bool:
    return [run.state for run in app.store.records.job_runs("hello", "staging")][-1:] == ["succeeded"]


def _rolled(road: "Road", app: Application, number: int, phase: str) -> bool:
    """Say whether a build serves alone, its canary or the one that went back is over, and nothing is kept any more."""
    told = [
        e.body for e in app.store.journal.entries() if e.kind in {"rollout.finished", "rollout.returned"} and e.subject == "hello/staging"
    ]
    canaries = [body for body in told if body["strategy"] == "canary"]
    alone = [r for r in road.world.replicas() if r.spec.identity.environment == "staging" and r.spec.job is None]
    over = bool(canaries) and canaries[-1]["phase"] == phase and len(alone) == 1 and road.runs(app, "staging", number)
    return (
        over
        and _job_done(app)
        and _knowing(road)
        and not any(hold.ended_at is None for hold in app.stops.listed("hello", "staging", ended=False))
    )
