"""What differs between live and desired: only fields that we declare or own, each with who wrote it, and never a Secret's value."""

import copy
from typing import Any

import pytest

from setpoint.reconcile.cluster.difference import compare, examine
from setpoint.reconcile.cluster.immutable import is_refused_as_immutable, why_replaced
from setpoint.reconcile.cluster.normalise import fingerprint, prepare, quantity

SCALED = "2026-11-25T06:05:00Z"


def manifest() -> dict[str, Any]:
    """Return a Deployment as somebody writes it."""
    container = {
        "name": "web",
        "image": "r/web@sha256:1",
        "args": ["serve"],
        "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
        "env": [{"name": "LEVEL", "value": ""}, {"name": "TOKEN", "value": "hunter2"}],
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def owned(
    manager: str, fields: dict[str, Any], operation: str = "Apply", time: str = "2026-11-25T06:00:00Z", sub: str = ""
) -> dict[str, Any]:
    """Return an entry of managedFields."""
    row = {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}
    return row | ({"subresource": sub} if sub else {})


def live() -> dict[str, Any]:
    """Return what Kubernetes 1.34 makes of it: defaults, canonical quantities, empty values left out, fields owned as declared."""
    found = manifest()
    found["metadata"] |= {"uid": "1", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-11-25T06:00:00Z"}
    found["spec"] |= {"progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}
    pod = found["spec"]["template"]["spec"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    web = pod["containers"][0]
    web |= {"imagePullPolicy": "IfNotPresent", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    web["ports"][0]["protocol"] = "TCP"
    del web["env"][0]["value"]
    item: dict[str, Any] = {
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:args": {},
        "f:ports": {
            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
            'k:{"containerPort":80,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
        },
        "f:env": {
            'k:{"name":"LEVEL"}': {".": {}, "f:name": {}, "f:value": {}},
            'k:{"name":"TOKEN"}': {".": {}, "f:name": {}, "f:value": {}},
        },
        "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
    }
    template = {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:nodeSelector": {}, "f:containers": {'k:{"name":"web"}': item}}}
    fields = {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:strategy": {}, "f:template": template}}
    found["metadata"]["managedFields"] = [owned("setpoint", fields)]
    found["status"] = {"replicas": 2}
    return found


def web_of(value: dict[str, Any]) -> dict[str, Any]:
    """Return the container."""
    found: dict[str, Any] = value["spec"]["template"]["spec"]["containers"][0]
    return found


def mine(value: dict[str, Any]) -> dict[str, Any]:
    """Return our fieldsV1."""
    found: dict[str, Any] = value["metadata"]["managedFields"][0]["fieldsV1"]
    return found


def test_an_unchanged_world_is_in_step_without_asking_anybody() -> None:
    """Defaults, quantities, omitted values, status and the order of keys are no difference, and that is certain."""
    found = examine(live(), prepare(manifest()), "setpoint")
    assert found.in_step
    assert found.sure


def test_a_dry_run_that_changes_nothing_is_no_difference() -> None:
    """The same object with another time of ours is in step."""
    after = live()
    after["metadata"] |= {"resourceVersion": "9", "generation": 2}
    after["metadata"]["managedFields"][0]["time"] = SCALED
    found = compare(live(), after, "setpoint")
    assert (found.in_step, found.others, found.sure) == (True, (), True)


def scaled() -> dict[str, Any]:
    """Return the object after `kubectl scale`: the field belongs to another writer."""
    found = live()
    found["spec"]["replicas"] = 5
    del mine(found)["f:spec"]["f:replicas"]
    found["metadata"]["managedFields"].append(owned("kubectl", {"f:spec": {"f:replicas": {}}}, "Update", SCALED, "scale"))
    return found


def test_one_changed_field_is_one_difference_with_its_writer() -> None:
    """Who scaled by hand is named, with the way it went, whether the server was asked or not."""
    after = live()
    for found in (examine(scaled(), prepare(manifest()), "setpoint"), compare(scaled(), after, "setpoint")):
        assert [(one.path, one.change.before, one.change.after, str(one.writer), one.replaces) for one in found.differences] == [
            ("spec.replicas", 5, 2, "kubectl (scale)", "")
        ]


def test_a_field_that_nobody_declares_is_never_a_difference() -> None:
    """An autoscaler's replicas, a webhook's sidecar and annotation, a default: the manifest leaves them out, so they are not ours."""
    wanted = manifest()
    del wanted["spec"]["replicas"]
    found = scaled()
    found["metadata"]["annotations"] = {"injected": "yes"}
    found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "image": "s"})
    assert examine(found, prepare(wanted), "setpoint").in_step


def test_a_key_that_is_removed_from_the_manifest_is_removed_unless_another_owns_it() -> None:
    """What we declared and leave out goes; with a second owner it stays, and is only no longer ours."""
    wanted = manifest()
    del web_of(wanted)["args"]
    found = examine(live(), prepare(wanted), "setpoint")
    assert [(one.path, one.change.before, one.change.after) for one in found.differences] == [
        ("spec.template.spec.containers[web].args", ["serve"], None)
    ]
    shared = live()
    item: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:args": {}}}}}}}
    shared["metadata"]["managedFields"].append(owned("helper", item, "Update"))
    kept = examine(shared, prepare(wanted), "setpoint")
    assert (kept.differences, kept.releases) == ((), ("spec.template.spec.containers[web].args",))


def test_an_item_that_is_removed_or_added_is_told_by_its_fields() -> None:
    """The keys of the item are in the path already and are not told once more."""
    wanted = manifest()
    web_of(wanted)["env"] = [{"name": "LEVEL", "value": ""}, {"name": "MODE", "value": "fast"}]
    web_of(wanted)["ports"].pop()
    found = examine(live(), prepare(wanted), "setpoint")
    text = "spec.template.spec.containers[web]"
    assert [(one.path, one.change.before, one.change.after) for one in found.differences] == [
        (f"{text}.ports[80/UDP].containerPort", 80, None),
        (f"{text}.ports[80/UDP].protocol", "UDP", None),
        (f"{text}.env[MODE].value", None, "fast"),
        (f"{text}.env[TOKEN].value", "***", None),
    ]


def test_the_order_of_items_counts() -> None:
    """Environment variables refer to earlier ones, so another order is another template."""
    wanted = manifest()
    web_of(wanted)["env"].reverse()
    found = examine(live(), prepare(wanted), "setpoint")
    assert [(one.path, one.change.before, one.change.after) for one in found.differences] == [
        ("spec.template.spec.containers[web].env", "LEVEL, TOKEN", "TOKEN, LEVEL")
    ]
    after = live()
    web_of(after)["env"].reverse()
    assert [one.path for one in compare(live(), after, "setpoint").differences] == ["spec.template.spec.containers[web].env"]


def test_an_object_of_somebody_else_is_claimed_and_not_changed() -> None:
    """With the same values and another owner an apply changes no value, and still has to be made: else a change later is nobody's."""
    foreign = live()
    foreign["metadata"]["managedFields"][0]["manager"] = "kubectl"
    found = examine(foreign, prepare(manifest()), "setpoint")
    assert found.differences == ()
    assert found.claims
    assert not found.in_step
    sure = compare(foreign, live(), "setpoint")
    assert sure.differences == ()
    assert "spec.template.spec.containers[web].image" in sure.claims


def test_what_a_webhook_changes_besides_is_told_apart() -> None:
    """A time stamp that a webhook writes at each apply is no difference of ours, and no reason to write."""
    after = live()
    after["metadata"]["annotations"] = {"touched-at": "now"}
    found = compare(live(), after, "setpoint")
    assert found.in_step
    assert [(one.path, one.after) for one in found.others] == [("metadata.annotations.touched-at", "now")]


def test_a_value_that_counts_as_one_is_compared_as_one() -> None:
    """A part that somebody added to a node selector is a difference, for an apply sets the selector as a whole."""
    found = live()
    found["spec"]["template"]["spec"]["nodeSelector"]["zone"] = "a"
    selector = mine(found)["f:spec"]["f:template"]["f:spec"].pop("f:nodeSelector")
    fields = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": selector}}}}
    found["metadata"]["managedFields"].append(owned("kubectl-edit", fields, "Update", SCALED))
    seen = compare(found, live(), "setpoint").differences
    assert [(one.path, one.change.before, one.change.after, str(one.writer)) for one in seen] == [
        ("spec.template.spec.nodeSelector.zone", "a", None, "kubectl-edit")
    ]
    alone = examine(found, prepare(manifest()), "setpoint")
    assert [one.path for one in alone.differences] == ["spec.template.spec.nodeSelector.zone"]


def test_an_empty_item_says_something_by_being_there() -> None:
    """A NetworkPolicy whose only rule is empty allows everything; one without a rule allows nothing."""
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x"}, "spec": {"podSelector": {}}}
    fields: dict[str, Any] = {"f:spec": {"f:ingress": {}, "f:podSelector": {}}}
    live: dict[str, Any] = copy.deepcopy(policy)
    live["metadata"]["managedFields"] = [owned("setpoint", fields) | {"apiVersion": "networking.k8s.io/v1"}]
    live["spec"]["ingress"] = [{}]
    closed: dict[str, Any] = copy.deepcopy(live)
    closed["spec"]["ingress"] = []
    wanted: dict[str, Any] = copy.deepcopy(policy)
    wanted["spec"]["ingress"] = []
    assert [one.path for one in examine(live, wanted, "setpoint").differences] == ["spec.ingress[0]"]
    assert [one.path for one in compare(live, closed, "setpoint").differences] == ["spec.ingress[0]"]
    assert [one.path for one in compare(closed, live, "setpoint").differences] == ["spec.ingress[0]"]
    assert examine(closed, wanted, "setpoint").in_step


def policy_pair(live_spec: dict[str, Any], wanted_spec: dict[str, Any], *owned_fields: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a live NetworkPolicy of which some fields of the spec are ours as a whole, and a manifest."""
    base = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x"}}
    fields: dict[str, Any] = {"f:spec": {f"f:{name}": {} for name in owned_fields}}
    rows = [owned("setpoint", fields) | {"apiVersion": "networking.k8s.io/v1"}]
    return base | {"metadata": {"name": "x", "managedFields": rows}, "spec": live_spec}, base | {"spec": wanted_spec}


def test_a_default_is_only_one_in_what_is_declared() -> None:
    """The protocol of a port that is declared may be filled in; that of a port which goes away goes too."""
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]
    pair = policy_pair({"ingress": [{"ports": ports}]}, {"ingress": [{"ports": [{"port": 80}]}]}, "ingress")
    assert [one.path for one in examine(*pair, "setpoint").differences] == [
        "spec.ingress[0].ports[81].port",
        "spec.ingress[0].ports[81].protocol",
    ]
    same = policy_pair({"ingress": [{"ports": ports[:1]}]}, {"ingress": [{"ports": [{"port": 80}]}]}, "ingress")
    assert examine(*same, "setpoint").in_step


def test_an_empty_selector_inside_a_whole_is_something() -> None:
    """Owning the rules does not mean that an empty selector in them was written and left out: it selects everything."""
    wanted = {"ingress": [{"from": [{"podSelector": {}, "namespaceSelector": {"a": "b"}}]}]}
    pair = policy_pair({"ingress": [{"from": [{"namespaceSelector": {"a": "b"}}]}]}, wanted, "ingress")
    assert [one.path for one in examine(*pair, "setpoint").differences] == ["spec.ingress[0].from[0].podSelector"]
    gone = policy_pair(wanted, {"ingress": [{"from": [{"namespaceSelector": {"a": "b"}}]}]}, "ingress")
    assert [one.path for one in examine(*gone, "setpoint").differences] == ["spec.ingress[0].from[0].podSelector"]


def test_what_was_applied_in_another_version_is_claimed_anew() -> None:
    """The paths of an older version of a kind may not be those of the manifest's, so nothing is proved by them."""
    found = live()
    found["metadata"]["managedFields"][0]["apiVersion"] = "apps/v1beta1"
    assert examine(found, prepare(manifest()), "setpoint").claims == ("apiVersion",)


def test_an_empty_mapping_is_claimed_for_itself() -> None:
    """Declaring an empty spec is another claim than declaring a field of it."""
    pair = policy_pair({"egress": None}, {}, "egress")
    assert examine(*pair, "setpoint").claims == ("spec",)
    assert policy_pair({}, {}, "egress")[1]["spec"] == {}


def test_false_that_is_left_out_is_said_as_false() -> None:
    """The server writes no `paused: false`; what is desired is told all the same."""
    paused, after = live(), live()
    mine(after)["f:spec"]["f:paused"] = {}
    paused["spec"]["paused"] = True
    seen = compare(paused, after, "setpoint").differences
    assert [(one.path, one.change.before, one.change.after) for one in seen] == [("spec.paused", True, False)]


def test_an_empty_entry_of_a_map_is_an_entry() -> None:
    """A key with an empty value is not left out when it is written, so when it is not there it is missing."""
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}
    found["metadata"]["managedFields"] = [owned("setpoint", {"f:data": {"f:a": {}}}) | {"apiVersion": "v1"}]
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": ""}}
    assert [one.path for one in examine(found, wanted, "setpoint").differences] == ["data.a"]


def test_true_is_not_one() -> None:
    """A custom object may hold either."""
    custom: dict[str, Any] = {"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "x"}, "spec": {"a": True}}
    assert len(examine(custom, custom | {"spec": {"a": 1}}, "setpoint").differences) == 1
    held = live()
    held["spec"]["replicas"] = True
    wanted = manifest()
    wanted["spec"]["replicas"] = 1
    assert [one.path for one in examine(held, wanted, "setpoint").differences] == ["spec.replicas"]


def test_what_we_applied_through_a_subresource_is_not_the_object() -> None:
    """A status or a scale that somebody of our name applied says nothing about the manifest's fields."""
    found = live()
    found["metadata"]["managedFields"].append(owned("setpoint", {"f:spec": {"f:paused": {}}}, sub="scale"))
    found["spec"]["paused"] = True
    assert examine(found, prepare(manifest()), "setpoint").in_step


def test_items_with_other_keys_are_others() -> None:
    """A port that became another one is one that came and one that went, never one whose every field changed."""
    wanted = manifest()
    web_of(wanted)["ports"] = [{"containerPort": 90}]
    found = [one.path.rpartition(".ports")[2] for one in examine(live(), prepare(wanted), "setpoint").differences]
    assert found == ["[90].containerPort", "[80].containerPort", "[80/UDP].containerPort", "[80/UDP].protocol"]


def secret(value: str, name: str = "password") -> dict[str, Any]:
    """Return a live Secret."""
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {name: value}}
    found["metadata"]["managedFields"] = [owned("setpoint", {"f:data": {f"f:{name}": {}}}) | {"apiVersion": "v1"}]
    return found


@pytest.mark.parametrize("name", ["password", "name", "key", "anything"])
def test_a_secret_is_hidden_and_yet_comparable(name: str) -> None:
    """Whatever its name, no value of a Secret is shown; with a key equal values look equal and others do not."""
    seen = compare(secret("b25l", name), secret("dHdv", name), "setpoint").differences[0].change
    assert (seen.before, seen.after) == ("***", "*** (changed)")
    keyed = compare(secret("b25l", name), secret("dHdv", name), "setpoint", b"k").differences[0].change
    back = compare(secret("dHdv", name), secret("b25l", name), "setpoint", b"k").differences[0].change
    other = compare(secret("b25l", name), secret("dHdv", name), "setpoint", b"another").differences[0].change
    assert (keyed.before, keyed.after) == (back.after, back.before)
    assert keyed.before != keyed.after
    assert keyed != other
    assert "b25l" not in str(keyed)


def test_secret_texts_are_compared_as_the_server_keeps_them() -> None:
    """Texts are folded into data, base64 is compared decoded, and kubectl's copy of the manifest is never looked at."""
    wanted = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "one"}}
    found = secret("b25l")
    found["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": '{"stringData":{"password":"one"}}'}
    assert prepare(wanted)["data"] == {"password": "b25l"}
    assert examine(found, prepare(wanted), "setpoint").in_step
    assert examine(found, prepare(wanted | {"stringData": {"password": "two"}}), "setpoint").differences[0].change.after == "*** (changed)"
    folded = copy.deepcopy(wanted) | {"data": {"password": "b25\nl"}}
    del folded["stringData"]
    assert examine(found, prepare(folded), "setpoint").in_step


def test_only_what_a_person_can_have_written_is_prepared() -> None:
    """Nulls, server fields, status and placeholders for a certificate are left out; a custom object keeps its nulls."""
    hook: dict[str, Any] = {"name": "x.io", "clientConfig": {"caBundle": "Cg==", "service": None}}
    found = prepare(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "x", "creationTimestamp": None, "resourceVersion": "1", "uid": "2", "labels": None},
            "webhooks": [hook],
            "status": {},
        }
    )
    assert found == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "x"},
        "webhooks": [{"name": "x.io", "clientConfig": {}}],
    }
    custom = {"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "x"}, "spec": {"a": None}}
    assert prepare(custom)["spec"] == {"a": None}


@pytest.mark.parametrize(
    ("one", "other"),
    [("1000m", "1"), (1, "1"), ("1Gi", "1024Mi"), ("1e3", "1k"), ("0.5", "500m"), ("1E3", 1000), (".5", "0.5"), ("100n", "0.1u")],
)
def test_quantities_that_are_one(one: Any, other: Any) -> None:
    """Written differently, the same amount (apimachinery, resource.Quantity)."""
    assert quantity(one) == quantity(other) is not None


@pytest.mark.parametrize("text", ["1Gib", "", "m", "1 Gi", "0x10", True, None, "1e"])
def test_what_is_no_quantity(text: Any) -> None:
    """Nothing else is taken for an amount."""
    assert quantity(text) is None


def test_amounts_are_only_equal_where_kubernetes_has_amounts() -> None:
    """The value of a variable is text, and a custom object stays as it was written."""
    found = live()
    web_of(found)["env"][1]["value"] = "1000m"
    wanted = manifest()
    web_of(wanted)["env"][1]["value"] = "1"
    assert len(examine(found, prepare(wanted), "setpoint").differences) == 1
    custom: dict[str, Any] = {"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "x"}, "spec": {"limits": {"cpu": "1"}}}
    stored = copy.deepcopy(custom)
    stored["spec"]["limits"]["cpu"] = "1000m"
    assert len(examine(stored, prepare(custom), "setpoint").differences) == 1


def test_a_fingerprint_stays_while_only_the_status_changes() -> None:
    """A verdict holds until content or ownership changes; times, status and versions are neither."""
    first, later = live(), live()
    later["status"] = {"replicas": 3}
    later["metadata"] |= {"resourceVersion": "8", "generation": 2}
    later["metadata"]["managedFields"].append(owned("kcm", {"f:status": {}}, "Update", SCALED, "status"))
    later["metadata"]["managedFields"][0]["time"] = SCALED
    assert fingerprint(first) == fingerprint(later)
    assert fingerprint(first) != fingerprint(scaled())
    shared = live()
    shared["metadata"]["managedFields"].append(owned("other", {"f:spec": {"f:replicas": {}}}))
    assert fingerprint(first) != fingerprint(shared)


@pytest.mark.parametrize(
    ("value", "path", "replaced"),
    [
        ("apps/v1 Deployment", "spec selector matchLabels", True),
        ("apps/v1 Deployment", "spec template", False),
        ("apps/v1 StatefulSet", "spec serviceName", True),
        ("apps/v1 StatefulSet", "spec volumeClaimTemplates", True),
        ("apps/v1 StatefulSet", "spec replicas", False),
        ("apps/v1 StatefulSet", "metadata labels", False),
        ("batch/v1 Job", "spec template spec", True),
        ("batch/v1 Job", "spec parallelism", False),
        ("v1 PersistentVolumeClaim", "spec storageClassName", True),
        ("v1 PersistentVolumeClaim", "spec resources requests", False),
        ("v1 Service", "spec clusterIP", True),
        ("v1 Service", "spec ports", False),
        ("v1 Secret", "type", True),
        ("v1 Secret", "data", False),
        ("rbac.authorization.k8s.io/v1 RoleBinding", "roleRef name", True),
        ("rbac.authorization.k8s.io/v1 RoleBinding", "subjects", False),
        ("storage.k8s.io/v1 StorageClass", "parameters", True),
        ("storage.k8s.io/v1 StorageClass", "allowVolumeExpansion", False),
        ("example.com/v1 Deployment", "spec selector", False),
    ],
)
def test_fields_that_cannot_be_changed_in_place(value: str, path: str, replaced: bool) -> None:  # noqa: FBT001
    """For them the object is deleted and made again, and a plan says so beforehand."""
    api_version, kind = value.split(" ")
    spec = {"clusterIP": "10.0.0.1"}
    why = why_replaced({"apiVersion": api_version, "kind": kind, "spec": spec}, tuple(f"f:{name}" for name in path.split(" ")), "x")
    assert bool(why) is replaced


def test_the_content_of_what_is_immutable_cannot_be_changed() -> None:
    """A ConfigMap or Secret that is marked so is replaced, its labels are not."""
    value = {"apiVersion": "v1", "kind": "ConfigMap", "immutable": True}
    assert why_replaced(value, ("f:data", "f:a"), "x") == "the ConfigMap is immutable"
    assert why_replaced(value, ("f:metadata", "f:labels"), "x") == ""
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "10.0.0.1"}}
    assert why_replaced(service, ("f:spec", "f:clusterIP"), None) == ""
    assert why_replaced(service | {"spec": {}}, ("f:spec", "f:clusterIP"), "10.0.0.2") == ""
    assert why_replaced({"apiVersion": "v1", "kind": "Secret"}, ("f:data", "f:a"), "x") == ""
    assert is_refused_as_immutable('Service "a" is invalid: spec.clusterIPs[0]: Invalid value: may not change once set')
    assert not is_refused_as_immutable("spec.ports: Required value")
