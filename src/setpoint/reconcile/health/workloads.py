"""Health of what keeps pods running: Deployment, ReplicaSet, StatefulSet, DaemonSet. Rules of the table in `kinds`; each is pure.

Sources: the status fields' meaning in Kubernetes' API reference (apps/v1) and the controllers' documented conditions. Zero replicas that
were asked for are healthy.
"""

from setpoint.core.words import counted
from setpoint.reconcile.health.model import Object, Verdict, conditions, number, part, text
from setpoint.reconcile.model import Health


def deployment(obj: Object) -> Verdict:
    """A rollout that ran into its deadline or cannot make pods is degraded; until all are new and available it is progressing."""
    spec, status = part(obj, "spec"), part(obj, "status")
    known = conditions(status)
    progressing, failure = known.get("Progressing"), known.get("ReplicaFailure")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return progressing.verdict(Health.DEGRADED)
    if spec.get("paused") is True:
        return Verdict(Health.SUSPENDED, "its rollout is paused", "spec.paused")
    if failure is not None and failure.status == "True":
        return failure.verdict(Health.DEGRADED)
    wanted, updated = number(spec, "replicas", 1), number(status, "updatedReplicas")
    if updated < wanted:
        return Verdict(Health.PROGRESSING, f"{updated} of {wanted} replicas are of the new revision", "status.updatedReplicas")
    if number(status, "replicas") > updated:
        old = number(status, "replicas") - updated
        return Verdict(Health.PROGRESSING, f"{counted(old, 'replica')} of an earlier revision still to end", "status.replicas")
    return _available(number(status, "availableReplicas"), wanted, "status.availableReplicas")


def replica_set(obj: Object) -> Verdict:
    """A set that cannot make its pods is degraded."""
    spec, status = part(obj, "spec"), part(obj, "status")
    failure = conditions(status).get("ReplicaFailure")
    if failure is not None and failure.status == "True":
        return failure.verdict(Health.DEGRADED)
    return _available(number(status, "availableReplicas"), number(spec, "replicas", 1), "status.availableReplicas")


def stateful_set(obj: Object) -> Verdict:
    """Every replica has to be ready; with a rolling update those above the partition have to be of the new revision."""
    spec, status = part(obj, "spec"), part(obj, "status")
    wanted, ready = number(spec, "replicas", 1), number(status, "readyReplicas")
    if ready < wanted:
        return Verdict(Health.PROGRESSING, f"{ready} of {wanted} replicas are ready", "status.readyReplicas")
    strategy = part(spec, "updateStrategy")
    if text(strategy, "type") == "OnDelete":
        return Verdict(Health.HEALTHY, f"{ready} of {wanted} replicas are ready; updates wait for deleted pods", "status.readyReplicas")
    partition = number(part(strategy, "rollingUpdate"), "partition")
    if partition:
        updated, least = number(status, "updatedReplicas"), max(0, wanted - partition)
        if updated < least:
            return Verdict(Health.PROGRESSING, f"{updated} of {least} replicas above the partition are updated", "status.updatedReplicas")
    elif text(status, "updateRevision") != text(status, "currentRevision"):
        updated = number(status, "updatedReplicas")
        return Verdict(Health.PROGRESSING, f"{updated} of {wanted} replicas are of the new revision", "status.updateRevision")
    return _available(number(status, "availableReplicas", ready), wanted, "status.availableReplicas")


def daemon_set(obj: Object) -> Verdict:
    """Every node that should have a pod has an available one of the new template; with OnDelete the template does not count."""
    spec, status = part(obj, "spec"), part(obj, "status")
    wanted, updated = number(status, "desiredNumberScheduled"), number(status, "updatedNumberScheduled")
    if text(part(spec, "updateStrategy"), "type") != "OnDelete" and updated < wanted:
        return Verdict(Health.PROGRESSING, f"{updated} of {wanted} nodes have the new revision", "status.updatedNumberScheduled")
    return _available(number(status, "numberAvailable"), wanted, "status.numberAvailable")


def _available(available: int, wanted: int, field: str) -> Verdict:
    health = Health.HEALTHY if available >= wanted else Health.PROGRESSING
    return Verdict(health, f"{available} of {wanted} replicas are available", field)
