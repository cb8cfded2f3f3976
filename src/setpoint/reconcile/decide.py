"""Health of an application from its workloads: pure, one vocabulary for every target (design section 5, Reconcile).

Called by the host target after every step; the reasons it returns are those that `why`, `status` and the pages show.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from setpoint.core import clock
from setpoint.reconcile.model import Deployment, DeployReason, DesiredState, Health
from setpoint.reconcile.ports import JobStatus, WorkloadStatus

UNPROBED_PERIOD_S = 5.0
"""How often a container without a readiness probe is connected to."""
LONGEST_LOOK_S = 10.0


def judge(
    statuses: Sequence[WorkloadStatus],
    before: Deployment | None,
    deadline_s: float,
    now: datetime,
    jobs: Sequence[JobStatus] = (),
) -> tuple[Health, tuple[DeployReason, ...]]:
    """Return the health of an application and the reasons; before is the last observation *of the same pin*, for deadlines.

    Progressing past the deadline is degraded (Kubernetes' ProgressDeadlineExceeded); a replica in a crash loop is degraded at once.
    A Job that runs is progressing for as long as it takes, one that failed is degraded.
    """
    reasons = [reason for status in statuses for reason in status.waiting]
    reasons += [job.reason for job in jobs if job.health is not Health.HEALTHY]
    notes = [reason for status in statuses for reason in status.notes]
    notes += [job.reason for job in jobs if job.health is Health.HEALTHY]
    settled, paces = is_settled(statuses), {status.pace for status in statuses}
    if settled and all(job.health is Health.HEALTHY for job in jobs) and not any(reason.severity == "problem" for reason in reasons):
        ready = sum(status.ready for status in statuses)
        return Health.HEALTHY, (DeployReason("READY", "replicas", f"{ready} of {ready} ready"), *notes)
    for status in statuses:
        if status.ready < status.wanted or status.old:
            found = f"{status.ready} of {status.wanted} ready" + (f", {status.old} old to retire" if status.old else "")
            reasons.insert(0, DeployReason("PROGRESSING", f"Deployment/{status.workload}", found))
    reasons += notes
    if any(reason.severity == "problem" for reason in reasons):
        return Health.DEGRADED, tuple(reasons)
    if "held" in paces:
        return Health.SUSPENDED, tuple(reasons)
    if paces & {"going", "holding"}:  # a canary has deadlines of its own
        return Health.PROGRESSING, tuple(reasons)
    if not settled and before is not None and before.health in (Health.PROGRESSING, Health.DEGRADED):
        waited_s = (now - clock.from_text(before.since)).total_seconds()
        late = any(reason.code == "PROGRESS_DEADLINE" for reason in before.reasons)
        if waited_s > deadline_s or late:
            found = f"not ready {int(deadline_s)} s after it was begun"
            return Health.DEGRADED, (
                DeployReason("PROGRESS_DEADLINE", "rollout", found, "setpoint log REPLICA, or setpoint rollback", "problem"),
                *reasons,
            )
    return Health.PROGRESSING, tuple(reasons)


def is_settled(statuses: Sequence[WorkloadStatus]) -> bool:
    """Say whether every workload has what is wanted, and nothing else; in a canary none has."""
    return all(status.ready >= status.wanted and status.old == 0 and not status.pace for status in statuses)


def next_look_s(desired: Sequence[DesiredState]) -> float:
    """Return after how many seconds replicas that are well want to be asked again: the shortest period of their probes."""
    containers = [workload.container for state in desired for workload in state.workloads]
    probes = [probe for c in containers for probe in (c.readiness, c.liveness) if probe is not None]
    unprobed = [UNPROBED_PERIOD_S for c in containers if c.readiness is None]
    return min([*(probe.period_s for probe in probes), *unprobed], default=LONGEST_LOOK_S)


def same_observation(one: Deployment, other: Deployment) -> bool:
    """Say whether two observations would tell a person the same, whatever their `since`."""
    return _told(one) == _told(other)


_BY_WORDS: Final = ("CANARY", "FIELD_IGNORED", "IGNORE_MEANS_NOTHING", "JOB_RUNNING", "POD_EARLIER", "POD_UNNAMED")
"""Reasons of which each sentence is news; of the others it is that there is one."""


def _told(seen: Deployment) -> tuple[object, ...]:
    codes = tuple(sorted({(reason.code, reason.severity, reason.found if reason.code in _BY_WORDS else "") for reason in seen.reasons}))
    return (seen.promotion, seen.pin_commit, seen.health, codes, seen.url, seen.replicas_ready, seen.replicas_wanted)
