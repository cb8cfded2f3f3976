"""Objects of other tools become ours as a whole; fields that are somebody else's by choice are left alone."""

from typing import Any

import pytest

from setpoint.core.live_paths import steps_of
from setpoint.core.reasons import Outcome
from setpoint.reconcile.cluster import autoscale
from setpoint.reconcile.cluster.difference import examine
from setpoint.reconcile.cluster.ignore import IgnoreRule, reasons, sift, to_apply
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.takeover import former_managers, is_adopted, patch, taken

Fields = dict[str, Any]


def entry(manager: str, fields: Fields, operation: str = "Update", sub: str = "", time: str = "2026-11-25T06:00:00Z") -> dict[str, Any]:
    """Return an entry of managedFields."""
    row = {"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}
    return row | ({"subresource": sub} if sub else {})


def config(data: dict[str, str], *rows: dict[str, Any]) -> dict[str, Any]:
    """Return a live ConfigMap."""
    meta = {"name": "c", "namespace": "shop", "resourceVersion": "7", "managedFields": list(rows)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def wanted(data: dict[str, str]) -> dict[str, Any]:
    """Return a manifest of it."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}, "data": data}


def keys(*names: str) -> Fields:
    """Return the set of some keys of data."""
    return {"f:data": {f"f:{name}": {} for name in names}}


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "kubectl", "helm", "before-first-apply"])
def test_a_key_that_the_former_tool_set_is_removed_once_its_fields_are_ours(manager: str) -> None:
    """Before the take-over nobody would remove it; after it the comparison says so, and the rewritten entry is one, ours."""
    live = config({"a": "1", "old": "x"}, entry(manager, keys("a", "old")))
    assert not is_adopted(live, "setpoint")
    assert [writer.manager for writer in former_managers(live, "setpoint")] == [manager]
    assert examine(live, wanted({"a": "1"}), "setpoint").differences == ()
    after = taken(live, "setpoint")
    assert [(one.path, one.change.after) for one in examine(after, wanted({"a": "1"}), "setpoint").differences] == [("data.old", None)]
    change = patch(live, "setpoint")
    assert change is not None
    assert change["metadata"]["resourceVersion"] == "7"
    assert [(row["manager"], row["operation"], row["fieldsV1"]) for row in change["metadata"]["managedFields"]] == [
        ("setpoint", "Apply", keys("a", "old"))
    ]


def test_controllers_and_hand_edits_keep_what_is_theirs() -> None:
    """Who writes single fields is not taken over, nor what came through a subresource, nor a status."""
    rows = (
        entry("kubectl-client-side-apply", keys("a") | {"f:status": {"f:x": {}}}),
        entry("kubectl-edit", keys("b")),
        entry("kube-controller-manager", {"f:status": {}}, sub="status"),
        entry("kubectl", {"f:spec": {"f:replicas": {}}}, sub="scale"),
    )
    live = config({"a": "1", "b": "2"}, *rows)
    change = patch(live, "setpoint")
    assert change is not None
    managed = change["metadata"]["managedFields"]
    assert managed[0]["fieldsV1"] == keys("a")
    assert managed[1:] == list(rows[1:])


def test_what_is_ours_already_is_joined_and_a_second_time_there_is_nothing_to_do() -> None:
    """Our own entry and the former one are one set, and whoever looks again finds no former manager."""
    live = config({"a": "1", "b": "2"}, entry("setpoint", keys("a"), "Apply"), entry("helm", keys("b"), time="2026-11-25T07:00:00Z"))
    assert is_adopted(live, "setpoint")
    change = patch(live, "setpoint")
    assert change is not None
    assert change["metadata"]["managedFields"][0] | {"apiVersion": "v1"} == entry(
        "setpoint", keys("a", "b"), "Apply", time="2026-11-25T07:00:00Z"
    )
    assert patch(taken(live, "setpoint"), "setpoint") is None


def scaled(ours: bool, replicas: int = 5) -> dict[str, Any]:  # noqa: FBT001
    """Return a live Deployment whose replicas are ours, or the autoscaler's."""
    rows = [entry("setpoint", {"f:spec": {"f:paused": {}} | ({"f:replicas": {}} if ours else {})}, "Apply") | {"apiVersion": "apps/v1"}]
    if not ours:
        rows.append(entry("kube-controller-manager", {"f:spec": {"f:replicas": {}}}, sub="scale"))
    meta = {"name": "web", "namespace": "shop", "managedFields": rows}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas, "paused": True}}


