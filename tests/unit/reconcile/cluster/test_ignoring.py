"""Ignore rules of an environment: what they leave alone is told, what is judged is never left, and an idle rule is told."""

from typing import Any

import pytest

from setpoint.core.live_paths import is_path, leads, steps_of
from setpoint.promotion.config import parse_environment
from setpoint.promotion.ignoring import is_judged
from setpoint.reconcile.cluster import ignoring
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.decide import Action, Allowed, ObjectVerdict, Seen
from setpoint.reconcile.cluster.ignore import to_apply
from setpoint.reconcile.cluster.model import ObjectKey

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {kubernetes: {cluster: real, namespace: shop, registry: "registry.example.com/shop"}}
imagePaths: {Picture.example.com: [spec.show]}
drift:
  ignore:
"""


def rules(*lines: str) -> Any:
    """Return the environment file with these rules."""
    text = ENVIRONMENT + "".join(f"    - {line}\n" for line in lines)
    return parse_environment(text.encode(), "environments/p/environment.yaml").model


def deployment(image: str = "ours", *rows: dict[str, Any], **container: Any) -> dict[str, Any]:
    """Return a Deployment with one container."""
    pod = {"containers": [{"name": "web", "image": image, **container}]}
    meta = {"name": "web", "namespace": "shop"} | ({"managedFields": list(rows)} if rows else {})
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": {"spec": pod}}}


def owned(manager: str, operation: str, *names: str) -> dict[str, Any]:
    """Return what a manager owns of the container."""
    item: dict[str, Any] = {".": {}, "f:name": {}, **{f"f:{name}": {} for name in names}}
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': item}}}}}
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields}


def plan_of(manifest: dict[str, Any], live: dict[str, Any]) -> ObjectPlan:
    """Return a plan that rests."""
    return ObjectPlan(ObjectKey.of(manifest), manifest, Seen(live, known=True), ObjectVerdict(Action.NOTHING), Allowed("setpoint"))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (".spec.template.spec.containers[name=web].resources", ("spec", "template", "spec", "containers", "web", "resources")),
        ("spec.ports[port=53,protocol=UDP].nodePort", ("spec", "ports", "53/UDP", "nodePort")),
        ("spec.ports[port=80,protocol=TCP]", ("spec", "ports", "80")),
        ("/spec/template/spec/containers/name=web/env", ("spec", "template", "spec", "containers", "web", "env")),
        ('.metadata.annotations["a.b/c"]', ("metadata", "annotations", "a.b/c")),
    ],
)
def test_paths_are_read_however_people_write_them(text: str, steps: tuple[str, ...]) -> None:
    """A leading dot, list keys with their names, and JSON pointers mean what differences call the field."""
    assert is_path(text)
    assert steps_of(text) == steps
    assert leads(steps_of(text), (*steps, "below"))


def test_a_manager_whose_fields_are_ignored_cannot_bring_an_image() -> None:
    """Law 2: what it wrote is left alone but for what admission judges, at the diff and at the apply alike."""
    (rule,) = ignoring.rules_of(rules("{managers: [evil], why: w}"), "shop")
    live = deployment("theirs", owned("setpoint", "Apply"), owned("evil", "Update", "image", "workingDir"), workingDir="/theirs")
    wanted = deployment("ours", workingDir="/ours")
    found = to_apply(wanted, live, "setpoint", [rule])["spec"]["template"]["spec"]["containers"]
    assert found == [{"name": "web", "image": "ours"}]
    key = ObjectKey.of(live)
    assert rule.leaves(key, "spec.template.spec.containers[web].workingDir", "evil")
    assert not rule.leaves(key, "spec.template.spec.containers[web].image", "evil")
    assert not rule.leaves(key, "spec.template.spec.containers", "evil")
    assert not rule.leaves(ObjectKey("example.com", "Picture", "shop", "x"), "spec.show", "evil")


def test_an_image_in_a_custom_kind_is_judged_wherever_a_pod_may_lie() -> None:
    """Nobody knows where a custom kind holds pods: what looks like one counts."""
    assert is_judged("Thing.example.com", ("spec", "deep", "containers", "x", "image"), {})
    assert is_judged("Thing.example.com", ("spec", "deep", "containers"), {})
    assert not is_judged("Thing.example.com", ("spec", "deep", "containers", "x", "args"), {})


def test_what_is_left_alone_is_told_with_its_writer() -> None:
    """Who asks why sees the field, what was rendered, who wrote it and the rule's words; a value that moves is no news."""
    config = rules("{kind: Deployment, paths: ['.spec.template.spec.containers[*].workingDir'], why: set by the platform}")
    live = deployment("ours", owned("setpoint", "Apply", "image"), owned("platform", "Update", "workingDir"), workingDir="/b")
    manifest = deployment("ours", workingDir="/a")
    found = ignoring.told(config, {"shop": [manifest]}, {"shop": [plan_of(manifest, live)]})
    (reason,) = found["shop"]
    assert (reason.code, reason.subject, reason.severity) == ("FIELD_IGNORED", "Deployment/web", "info")
    field = "spec.template.spec.containers[web].workingDir"
    assert reason.found == f"{field} is platform's, not /a as rendered, and is left alone: set by the platform"


@pytest.mark.parametrize(
    ("rule", "idle"),
    [
        ("{kind: StatefulSet, paths: [.spec.replicas], why: w}", "there is no object that it is about"),
        ("{kind: Deployment, paths: [.spec.repicas], why: w}", "no object has a field that it names"),
        ("{kind: Deployment, name: other, managers: [x], why: w}", "there is no object that it is about"),
        ("{app: other, managers: [x], why: w}", "there is no object that it is about"),
        ("{kind: Deployment, paths: ['.spec.template.spec.containers[name=web].workingDir'], why: w}", ""),
        ("{kind: Deployment, paths: ['.spec.paused'], why: w}", ""),
        ("{managers: [x], why: w}", ""),
    ],
)
def test_a_rule_that_means_nothing_is_told(rule: str, idle: str) -> None:
    """A path may be in the render or only live; a manager may write at any time."""
    manifest, live = deployment(workingDir="/a"), deployment(workingDir="/a")
    live["spec"]["paused"] = True
    found = ignoring.told(rules(rule), {"shop": [manifest]}, {"shop": [plan_of(manifest, live)]})["shop"]
    assert [one.found for one in found] == ([f"{idle}: w"] if idle else [])
    assert [one.code for one in found] == (["IGNORE_MEANS_NOTHING"] if idle else [])


def test_an_application_that_was_not_looked_at_makes_no_rule_idle() -> None:
    """What is not known is not told."""
    config = rules("{kind: StatefulSet, paths: [.spec.replicas], why: w}")
    manifest = deployment()
    assert ignoring.told(config, {"shop": [manifest], "other": [manifest]}, {"shop": [plan_of(manifest, deployment())]})["shop"] == []


def test_a_rule_about_a_kind_of_kubernetes_means_no_custom_kind_of_that_name() -> None:
    """`Deployment` is not somebody's Deployment.example.com, and another application's objects are not meant."""
    config = rules("{kind: Deployment, app: sh*, paths: [.spec.replicas], why: w}")
    (rule,) = ignoring.rules_of(config, "shop")
    assert rule.concerns(ObjectKey("apps", "Deployment", "shop", "web"))
    assert not rule.concerns(ObjectKey("example.com", "Deployment", "shop", "web"))
    assert ignoring.rules_of(config, "other") == ()
