"""Health of everything around pods: traffic, storage, scaling, and the cluster's own kinds. Rules of the table in `kinds`; each is pure."""

from setpoint.reconcile.health.model import Condition, Object, Verdict, conditions, part, rows, text
from setpoint.reconcile.model import Health

_HPA_BROKEN = frozenset({"FailedGetScale", "FailedUpdateScale", "InvalidSelector", "InvalidMetricSourceType"})


def service(obj: Object) -> Verdict:
    """A load balancer without an address is progressing; every other Service is healthy once it is there."""
    if text(part(obj, "spec"), "type") != "LoadBalancer":
        return Verdict(Health.HEALTHY, "it is there")
    return _addressed(obj, "status.loadBalancer.ingress")


def ingress(obj: Object) -> Verdict:
    """An Ingress is healthy: whether an address is published is its controller's choice, and many publish none."""
    if any(rows(part(obj, "status", "loadBalancer"), "ingress")):
        return Verdict(Health.HEALTHY, "it has an address", "status.loadBalancer.ingress")
    return Verdict(Health.HEALTHY, "its controller has published no address", "status.loadBalancer.ingress")


def _addressed(obj: Object, field: str) -> Verdict:
    if any(rows(part(obj, "status", "loadBalancer"), "ingress")):
        return Verdict(Health.HEALTHY, "it has an address", field)
    return Verdict(Health.PROGRESSING, "it has no address yet", field)


def volume_claim(obj: Object) -> Verdict:
    """A bound claim is healthy and a lost one degraded; one that waits for its first consumer waits for a pod, not for storage."""
    phase = text(part(obj, "status"), "phase")
    if phase == "Bound":
        return Verdict(Health.HEALTHY, "it is bound", "status.phase")
    if phase == "Lost":
        return Verdict(Health.DEGRADED, "its volume is lost", "status.phase")
    if text(part(obj, "metadata", "annotations"), "volume.kubernetes.io/selected-node"):
        return Verdict(Health.PROGRESSING, "its volume is being made", "status.phase")
    return Verdict(
        Health.PROGRESSING, "it is not bound: a class that waits for its first consumer needs a pod that uses it", "status.phase"
    )


def volume(obj: Object) -> Verdict:
    """A failed volume is degraded."""
    status = part(obj, "status")
    if text(status, "phase") == "Failed":
        return Verdict(Health.DEGRADED, text(status, "message") or "it failed", "status.phase")
    return Verdict(Health.HEALTHY, f"it is {text(status, 'phase').lower() or 'there'}", "status.phase")


def namespace(obj: Object) -> Verdict:
    """A namespace that is going away is progressing, with what holds it."""
    status = part(obj, "status")
    if text(status, "phase") != "Terminating":
        return Verdict(Health.HEALTHY, "it is active", "status.phase")
    held = [found.message for found in conditions(status).values() if found.status == "True"]
    return Verdict(Health.PROGRESSING, "; ".join(["it is being deleted", *held])[:500], "status.phase")


def definition(obj: Object) -> Verdict:
    """A CustomResourceDefinition is healthy once its kind is served."""
    known = conditions(part(obj, "status"))
    names, established = known.get("NamesAccepted"), known.get("Established")
    if names is not None and names.status == "False":
        return names.verdict(Health.DEGRADED)
    if established is not None and established.status == "True":
        return Verdict(Health.HEALTHY, "its kind is served", "status.conditions[Established]", established.since)
    if established is not None and established.status == "False" and established.reason != "Installing":
        return established.verdict(Health.DEGRADED)
    return Verdict(Health.PROGRESSING, "its kind is not served yet", "status.conditions[Established]")


def api_service(obj: Object) -> Verdict:
    """An aggregated API is healthy once its server answers."""
    available = conditions(part(obj, "status")).get("Available")
    if available is None:
        return Verdict(Health.PROGRESSING, "its server was not asked yet", "status.conditions[Available]")
    return available.verdict(Health.HEALTHY if available.status == "True" else Health.PROGRESSING)


def autoscaler(obj: Object) -> Verdict:
    """An autoscaler that cannot read or set its scale is degraded; missing metrics are too, once it was active."""
    known = conditions(part(obj, "status"))
    for found in known.values():
        if found.status == "False" and (found.reason in _HPA_BROKEN or found.reason.startswith("FailedGet")):
            return found.verdict(Health.DEGRADED)
    able = known.get("AbleToScale")
    if able is None:
        return Verdict(Health.PROGRESSING, "it has not looked yet", "status.conditions[AbleToScale]")
    return able.verdict(Health.HEALTHY if able.status == "True" else Health.PROGRESSING)


def disruption_budget(obj: Object) -> Verdict:
    """A budget is healthy; one that allows no disruption now says so."""
    allowed = conditions(part(obj, "status")).get("DisruptionAllowed")
    if allowed is not None and allowed.status == "False":
        return Verdict(Health.HEALTHY, "it allows no disruption now", "status.conditions[DisruptionAllowed]", allowed.since)
    return Verdict(Health.HEALTHY, "it is there")


def gateway(obj: Object) -> Verdict:
    """A Gateway is healthy once its data plane has it (Gateway API, `Programmed`)."""
    known = conditions(part(obj, "status"))
    for name in ("Accepted", "Programmed"):
        found = known.get(name)
        if found is not None and found.status == "False":
            waits = found.reason in ("Pending", "AddressNotAssigned")
            return found.verdict(Health.PROGRESSING if waits else Health.DEGRADED)
        if found is None or found.status != "True":
            return Verdict(Health.PROGRESSING, "no controller has taken it yet", f"status.conditions[{name}]")
    return Verdict(Health.HEALTHY, "its data plane has it", "status.conditions[Programmed]", known["Programmed"].since)


def route(obj: Object) -> Verdict:
    """A route is healthy once every parent has accepted it and found its backends."""
    parents = list(rows(part(obj, "status"), "parents"))
    if not parents:
        return Verdict(Health.PROGRESSING, "no gateway has taken it yet", "status.parents")
    waiting: Condition | None = None
    for parent in parents:
        known = conditions(parent)
        for name in ("Accepted", "ResolvedRefs"):
            found = known.get(name)
            if found is not None and found.status == "False":
                return found.verdict(Health.PROGRESSING if found.reason == "Pending" else Health.DEGRADED)
            waiting = found if found is not None and found.status != "True" else waiting
    if waiting is not None:
        return waiting.verdict(Health.PROGRESSING)
    return Verdict(Health.HEALTHY, f"{len(parents)} gateways serve it" if len(parents) > 1 else "its gateway serves it", "status.parents")
