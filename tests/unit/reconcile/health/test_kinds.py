"""Health of Kubernetes objects, kind by kind: what each says in the states that matter, with the field that decides."""

from typing import Any

import pytest

from setpoint.reconcile.health.kinds import judge, worst
from setpoint.reconcile.health.model import Verdict
from setpoint.reconcile.model import Health

GOOD, BUSY, BAD, STILL = Health.HEALTHY, Health.PROGRESSING, Health.DEGRADED, Health.SUSPENDED


def obj(kind: str, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    """Return a live object: `apps/v1 Deployment` with its spec and status."""
    api_version, name = kind.split(" ")
    return {"apiVersion": api_version, "kind": name, "metadata": {"name": "x", **meta}, "spec": spec or {}, "status": status or {}}


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, str]:
    """Return one condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-03-01T09:00:00Z"}


def deployment(spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return a Deployment that its controller has seen."""
    return obj("apps/v1 Deployment", spec, {"observedGeneration": 1, **status}, generation=1)


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the status of a container called main."""
    return {"name": "main", "state": state, "lastState": {"terminated": last} if last else {}}


LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "too late")
OOM = {"exitCode": 137, "reason": "OOMKilled"}
CASES: list[tuple[str, dict[str, Any], Health, str, str]] = [
    ("all available", deployment({"replicas": 2}, replicas=2, updatedReplicas=2, availableReplicas=2), GOOD, "2 of 2", "availableReplicas"),
    ("none wanted", deployment({"replicas": 0}), GOOD, "0 of 0", "availableReplicas"),
    ("half new", deployment({"replicas": 2}, replicas=3, updatedReplicas=1), BUSY, "1 of 2 replicas are of the new", "updatedReplicas"),
    (
        "old to go",
        deployment({"replicas": 2}, replicas=3, updatedReplicas=2, availableReplicas=3),
        BUSY,
        "1 replica of an earlier",
        "replicas",
    ),
    ("not available", deployment({"replicas": 2}, replicas=2, updatedReplicas=2, availableReplicas=1), BUSY, "1 of 2", "availableReplicas"),
    ("past its deadline", deployment({"replicas": 2}, conditions=[LATE]), BAD, "too late", "conditions[Progressing]"),
    ("late and paused", deployment({"paused": True}, conditions=[LATE]), BAD, "too late", "conditions[Progressing]"),
    ("paused", deployment({"paused": True}), STILL, "paused", "spec.paused"),
    (
        "over quota",
        deployment({"replicas": 1}, conditions=[condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")]),
        BAD,
        "exceeded quota",
        "conditions[ReplicaFailure]",
    ),
    ("never seen", obj("apps/v1 Deployment", {"replicas": 0}), BUSY, "not seen it yet", "observedGeneration"),
    ("change unseen", obj("apps/v1 Deployment", {}, {"observedGeneration": 1}, generation=2), BUSY, "last change", "observedGeneration"),
    (
        "stateful, ready",
        obj(
            "apps/v1 StatefulSet",
            {"replicas": 2},
            {"observedGeneration": 1, "readyReplicas": 2, "updateRevision": "a", "currentRevision": "a"},
        ),
        GOOD,
        "2 of 2",
        "availableReplicas",
    ),
    (
        "stateful, rolling",
        obj(
            "apps/v1 StatefulSet",
            {"replicas": 2},
            {"observedGeneration": 1, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"},
        ),
        BUSY,
        "0 of 2 replicas are of the new",
        "updateRevision",
    ),
    (
        "stateful, partition done",
        obj(
            "apps/v1 StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
        ),
        GOOD,
        "3 of 3",
        "availableReplicas",
    ),
    (
        "stateful, on delete",
        obj(
            "apps/v1 StatefulSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {"observedGeneration": 1, "readyReplicas": 1, "updateRevision": "b"},
        ),
        GOOD,
        "updates wait",
        "readyReplicas",
    ),
    (
        "daemon, one node old",
        obj(
            "apps/v1 DaemonSet",
            {},
            {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2},
        ),
        BUSY,
        "1 of 2 nodes",
        "updatedNumberScheduled",
    ),
    ("daemon, no node", obj("apps/v1 DaemonSet", {}, {"observedGeneration": 1}), GOOD, "0 of 0", "numberAvailable"),
    ("pod ready", obj("v1 Pod", {}, {"phase": "Running", "conditions": [condition("Ready")]}), GOOD, "ready", "conditions[Ready]"),
    ("pod done", obj("v1 Pod", {}, {"phase": "Succeeded"}), GOOD, "ended well", "phase"),
    (
        "pod failed",
        obj("v1 Pod", {}, {"phase": "Failed", "containerStatuses": [container({"terminated": OOM})]}),
        BAD,
        "main: OOMKilled, exit status 137",
        "phase",
    ),
    (
        "pod crash loop",
        obj(
            "v1 Pod",
            {},
            {"phase": "Running", "containerStatuses": [container({"waiting": {"reason": "CrashLoopBackOff"}}, {"exitCode": 3})]},
        ),
        BAD,
        "CrashLoopBackOff: main: exit status 3",
        "containerStatuses[main].state.waiting",
    ),
    (
        "pod init image missing",
        obj(
            "v1 Pod",
            {},
            {"phase": "Pending", "initContainerStatuses": [container({"waiting": {"reason": "ErrImagePull", "message": "gone"}})]},
        ),
        BAD,
        "ErrImagePull: gone",
        "initContainerStatuses[main].state.waiting",
    ),
    (
        "pod nowhere",
        obj("v1 Pod", {}, {"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/1 nodes")]}),
        BAD,
        "0/1 nodes",
        "conditions[PodScheduled]",
    ),
    (
        "pod restarted",
        obj(
            "v1 Pod",
            {},
            {"phase": "Running", "conditions": [condition("Ready", "False")], "containerStatuses": [container({"running": {}}, OOM)]},
        ),
        BAD,
        "after main: OOMKilled",
        "containerStatuses",
    ),
    ("pod starting", obj("v1 Pod", {}, {"phase": "Pending"}), BUSY, "pending", "phase"),
    ("job at work", obj("batch/v1 Job", {"completions": 3}, {"active": 1, "succeeded": 1, "failed": 2}), BUSY, "1 of 3 done", "succeeded"),
    ("job done", obj("batch/v1 Job", {}, {"conditions": [condition("Complete")]}), GOOD, "Complete", "conditions[Complete]"),
    (
        "job failed",
        obj("batch/v1 Job", {}, {"conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}),
        BAD,
        "BackoffLimitExceeded",
        "conditions[Failed]",
    ),
    ("job suspended", obj("batch/v1 Job", {"suspend": True}), STILL, "suspended", "spec.suspend"),
    ("cron not due", obj("batch/v1 CronJob"), GOOD, "not due", "lastScheduleTime"),
    (
        "cron last failed",
        obj("batch/v1 CronJob", {}, {"lastScheduleTime": "2026-03-01T09:00:00Z", "lastSuccessfulTime": "2026-03-01T08:00:00Z"}),
        BAD,
        "did not succeed",
        "lastSuccessfulTime",
    ),
    ("service", obj("v1 Service", {"type": "ClusterIP"}), GOOD, "there", ""),
    ("balancer waits", obj("v1 Service", {"type": "LoadBalancer"}), BUSY, "no address", "loadBalancer"),
    ("ingress without address", obj("networking.k8s.io/v1 Ingress"), GOOD, "published no address", "loadBalancer"),
    ("claim bound", obj("v1 PersistentVolumeClaim", {}, {"phase": "Bound"}), GOOD, "bound", "phase"),
    ("claim lost", obj("v1 PersistentVolumeClaim", {}, {"phase": "Lost"}), BAD, "lost", "phase"),
    ("namespace going", obj("v1 Namespace", {}, {"phase": "Terminating"}), BUSY, "being deleted", "phase"),
    (
        "crd served",
        obj("apiextensions.k8s.io/v1 CustomResourceDefinition", {}, {"conditions": [condition("Established")]}),
        GOOD,
        "served",
        "conditions[Established]",
    ),
    (
        "crd name taken",
        obj("apiextensions.k8s.io/v1 CustomResourceDefinition", {}, {"conditions": [condition("NamesAccepted", "False", "Conflict")]}),
        BAD,
        "Conflict",
        "conditions[NamesAccepted]",
    ),
    (
        "scaler blind",
        obj("autoscaling/v2 HorizontalPodAutoscaler", {}, {"conditions": [condition("ScalingActive", "False", "FailedGetResourceMetric")]}),
        BAD,
        "FailedGetResourceMetric",
        "conditions[ScalingActive]",
    ),
    (
        "scaler at zero",
        obj(
            "autoscaling/v2 HorizontalPodAutoscaler",
            {},
            {"conditions": [condition("AbleToScale"), condition("ScalingActive", "False", "ScalingDisabled")]},
        ),
        GOOD,
        "AbleToScale",
        "conditions[AbleToScale]",
    ),
    ("gateway new", obj("gateway.networking.k8s.io/v1 Gateway"), BUSY, "no controller", "conditions[Accepted]"),
    (
        "route refused",
        obj(
            "gateway.networking.k8s.io/v1 HTTPRoute",
            {},
            {"parents": [{"conditions": [condition("ResolvedRefs", "False", "BackendNotFound")]}]},
        ),
        BAD,
        "BackendNotFound",
        "conditions[ResolvedRefs]",
    ),
    ("custom, silent", obj("example.com/v1 Thing"), GOOD, "nothing about its health", ""),
    ("custom, ready", obj("example.com/v1 Thing", {}, {"conditions": [condition("Ready")]}), GOOD, "Ready", "conditions[Ready]"),
    (
        "custom, waits",
        obj("example.com/v1 Thing", {}, {"conditions": [condition("Ready", "False", "Pending")]}),
        BUSY,
        "Pending",
        "conditions[Ready]",
    ),
    (
        "custom, broken",
        obj("example.com/v1 Thing", {}, {"conditions": [condition("Ready", "False", "SecretNotFound")]}),
        BAD,
        "SecretNotFound",
        "conditions[Ready]",
    ),
    (
        "custom, stalled",
        obj("example.com/v1 Thing", {}, {"conditions": [condition("Ready"), condition("Stalled", "True", "Quota")]}),
        BAD,
        "Quota",
        "conditions[Stalled]",
    ),
    ("custom, phase", obj("example.com/v1 Thing", {}, {"phase": "Failed"}), BAD, "failed", "status.phase"),
    (
        "custom, condition of an older generation",
        obj("example.com/v1 Thing", {}, {"conditions": [{**condition("Ready"), "observedGeneration": 1}]}, generation=2),
        BUSY,
        "Ready",
        "conditions[Ready]",
    ),
    (
        "being deleted",
        obj("v1 ConfigMap", deletionTimestamp="2026-03-01T09:00:00Z", finalizers=["example.com/hold"]),
        BUSY,
        "held by example.com/hold",
        "deletionTimestamp",
    ),
]


@pytest.mark.parametrize(("live", "health", "says", "field"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_kind_says_how_it_is_and_which_field_says_so(live: dict[str, Any], health: Health, says: str, field: str) -> None:
    """The verdict, its words and the deciding field are those of the state that the object is in."""
    found = judge(live)
    assert (found.health, says in found.found, field in found.field) == (health, True, True), found


@pytest.mark.parametrize("kind", sorted({case[1]["apiVersion"] + " " + case[1]["kind"] for case in CASES}))
@pytest.mark.parametrize("junk", [None, [], "x", 7, {"conditions": "x"}, {"conditions": [None, 3]}, {"containerStatuses": {}}])
def test_an_object_that_is_not_as_it_should_be_never_breaks_the_judge(kind: str, junk: Any) -> None:
    """Whatever a cluster answers, there is a verdict: a health rule is no place to fail."""
    live = obj(kind)
    live["status"] = junk
    live["spec"] = junk
    assert judge(live).health in Health


def test_a_whole_is_as_bad_as_its_worst_part() -> None:
    """Degraded outweighs progressing, which outweighs healthy; nothing at all is healthy."""
    parts = [Verdict(GOOD, ""), Verdict(BUSY, "")]
    assert worst(parts) is BUSY
    assert worst([*parts, Verdict(BAD, "")]) is BAD
    assert worst([]) is GOOD
