"""A render taken apart into revisions: names, selectors, what is read, and what cannot run in two of them."""

import copy
from typing import Any

import pytest
import yaml

from setpoint.core.errors import ConfigError
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.revisions import HASH, apart, narrowed, of_revision
from unit.rollout_cluster import MANIFESTS, ROUTE, objects_of

POD = """
volumes:
  - {name: a, configMap: {name: web}}
  - {name: b, secret: {secretName: keys}}
  - {name: c, projected: {sources: [{configMap: {name: web}}, {secret: {name: keys}}, {configMap: {name: others}}]}}
imagePullSecrets: [{name: keys}]
initContainers: [{name: i, image: x, env: [{name: A, valueFrom: {configMapKeyRef: {name: web, key: text}}}]}]
containers: [{name: w, image: x, envFrom: [{secretRef: {name: keys}}], env: [{name: B, valueFrom: {secretKeyRef: {name: keys, key: k}}}]}]
"""
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "prod"}, "data": {"k": "djE="}}


def _with(objects: tuple[Object, ...], kind: str, **spec: Any) -> tuple[Object, ...]:
    found: list[dict[str, Any]] = [copy.deepcopy(dict(one)) for one in objects]
    for one in found:
        if one["kind"] == kind:
            one["spec"] |= spec
    return tuple(found)


def test_a_revision_has_objects_of_its_own_and_reads_its_own() -> None:
    """Deployment, Service and what the pods read end in the hash, which labels and selectors carry; the rendered ConfigMap stays."""
    found = apart(objects_of("1"))
    (one,) = found.revisions.values()
    assert of_revision(one.key.name) == ("web", one.hash)
    spec = one.deployment["spec"]
    assert spec["selector"]["matchLabels"] == {"app": "web", HASH: one.hash}
    assert spec["template"]["metadata"]["labels"] == {"app": "web", HASH: one.hash}
    assert spec["template"]["spec"]["containers"][0]["envFrom"] == [{"configMapRef": {"name": f"web-{one.hash}"}}]
    service = next(part for part in one.parts if part["kind"] == "Service")
    assert service["spec"] == {"selector": {"app": "web", HASH: one.hash}, "ports": [{"port": 80, "targetPort": 8080}]}
    assert [ObjectKey.of(rest).subject for rest in found.rest] == ["ConfigMap/web"]
    assert found.routed
    assert dict(found.services) == {"web": "web"}


def test_every_way_to_read_is_followed_and_pull_secrets_are_not() -> None:
    """Volumes, projected ones, single keys and whole objects; what the render does not have keeps its name."""
    objects = [copy.deepcopy(dict(one)) for one in objects_of("1")]
    objects[1]["spec"]["template"]["spec"] = yaml.safe_load(POD)
    (one,) = apart([*objects, SECRET]).revisions.values()
    text = str(one.deployment["spec"]["template"]["spec"])
    assert text.count(f"'web-{one.hash}'") == 3
    assert text.count(f"'keys-{one.hash}'") == 4
    assert "'others'" in text
    assert "'imagePullSecrets': [{'name': 'keys'}]" in text
    assert {(part["kind"], part["metadata"]["name"]) for part in one.parts} >= {("Secret", f"keys-{one.hash}")}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda objects: objects[1]["spec"].update(replicas=9), True),
        (lambda objects: objects[1]["metadata"].update(labels={"team": "a"}), True),
        (lambda objects: objects[0]["data"].update(text="other"), False),
        (lambda objects: objects[1]["spec"]["template"]["spec"].update(priorityClassName="high"), False),
        (lambda objects: [one["metadata"].update(namespace="staging") for one in objects], False),
    ],
)
def test_only_what_makes_a_pod_another_makes_another_revision(change: Any, same: bool) -> None:  # noqa: FBT001 - a parameter
    """Replicas and labels of the Deployment do not; pods, what they read, and the namespace do."""
    objects = [copy.deepcopy(dict(one)) for one in objects_of("1")]
    change(objects)
    assert (apart(objects).hashes == apart(objects_of("1")).hashes) is same


def test_without_a_route_what_a_service_leads_to_is_a_revision_and_nothing_else() -> None:
    """A worker stays plain; with a route somewhere only what is routed is split."""
    worker = copy.deepcopy(dict(objects_of("1")[1]))
    worker["metadata"] = {"name": "worker", "namespace": "prod"}
    worker["spec"]["selector"] = {"matchLabels": {"app": "worker"}}
    worker["spec"]["template"]["metadata"] = {"labels": {"app": "worker"}}
    found = apart([*objects_of("1", MANIFESTS), worker])
    assert (found.routed, set(found.revisions)) == (False, {"web"})
    assert ObjectKey.of(worker) in {ObjectKey.of(one) for one in found.rest}
    second = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "worker", "namespace": "prod"},
        "spec": {"selector": {"app": "worker"}, "ports": [{"port": 80}]},
    }
    assert set(apart([*objects_of("1", MANIFESTS), worker, second]).revisions) == {"web", "worker"}
    assert set(apart([*objects_of("1", MANIFESTS + ROUTE), worker, second]).revisions) == {"web"}


def test_what_cannot_run_in_two_revisions_is_refused_with_all_of_its_reasons() -> None:
    """Recreate, a pause, and an autoscaler that names the Deployment; a budget selects pods, and stays."""
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "prod"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    }
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "prod"}, "spec": {}}
    objects = _with(objects_of("1"), "Deployment", strategy={"type": "Recreate"}, paused=True)
    with pytest.raises(ConfigError) as caught:
        apart([*objects, scaler, budget])
    assert [finding.code for finding in caught.value.findings] == ["SP651"] * 3
    assert apart([*objects_of("1"), budget]).rest[-1] is budget


def test_a_narrowed_service_leads_to_one_revision() -> None:
    """The selector that people wrote stays a part of it."""
    service = next(one for one in objects_of("1") if one["kind"] == "Service")
    assert narrowed(service, "abc")["spec"]["selector"] == {"app": "web", HASH: "abc"}
    assert "setpoint.dev" not in str(service)
