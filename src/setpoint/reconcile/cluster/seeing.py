"""How an application in a cluster is: the worst health of its objects, with a reason for each that is not well. Pure but for the picture.

Called by the target after each step; the reasons are those that `why`, `status` and the pages show.
"""

from collections.abc import Sequence
from typing import Literal

from setpoint.core import clock
from setpoint.core.errors import CredentialError, SetpointError, UnreachableError, UserError
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.applying import Taken
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.health.kinds import judge, worst
from setpoint.reconcile.health.model import Verdict, number, part
from setpoint.reconcile.model import Deployment, DeployReason, Health
from setpoint.reconcile.target import Observed

_PROBLEMS = frozenset({Health.DEGRADED, Health.UNKNOWN})
_REPLICATED = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})


def observed(
    effective: Effective, plans: Sequence[ObjectPlan], where: tuple[Cluster, KubernetesTarget], taken: Taken, *, unknown: bool = False
) -> Observed:
    """Return how an application is after a step, by what the picture shows now; unknown: the picture is not kept up."""
    cluster, target = where
    # A Job that the cluster cleared away by itself is well.
    looked = [one for one in plans if not (one.rests and one.live is None and one.key.kind == "Job")]
    fresh = cluster.seen([one.key for one in looked if not one.rests])
    seen = {one.key: fresh.get(one.key, one.seen) for one in looked}
    verdicts = {key: _verdict(look) for key, look in seen.items()}
    reasons = [_reason(key, verdict) for key, verdict in sorted(verdicts.items()) if verdict.health is not Health.HEALTHY]
    ready, wanted = _replicas(seen)
    health = worst(verdicts.values())
    if health is Health.MISSING:  # on its way, unless it is only reported
        health = Health.DEGRADED if all(one.rests for one in plans) else Health.PROGRESSING
    elif taken.waits and health is Health.HEALTHY:
        health = Health.PROGRESSING
    if unknown:
        health, reasons = Health.UNKNOWN, []
    if health is Health.HEALTHY:
        changed = sum(not one.rests for one in plans)
        found = f"{len(plans)} objects are as rendered" if not changed else f"{len(plans)} objects, {changed} written just now"
        reasons.append(DeployReason("READY", f"namespace {target.namespace}", f"{found}; {ready} of {wanted} replicas ready"))
    url = f"{target.url}/" if target.url else ""
    return Observed(health, (*taken.waits, *effective.notes, *reasons), tuple(taken.faults), url, ready, wanted, effective.desired.digest)


def unreachable(error: SetpointError, before: Deployment | None) -> Observed:
    """Return how an application is when its cluster cannot be asked: as it was seen last, and unknown since."""
    if isinstance(error, UserError):
        fault = DeployReason(error.code, error.where or "cluster", error.what, error.fix, "problem")
        return Observed(Health.DEGRADED, (), (fault,), before.url if before else "", *_last(before))
    return Observed(Health.UNKNOWN, (_why(error),), (), before.url if before else "", *_last(before))


def _why(error: SetpointError) -> DeployReason:
    """Return why a cluster as a whole cannot be worked on now: who has to act is another one each time."""
    subject, fix = error.where or "cluster", error.fix or "what runs goes on"
    if not isinstance(error, UnreachableError):
        return DeployReason("CLUSTER_BUSY", subject, error.what, fix, "problem")
    found = f"{error.what} (since {clock.spoken(error.since)})" if error.since else error.what
    if isinstance(error, CredentialError):
        return DeployReason("CLUSTER_CREDENTIAL", subject, found, fix, "problem")
    return DeployReason("CLUSTER_UNREACHABLE", subject, found, fix, "problem")


def _last(before: Deployment | None) -> tuple[int, int, str]:
    return (before.replicas_ready, before.replicas_wanted, before.render) if before is not None else (0, 0, "")


def _verdict(look: Seen) -> Verdict:
    return judge(look.live) if look.live is not None else Verdict(Health.MISSING, "it is not there")


def _reason(key: ObjectKey, verdict: Verdict) -> DeployReason:
    severity: Literal["info", "problem"] = "problem" if verdict.health in _PROBLEMS else "info"
    found = f"{verdict.health}: {verdict.found}" + (f" (since {verdict.since})" if verdict.since else "")
    fix = f"kubectl describe {key.kind.lower()}/{key.name} -n {key.namespace}"
    return DeployReason("OBJECT_NOT_HEALTHY", key.subject, found, fix, severity)


def _replicas(seen: dict[ObjectKey, Seen]) -> tuple[int, int]:
    """Return (ready, wanted) replicas of all that has them."""
    ready = wanted = 0
    for key, look in seen.items():
        if look.live is not None and key.kind in _REPLICATED:
            wanted += number(part(look.live, "spec"), "replicas", 1)
            ready += number(part(look.live, "status"), "readyReplicas")
        elif look.live is not None and key.kind == "DaemonSet":
            wanted += number(part(look.live, "status"), "desiredNumberScheduled")
            ready += number(part(look.live, "status"), "numberReady")
    return ready, wanted
