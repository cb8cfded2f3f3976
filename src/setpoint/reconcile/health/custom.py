"""Health of kinds that Setpoint has no rule for, by the conditions and phases that operators agree on; pure, the last rule in `kinds`.

kstatus' words first (Stalled, Reconciling, Ready), then the names that widely used operators give to the same thing. What says nothing is
healthy because it exists, and the verdict says that nothing more is known.
"""

from typing import Final

from setpoint.reconcile.health.model import Condition, Object, Verdict, conditions, part, text
from setpoint.reconcile.model import Health

_FAILED: Final = ("Stalled", "Failed", "Degraded", "Failure", "ReconcileError", "ErrorOccurred")
_AT_WORK: Final = ("Reconciling", "Progressing", "Issuing", "Creating", "Updating", "Rebalancing")
_GOOD: Final = ("Ready", "Available", "Healthy", "Succeeded", "Complete", "Synced", "Established", "Reconciled", "Programmed", "Accepted")
_LASTING: Final = ("Error", "Fail", "Invalid", "Denied", "NotFound", "Forbidden", "Conflict", "Unsupported", "Exceeded", "Mismatch")
"""Parts of a reason for `Ready: False` that no waiting mends."""
_PHASES: Final[dict[str, Health]] = {
    **dict.fromkeys(("active", "available", "bound", "complete", "completed", "deployed", "green", "healthy", "ready", "running",
                     "succeeded", "synced"), Health.HEALTHY),
    **dict.fromkeys(("applying", "creating", "deleting", "initializing", "installing", "new", "pending", "progressing", "provisioning",
                     "reconciling", "scaling", "starting", "terminating", "updating", "upgrading", "yellow"), Health.PROGRESSING),
    **dict.fromkeys(("aborted", "degraded", "error", "errored", "failed", "invalid", "lost", "red", "unhealthy"), Health.DEGRADED),
    **dict.fromkeys(("hibernated", "paused", "stopped", "suspended"), Health.SUSPENDED),
}  # fmt: skip


def other(obj: Object) -> Verdict:
    """Return what conditions, else a phase, say of an object of any kind."""
    status = part(obj, "status")
    known = conditions(status)
    if part(obj, "spec").get("suspend") is True or part(obj, "spec").get("paused") is True:
        return Verdict(Health.SUSPENDED, "it is suspended", "spec.suspend")
    for name in _FAILED:
        found = known.get(name)
        if found is not None and found.status == "True":
            return found.verdict(Health.DEGRADED)
    for name in _GOOD:
        found = known.get(name)
        if found is not None:
            return _good(found, known)
    for name in _AT_WORK:
        found = known.get(name)
        if found is not None and found.status == "True":
            return found.verdict(Health.PROGRESSING)
    for name in ("health", "phase", "state"):
        word = text(status, name).lower()
        if word in _PHASES:
            return Verdict(_PHASES[word], f"it is {word}", f"status.{name}")
    return Verdict(Health.HEALTHY, "it is there; its kind says nothing about its health")


def _good(found: Condition, known: dict[str, Condition]) -> Verdict:
    """Judge the condition that stands for all: True is healthy once nothing is at work any more."""
    at_work = next((known[name] for name in _AT_WORK if name in known and known[name].status == "True"), None)
    if at_work is not None:
        return at_work.verdict(Health.PROGRESSING)
    if found.status == "True":
        return found.verdict(Health.HEALTHY)
    lasting = found.status == "False" and any(word in found.reason for word in _LASTING)
    return found.verdict(Health.DEGRADED if lasting else Health.PROGRESSING)
