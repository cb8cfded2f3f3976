"""Which rule judges which kind, and what holds for every kind; called by the reconciler for each live object.

The gate that every object passes first is kstatus': what is being deleted, and what its controller has not seen yet, is progressing.
"""

from collections.abc import Callable, Iterable
from typing import Final

from setpoint.reconcile.health import cluster, pods, workloads
from setpoint.reconcile.health.custom import other
from setpoint.reconcile.health.model import Object, Verdict, conditions, number, part, text
from setpoint.reconcile.model import Health

Rule = Callable[[Object], Verdict]

_RULES: Final[dict[tuple[str, str], Rule]] = {
    ("", "Namespace"): cluster.namespace,
    ("", "PersistentVolume"): cluster.volume,
    ("", "PersistentVolumeClaim"): cluster.volume_claim,
    ("", "Pod"): pods.pod,
    ("", "ReplicationController"): workloads.replica_set,
    ("", "Service"): cluster.service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.definition,
    ("apiregistration.k8s.io", "APIService"): cluster.api_service,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): cluster.autoscaler,
    ("batch", "CronJob"): pods.cron_job,
    ("batch", "Job"): pods.job,
    ("gateway.networking.k8s.io", "GRPCRoute"): cluster.route,
    ("gateway.networking.k8s.io", "Gateway"): cluster.gateway,
    ("gateway.networking.k8s.io", "HTTPRoute"): cluster.route,
    ("gateway.networking.k8s.io", "TLSRoute"): cluster.route,
    ("networking.k8s.io", "Ingress"): cluster.ingress,
    ("policy", "PodDisruptionBudget"): cluster.disruption_budget,
}
_WORST_FIRST: Final = (Health.UNKNOWN, Health.DEGRADED, Health.MISSING, Health.PROGRESSING, Health.SUSPENDED, Health.HEALTHY)


def judge(obj: Object) -> Verdict:
    """Return the health of one live object of any kind."""
    meta, status = part(obj, "metadata"), part(obj, "status")
    deleted = text(meta, "deletionTimestamp")
    if deleted:
        held = meta.get("finalizers") or ()
        words = f"; held by {', '.join(map(str, held))}" if held else ""
        return Verdict(Health.PROGRESSING, f"it is being deleted{words}", "metadata.deletionTimestamp", deleted)
    generation, observed = number(meta, "generation"), status.get("observedGeneration")
    if isinstance(observed, int) and observed < generation:
        return Verdict(Health.PROGRESSING, "its controller has not seen the last change yet", "status.observedGeneration")
    group = text(obj, "apiVersion").rpartition("/")[0]
    rule = _RULES.get((group, text(obj, "kind")))
    if rule is not None:
        return _unseen(obj, rule) or rule(obj)
    stale = [c for c in conditions(status).values() if c.observed_generation is not None and c.observed_generation < generation]
    if stale:
        return stale[0].verdict(Health.PROGRESSING)
    return other(obj)


def _unseen(obj: Object, rule: Rule) -> Verdict | None:
    """Return progressing for a workload whose controller has not written any status yet: its zeros would read as none wanted."""
    if rule in (workloads.deployment, workloads.stateful_set, workloads.daemon_set) and "observedGeneration" not in part(obj, "status"):
        return Verdict(Health.PROGRESSING, "its controller has not seen it yet", "status.observedGeneration")
    return None


def worst(verdicts: Iterable[Verdict]) -> Health:
    """Return the health of a whole: its worst part's; healthy without parts."""
    found = {verdict.health for verdict in verdicts}
    return next((health for health in _WORST_FIRST if health in found), Health.HEALTHY)