def deployment(**spec: Any) -> dict[str, Any]:
    """Return its manifest."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def scaler(kind: str = "HorizontalPodAutoscaler", group: str = "autoscaling/v2", **target: str) -> dict[str, Any]:
    """Return an autoscaler of it."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"} | target
    meta = {"name": "web-scaler", "namespace": "shop"}
    return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": {"scaleTargetRef": reference}}


def test_replicas_that_an_autoscaler_sets_are_left_to_it_and_it_is_said() -> None:
    """With both, the difference is ignored, the field is not applied, and a reason says to remove it from the manifest."""
    every = autoscale.scaled([scaler()])
    rules = [one.rule for one in every]
    manifest, live = deployment(replicas=2, paused=True), scaled(ours=False)
    kept, ignored = sift(examine(live, manifest, "setpoint"), ObjectKey.of(live), rules)
    assert kept.in_step
    assert list(reasons(ignored)) == [
        "spec.replicas is 5, not 2 (writer kube-controller-manager (scale)): HorizontalPodAutoscaler/web-scaler sets it"
    ]
    assert to_apply(manifest, live, "setpoint", rules)["spec"] == {"paused": True}
    said = list(autoscale.reasons([manifest], every))
    assert [(reason.code, reason.outcome, reason.subject) for reason in said] == [("REPLICAS_SCALED", Outcome.ALLOW, "Deployment/web")]
    assert list(autoscale.reasons([deployment(paused=True)], every)) == []


def test_leaving_out_replicas_that_are_ours_alone_does_not_fall_back_to_one() -> None:
    """An apply that no longer declares them would take the value away: while the autoscaler has not written it, it is declared as it is."""
    rules = [one.rule for one in autoscale.scaled([scaler()])]
    assert to_apply(deployment(paused=True), scaled(ours=True), "setpoint", rules)["spec"] == {"paused": True, "replicas": 5}
    assert to_apply(deployment(replicas=2, paused=True), scaled(ours=True), "setpoint", rules)["spec"]["replicas"] == 5
    assert to_apply(deployment(replicas=2), None, "setpoint", rules)["spec"] == {"replicas": 2}


def test_only_the_workload_that_is_scaled_is_left_alone() -> None:
    """Another name, kind or namespace keeps its own number; KEDA's default is a Deployment."""
    keda = scaler("ScaledObject", "keda.sh/v1alpha1")
    del keda["spec"]["scaleTargetRef"]["kind"], keda["spec"]["scaleTargetRef"]["apiVersion"]
    found = autoscale.scaled([keda, scaler(name="other")])
    assert [one.target for one in found] == [
        ObjectKey("apps", "Deployment", "shop", "web"),
        ObjectKey("apps", "Deployment", "shop", "other"),
    ]
    assert autoscale.scaled([keda, scaler()])[0].scaler.kind == "ScaledObject"
    assert len(autoscale.scaled([keda, scaler()])) == 1
    assert not found[0].rule.concerns(ObjectKey("apps", "Deployment", "prod", "web"))
    assert not found[0].rule.concerns(ObjectKey("apps", "StatefulSet", "shop", "web"))


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("spec.replicas", "spec.replicas", True),
        ("spec", "spec.replicas", True),
        ("spec.replicas", "spec", False),
        ("spec.rep", "spec.replicas", False),
        ("spec.containers[*].image", "spec.containers[web].image", True),
        ("spec.containers[web].image", "spec.containers[db].image", False),
        ("/spec/containers/web/image", "spec.containers[web].image", True),
        ('metadata.annotations["a.b/c"]', 'metadata.annotations["a.b/c"]', True),
        ("/metadata/annotations/a.b~1c", 'metadata.annotations["a.b/c"]', True),
        ('metadata.annotations["a.b/*"]', 'metadata.annotations["a.b/c"]', True),
    ],
)
def test_paths_of_rules(pattern: str, path: str, meant: bool) -> None:  # noqa: FBT001
    """A rule names a field as differences are written or as a JSON pointer, and means what lies below too."""
    assert IgnoreRule((pattern,)).has_path(path) is meant
    assert steps_of('a.b["c.d"].e[f]') == ("a", "b", "c.d", "e", "f")


