"""Health of pods and of what runs to its end: Pod, Job, CronJob. Rules of the table in `kinds`; each is pure.

A pod that ended badly is degraded, whoever made it; a job that runs is progressing, however often it tried.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.reconcile.health.model import Object, Verdict, conditions, number, part, rows, text
from setpoint.reconcile.model import Health

_BAD: Final = re.compile(r"BackOff$|Error|^Err|^InvalidImageName$")
"""Reasons of a waiting container that no time mends: CrashLoopBackOff, ImagePullBackOff, ErrImagePull, CreateContainerConfigError."""


def pod(obj: Object) -> Verdict:
    """A failed pod, one whose container cannot start, and one that cannot be scheduled is degraded; a ready or finished one is healthy."""
    spec, status = part(obj, "spec"), part(obj, "status")
    phase = text(status, "phase")
    if phase == "Succeeded":
        return Verdict(Health.HEALTHY, "it ended well", "status.phase")
    if phase == "Failed":
        why = text(status, "message") or text(status, "reason") or "; ".join(_ends(status)) or "it failed"
        return Verdict(Health.DEGRADED, why, "status.phase")
    for field, container in _containers(status):
        waiting = part(container, "state", "waiting")
        if waiting and _BAD.search(text(waiting, "reason")):
            words = ": ".join(part_ for part_ in (text(waiting, "reason"), text(waiting, "message"), _end(container, "lastState")) if part_)
            return Verdict(Health.DEGRADED, f"{text(container, 'name')}: {words}"[:500], f"{field}.state.waiting")
    known = conditions(status)
    scheduled = known.get("PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        return scheduled.verdict(Health.DEGRADED)
    ready = known.get("Ready")
    if ready is not None and ready.status == "True":
        return Verdict(Health.HEALTHY, "it is ready", "status.conditions[Ready]", ready.since)
    if phase == "Running" and text(spec, "restartPolicy") in ("", "Always"):
        last = "; ".join(end for _, container in _containers(status) if (end := _end(container, "lastState")))
        if last:
            return Verdict(Health.DEGRADED, f"it is not ready, after {last}", "status.containerStatuses")
    if ready is not None:
        return ready.verdict(Health.PROGRESSING)
    return Verdict(Health.PROGRESSING, f"it is {phase.lower() or 'new'}", "status.phase")


def job(obj: Object) -> Verdict:
    """A job is healthy once complete and degraded once failed; while it runs, or has not begun, it is progressing."""
    spec, status = part(obj, "spec"), part(obj, "status")
    known = conditions(status)
    for name, health in (("Failed", Health.DEGRADED), ("Complete", Health.HEALTHY), ("FailureTarget", Health.DEGRADED)):
        found = known.get(name)
        if found is not None and found.status == "True":
            return found.verdict(health)
    if spec.get("suspend") is True:
        return Verdict(Health.SUSPENDED, "it is suspended", "spec.suspend")
    done, wanted = number(status, "succeeded"), number(spec, "completions", 1)
    tries = f", {number(status, 'failed')} failed" if number(status, "failed") else ""
    return Verdict(Health.PROGRESSING, f"{done} of {wanted} done, {number(status, 'active')} at work{tries}", "status.succeeded")


def cron_job(obj: Object) -> Verdict:
    """A schedule whose last run did not succeed, with none at work, is degraded."""
    spec, status = part(obj, "spec"), part(obj, "status")
    if spec.get("suspend") is True:
        return Verdict(Health.SUSPENDED, "its schedule is suspended", "spec.suspend")
    last, good = text(status, "lastScheduleTime"), text(status, "lastSuccessfulTime")
    if not last:
        return Verdict(Health.HEALTHY, "it was not due yet", "status.lastScheduleTime")
    if good < last and not status.get("active"):
        return Verdict(Health.DEGRADED, f"the run of {last} did not succeed", "status.lastSuccessfulTime", last)
    return Verdict(Health.HEALTHY, f"last run {last}", "status.lastScheduleTime")


def _containers(status: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in rows(status, field):
            yield f"status.{field}[{text(container, 'name')}]", container


def _ends(status: Object) -> Iterator[str]:
    for _, container in _containers(status):
        end = _end(container, "state")
        if end:
            yield end


def _end(container: Object, which: str) -> str:
    """Return how a container ended badly, `main: OOMKilled, exit status 137`; empty when it did not."""
    ended = part(container, which, "terminated")
    code = number(ended, "exitCode")
    if not ended or (code == 0 and text(ended, "reason") in ("", "Completed")):
        return ""
    reason = text(ended, "reason")
    words = [*([reason] if reason not in ("", "Error") else []), f"exit status {code}"]
    return f"{text(container, 'name')}: {', '.join(words)}"
