"""Health verdicts on objects of a real cluster, in states that its own controllers bring about."""

from typing import Any

import pytest

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client
from setpoint.reconcile.health.kinds import judge
from setpoint.reconcile.health.model import Verdict
from setpoint.reconcile.model import Health


def template(command: str, restart: str = "Always") -> dict[str, Any]:
    """Return a pod template that runs a shell command."""
    container = {"name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"metadata": {"labels": {"app": "x"}}, "spec": spec}


def workload(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return an object called x."""
    api_version, name = kind.split(" ")
    return {"apiVersion": api_version, "kind": name, "metadata": {"name": "x"}, "spec": spec}


def deployment(command: str, **spec: Any) -> dict[str, Any]:
    """Return a Deployment of one replica."""
    return workload("apps/v1 Deployment", {"selector": {"matchLabels": {"app": "x"}}, "template": template(command), **spec})


# Without minReadySeconds a container that runs for a moment counts as available, and a Deployment that was complete once is never late.
@pytest.mark.parametrize(
    ("manifest", "health", "says"),
    [
        (deployment("sleep 3600"), Health.HEALTHY, "1 of 1"),
        (deployment("exit 3", progressDeadlineSeconds=3, minReadySeconds=2), Health.DEGRADED, "ProgressDeadlineExceeded"),
        (workload("batch/v1 Job", {"template": template("true", "Never")}), Health.HEALTHY, ""),
        (workload("batch/v1 Job", {"template": template("exit 3", "Never"), "backoffLimit": 0}), Health.DEGRADED, "BackoffLimitExceeded"),
        (workload("v1 Pod", template("exit 3")["spec"]), Health.DEGRADED, "exit status 3"),
        (workload("v1 Pod", {"containers": [{"name": "main", "image": "127.0.0.1:1/none:1"}]}), Health.DEGRADED, "Err"),
    ],
    ids=["deployment runs", "deployment late", "job done", "job failed", "pod crashes", "image missing"],
)
def test_a_real_object_ends_in_the_verdict_of_its_state(world: World, manifest: dict[str, Any], health: Health, says: str) -> None:
    """What the cluster's own controllers write is understood; on the way there the object is progressing or gets worse, never unknown."""

    async def play(client: Client) -> list[Verdict]:
        kind = await client.kinds.of(manifest["apiVersion"], manifest["kind"])
        placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": world.namespace}}
        made = await client.apply(kind, placed, "setpoint")
        seen = [judge(made)]
        async for change in client.watch(kind, made["metadata"]["resourceVersion"], world.namespace):
            if change.what != "BOOKMARK":
                seen.append(judge(change.object))
            if seen[-1].health is health and says in seen[-1].found:
                return seen
        return seen

    seen = world.run(play)
    assert seen[0].health is Health.PROGRESSING, seen[0]
    assert {verdict.health for verdict in seen} <= {Health.PROGRESSING, Health.DEGRADED, health}
    assert seen[-1].health is health