def test_a_manager_that_is_ignored_keeps_its_fields() -> None:
    """What it wrote last is no difference and is not applied; what others wrote is."""
    live = config(
        {"a": "theirs", "b": "hand"}, entry("setpoint", {}, "Apply"), entry("injector", keys("a")), entry("kubectl-edit", keys("b"))
    )
    rules = [IgnoreRule(managers=("inject*",), why="the injector's")]
    manifest = wanted({"a": "1", "b": "2"})
    kept, ignored = sift(examine(live, manifest, "setpoint"), ObjectKey.of(live), rules)
    assert [one.path for one in kept.differences] == ["data.b"]
    assert [one.difference.path for one in ignored] == ["data.a"]
    assert to_apply(manifest, live, "setpoint", rules)["data"] == {"b": "2"}


def test_an_ignored_default_and_a_shared_field_are_left_out() -> None:
    """What nobody owns is the server's and not declared; what we share stays with its other owner when the manifest leaves it out."""
    rules = [IgnoreRule(("data.a", "data.b"))]
    shared = config({"a": "x", "b": "y"}, entry("setpoint", keys("b"), "Apply"), entry("other", keys("b")))
    assert to_apply(wanted({"a": "1", "c": "2"}), shared, "setpoint", rules)["data"] == {"c": "2"}


def test_a_part_of_a_value_that_counts_as_one_is_adopted() -> None:
    """A node selector is applied as a whole, so an ignored key goes along with the value it has, also one that only live has."""
    selector: Fields = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}}
    live = scaled(ours=True)
    live["spec"]["template"] = {"spec": {"nodeSelector": {"disk": "hdd", "zone": "a", "arch": "x"}}}
    live["metadata"]["managedFields"].append(entry("kubectl-edit", selector))
    manifest = deployment(template={"spec": {"nodeSelector": {"disk": "ssd", "arch": "y"}}})
    path = "spec.template.spec.nodeSelector"
    found = to_apply(manifest, live, "setpoint", [IgnoreRule((f"{path}.disk", f"{path}.zone"))])
    assert found["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "hdd", "arch": "y", "zone": "a"}
    assert manifest["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd", "arch": "y"}


def test_the_keys_of_an_item_are_never_left_out() -> None:
    """A rule for a whole item leaves out its fields, but for its name and its image: what is judged is applied, whatever a rule says."""
    item = 'k:{"name":"web"}'
    rows = [entry("other", {"f:spec": {"f:containers": {item: {".": {}, "f:name": {}, "f:image": {}, "f:workingDir": {}}}}})]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "managedFields": rows}}
    live = pod | {"spec": {"containers": [{"name": "web", "image": "theirs", "workingDir": "/a"}]}}
    wanted_one = {"name": "web", "image": "ours", "workingDir": "/b"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [wanted_one]}}
    found = to_apply(manifest, live, "setpoint", [IgnoreRule(("spec.containers[web]",))])
    assert found["spec"]["containers"] == [{"name": "web", "image": "ours"}]
