"""Plans and differences are pure: what changes is named field by field, what only looks different is not, and no secret is shown."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from setpoint.reconcile.changes import FieldChange, field_changes
from setpoint.reconcile.model import Container, DesiredState, Identity, ReplicaSpec, ReplicaStatus, Route, Workload
from setpoint.reconcile.plan import lost_routes, object_changes, replica_differences, workload_changes

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web@sha256:1",
                        "args": ["--port", "80", "--api-key=one", "--password", "two"],
                        "env": [{"name": "LOG", "value": "info"}, {"name": "DB_PASSWORD", "value": "hunter2"}],
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                    }
                ]
            },
        },
    },
}
PLACE = "spec.template.spec.containers[web]"


def changed(edit: str) -> dict[str, Any]:
    """Return the Deployment after `edit`, statements over `spec` and `container`."""
    value = copy.deepcopy(DEPLOYMENT)
    spec = value["spec"]
    exec(edit, {"spec": spec, "container": spec["template"]["spec"]["containers"][0], "value": value})  # noqa: S102 - the test's own text
    return value


@pytest.mark.parametrize(
    "edit",
    [
        "spec['replicas'] = 1",
        "spec['strategy'] = {'type': 'RollingUpdate'}",
        "container['env'].reverse()",
        "container['ports'][0]['protocol'] = 'TCP'",
        "container['readinessProbe']['periodSeconds'] = 10",
        "spec['template']['spec']['terminationGracePeriodSeconds'] = 30",
        "value['status'] = {}; value['metadata']['creationTimestamp'] = None",
    ],
)
def test_what_means_the_same_is_no_change(edit: str) -> None:
    """Defaults that are written out, the order of merge lists, null and status change nothing, in both directions."""
    assert field_changes(DEPLOYMENT, changed(edit)) == ()
    assert field_changes(changed(edit), DEPLOYMENT) == ()


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        ("spec['replicas'] = 3", FieldChange("spec.replicas", 1, 3)),
        ("container['image'] = 'web@sha256:2'", FieldChange(f"{PLACE}.image", "web@sha256:1", "web@sha256:2")),
        ("container['env'][0]['value'] = 'debug'", FieldChange(f"{PLACE}.env[LOG].value", "info", "debug")),
        ("container['env'][0]['value'] = '1'", FieldChange(f"{PLACE}.env[LOG].value", "info", "1")),
        ("del container['env'][0]", FieldChange(f"{PLACE}.env[LOG].value", "info", None)),
        ("container['readinessProbe']['periodSeconds'] = 5", FieldChange(f"{PLACE}.readinessProbe.periodSeconds", 10, 5)),
        ("container['env'].append({'name': 'NEW', 'value': 'x'})", FieldChange(f"{PLACE}.env[NEW].value", None, "x")),
        ("container['env'].append({'name': 'NEW'})", FieldChange(f"{PLACE}.env[NEW].name", None, "NEW")),
        ("container['command'] = ['a', 'b']", FieldChange(f"{PLACE}.command", None, ["a", "b"])),
        (
            "value['metadata']['labels']['app.kubernetes.io/name'] = 'shop'",
            FieldChange('metadata.labels["app.kubernetes.io/name"]', "web", "shop"),
        ),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(edit: str, wanted: FieldChange) -> None:
    """The path leads to the field by the names people gave, and a left-out value reads as its default."""
    assert field_changes(DEPLOYMENT, changed(edit)) == (wanted,)


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        ("container['env'][1]['value'] = 'hunter3'", "***", "*** (changed)"),
        ("del container['env'][1]", "***", None),
        ("container['env'].append({'name': 'API_KEY', 'value': 'hunter3'})", None, "***"),
        ("container['env'][0]['value'] = 'http://u:hunter3@h/'", "info", "http://***@h/"),
        (
            "container['args'][2] = '--api-key=hunter3'",
            ["--port", "80", "--api-key=***", "--password", "***"],
            "['--port', '80', '--api-key=***', '--password', '***'] (changed)",
        ),
    ],
)
def test_what_looks_secret_is_masked_and_still_compared(edit: str, before: Any, after: Any) -> None:
    """Values under secret-looking names, credentials in URLs and in arguments are never shown; that they changed is."""
    (found,) = field_changes(DEPLOYMENT, changed(edit))
    assert (found.before, found.after) == (before, after)
    assert "hunter" not in json.dumps([found.before, found.after])


def test_secrets_and_configuration_texts_are_masked() -> None:
    """All data of a Secret, secret-looking keys of a ConfigMap, and secret-looking lines of its texts."""
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"user": "ann"}}
    (found,) = field_changes(secret, {**secret, "stringData": {"user": "eve"}})
    assert (found.path, found.before, found.after) == ("stringData.user", "***", "*** (changed)")
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"token": "a", "app.ini": "level=1\npassword = a\n"}}
    new = {**config, "data": {"token": "b", "app.ini": "level=2\npassword = b\n"}}
    found_all = {change.path: (change.before, change.after) for change in field_changes(config, new)}
    assert found_all["data.token"] == ("***", "*** (changed)")
    assert found_all['data["app.ini"]'] == ("level=1\npassword = ***\n", "level=2\npassword = ***\n")


def test_objects_are_created_changed_and_removed_with_what_is_lost() -> None:
    """Removal, an immutable selector, no replica left and an immutable ConfigMap are marked; an equal object is not listed."""
    service = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    assert object_changes([DEPLOYMENT, service], [DEPLOYMENT, service]) == ()
    changes = {c.object: c for c in object_changes([DEPLOYMENT], [service])}
    assert changes["Service/web"].action == "create"
    assert changes["Deployment/web"].destructive == ("its replicas stop",)
    (selector,) = object_changes([DEPLOYMENT], [changed("spec['selector']['matchLabels']['app'] = 'x'; spec['replicas'] = 0")])
    assert selector.destructive == ("spec.selector is immutable: the Deployment is deleted and made again", "no replica is left")
    fixed = {"kind": "ConfigMap", "metadata": {"name": "c"}, "immutable": True, "data": {"a": "1"}}
    (config,) = object_changes([fixed], [{**fixed, "data": {"a": "2"}}])
    assert config.destructive == ("it is immutable: it is deleted and made again",)


def workload(name: str, revision: str, replicas: int = 2) -> Workload:
    """Return a workload."""
    container = Container("web", "web@sha256:1", None, None, {}, {}, 8080, None, None)
    return Workload("shop", "production", name, replicas, {}, container, revision)


def state(*workloads: Workload, routes: tuple[Route, ...] = ()) -> DesiredState:
    """Return a desired state."""
    return DesiredState("shop", "production", workloads, routes, "")


def test_replicas_that_start_and_stop() -> None:
    """Another revision replaces all, another number starts or stops the rest, the same does nothing."""
    before = state(workload("a", "1"), workload("b", "1"), workload("c", "1"), workload("d", "1"))
    after = state(workload("a", "1"), workload("b", "2", 3), workload("c", "1", 1), workload("e", "9", 1))
    found = [(change.workload, change.start, change.stop) for change in workload_changes(before, after)]
    assert found == [("b", 3, 2), ("c", 0, 1), ("d", 0, 2), ("e", 1, 0)]
    assert [(change.start, change.stop) for change in workload_changes(None, state(workload("a", "1")))] == [(2, 0)]


def test_routes_that_are_no_longer_served() -> None:
    """An address is lost only when no route of the new state has it."""
    old = (Route("r", (), "/", False, (("a", 1),)), Route("r", ("shop.example.com",), "/api", False, (("a", 1),)))
    assert lost_routes(state(routes=old), state(routes=old[:1])) == ("shop.example.com/api/",)
    assert lost_routes(state(routes=old), state(routes=tuple(replace(route, name="other") for route in old))) == ()
    assert lost_routes(None, state(routes=old)) == ()


def replica(name: str, revision: str, **more: Any) -> ReplicaStatus:
    """Return a replica of workload `a` as the host finds it."""
    spec = ReplicaSpec(
        name, more.pop("workload", "a"), revision, 20000, workload("a", revision).container, Identity("", "", "", "", ""), 1.0
    )
    return replace(ReplicaStatus(spec, shim_alive=True, pid=7, started_at=None, restarts=0, last_exit=""), **more)


@pytest.mark.parametrize(
    ("replicas", "wanted"),
    [
        ([replica("1", "x"), replica("2", "x")], []),
        ([replica("1", "x")], [("Deployment/a", "replicas", "2", "1")]),
        ([replica(str(n), "x") for n in range(3)], [("Deployment/a", "replicas", "2", "3")]),
        ([replica("1", "x"), replica("2", "x"), replica("3", "old")], [("3", "revision", "x", "old")]),
        ([replica("1", "x"), replica("2", "x", pid=None, last_exit="exit status 1")], [("2", "process", "running", "exit status 1")]),
        (
            [replica("1", "x"), replica("2", "x", shim_alive=False)],
            [("Deployment/a", "replicas", "2", "1"), ("2", "process", "running", "gone")],
        ),
        ([replica("1", "x"), replica("2", "x"), replica("3", "x", workload="b")], [("3", "workload", "none of this name", "b")]),
    ],
)
def test_live_replicas_against_the_pin(replicas: list[ReplicaStatus], wanted: list[tuple[str, ...]]) -> None:
    """Missing, surplus, ended and foreign replicas are named; a crowd that is as desired is no difference."""
    found = replica_differences(state(workload("a", "x")), replicas)
    assert [(one.subject, one.field, one.desired, one.live) for one in found] == wanted
