"""What became of the hooks of a version in an environment: the words, and what a look at a hook's live object says of its run. Pure.

Kept by `hooking` in the journal, whole each time, so that the newest entry is all that a server needs: a hook of a version runs once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol

from setpoint.core import clock
from setpoint.reconcile.cluster.hooks import Phase, Placement
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.health.kinds import judge
from setpoint.reconcile.health.model import number, part
from setpoint.reconcile.model import Health

RUN: Final = "setpoint.dev/hook-run"
"""Annotation of a hook's object: which run made it."""
TIMEOUT: Final = "setpoint.dev/hook-timeout"
LIMIT_S: Final = 600
"""How long a hook may take that says nothing."""
_TIME: Final = re.compile(r"([1-9][0-9]{0,4})([smh])")
_KEPT: Final = 50
State = Literal["started", "made", "succeeded", "failed", "lost"]
"""`started` is written before its object is made, `made` after; `lost`: it was taken away before its end was seen."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook of a render."""

    key: ObjectKey
    manifest: Mapping[str, Any]
    placement: Placement


@dataclass(frozen=True, slots=True)
class HookRun:
    """One hook in one phase of one version."""

    hook: str
    """`str(ObjectKey)`"""
    api_version: str
    phase: str
    state: State
    until: str
    """When it has to have ended (RFC 3339)."""
    found: str = ""
    """Why it failed, with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class HookSet:
    """The hooks of the version that came last to an environment; journalled as `hooks.begun`, `hook.started`, `hook.finished`."""

    app: str
    environment: str
    candidate: str
    """Digest: a version that comes back has had its hooks."""
    first: bool
    """Nothing of the application was there before: Helm tells installs from upgrades by it."""
    runs: tuple[HookRun, ...] = ()
    done: tuple[str, ...] = ()
    """Candidates that came before."""

    def run(self, hook: Hook, phase: Phase) -> HookRun | None:
        """Return what is known of a hook's run."""
        return next((one for one in self.runs if one.hook == str(hook.key) and one.phase == phase), None)

    def put(self, run: HookRun) -> "HookSet":
        """Return the set with another state of a run."""
        others = tuple(one for one in self.runs if (one.hook, one.phase) != (run.hook, run.phase))
        return replace(self, runs=(*others, run))

    def next(self, candidate: str) -> "HookSet":
        """Return the set of the version that comes after."""
        return HookSet(self.app, self.environment, candidate, first=False, done=(*self.done, self.candidate)[-_KEPT:])

    def name(self, phase: Phase) -> str:
        """Return what a hook's object carries that belongs to a run of this set."""
        return f"{self.candidate.rpartition(':')[2][:16]}-{phase}"


class HookRecords(Protocol):
    """Hooks as the journal tells them (adapters.database)."""

    def hook_set(self, app: str, environment: str) -> HookSet | None:
        """Return the hooks of the version that came last; None when none ever had any."""
        ...


def begun(hook: Hook, phase: Phase, now: datetime) -> HookRun:
    """Return the run of a hook that begins now."""
    until = clock.to_text(now + timedelta(seconds=limit_s(hook.manifest)))
    return HookRun(str(hook.key), str(hook.manifest["apiVersion"]), str(phase), "started", until)


def limit_s(manifest: Object) -> int:
    """Return how long a hook may take, by its annotation (`10m`) or its Job's own deadline."""
    text = str(((manifest.get("metadata") or {}).get("annotations") or {}).get(TIMEOUT, "")).strip()
    match = _TIME.fullmatch(text)
    if match:
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    deadline = (manifest.get("spec") or {}).get("activeDeadlineSeconds")
    return int(deadline) + 30 if isinstance(deadline, int) and manifest.get("kind") == "Job" else LIMIT_S


def is_of(live: Object, name: str) -> bool:
    """Say whether a live object was made for a run."""
    return ((live.get("metadata") or {}).get("annotations") or {}).get(RUN) == name


def has_pod(live: Object) -> bool:
    """Say whether a live Job or Pod runs right now: a hook that never starts is stuck, one that works is let finish."""
    if live.get("kind") == "Pod":
        return bool(part(live, "status").get("phase") == "Running")
    return number(part(live, "status"), "ready") > 0


def judged(run: HookRun, live: Object | None, now: datetime) -> HookRun:
    """Return a run that was made, as it is by now."""
    if live is None:
        return replace(run, state="lost", found="it was taken away before its end was seen, so nobody knows whether it did its work")
    verdict = judge(live)
    if verdict.health is Health.HEALTHY and _has_ended(live):
        return replace(run, state="succeeded")
    if verdict.health is Health.DEGRADED and live.get("kind") in ("Job", "Pod"):
        return replace(run, state="failed", found=verdict.found)
    if clock.to_text(now) > run.until:
        return replace(run, state="failed", found=f"it did not end in time: {verdict.found}")
    return run


def _has_ended(live: Object) -> bool:
    """Say whether what is healthy has done its work: a Pod that runs is healthy, and not done."""
    return live.get("kind") != "Pod" or part(live, "status").get("phase") == "Succeeded"


def waves(hooks: Sequence[Hook], phase: Phase) -> list[list[Hook]]:
    """Return the hooks of a phase, wave by wave."""
    mine = [hook for hook in hooks if phase in hook.placement.phases]
    numbers = sorted({hook.placement.wave for hook in mine})
    return [sorted((hook for hook in mine if hook.placement.wave == number_), key=lambda hook: hook.key) for number_ in numbers]
