"""A plan for a cluster says what is lost, in sentences that stay the same while the loss is the same."""

from typing import Any

import pytest

from setpoint.reconcile.changes import FieldChange
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, ObjectKey
from setpoint.reconcile.cluster.plan import changed, created, name_of, removed

CLASS = "spec.storageClassName of a PersistentVolumeClaim cannot be changed"


def live(what: str, **more: Any) -> dict[str, Any]:
    """Return a live object called x."""
    api_version, kind = what.split(" ")
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}} | more


def one(path: str, before: Any, after: Any, replaces: str = "") -> Comparison:
    """Return a comparison with one difference."""
    return Comparison((FieldDifference(FieldChange(path, before, after), None, replaces),))


@pytest.mark.parametrize(
    ("value", "comparison", "destructive"),
    [
        (live("apps/v1 Deployment"), one("spec.replicas", 2, 3), ()),
        (live("apps/v1 Deployment"), one("spec.replicas", 2, 0), ("no replica is left",)),
        (
            live("apps/v1 StatefulSet"),
            one("spec.serviceName", "a", "b", "spec.serviceName of a StatefulSet cannot be changed"),
            ("spec.serviceName of a StatefulSet cannot be changed: it is deleted and made again, and its pods stop",),
        ),
        (
            live("v1 PersistentVolumeClaim"),
            one("spec.storageClassName", "a", "b", CLASS),
            (f"{CLASS}: it is deleted and made again, and its data may be deleted with it, as its class says",),
        ),
        (live("v1 ConfigMap", data={"a": "1"}), one("data.a", "1", None), ("data.a is removed",)),
        (live("v1 ConfigMap", data={"a": "1"}), one("data.a", "1", "2"), ()),
    ],
)
def test_what_a_change_destroys_is_said(value: dict[str, Any], comparison: Comparison, destructive: tuple[str, ...]) -> None:
    """Objects that are made anew, pods that stop and keys that go: nothing else asks for an approval."""
    found = changed(value, comparison, "shop")
    assert found is not None
    assert (found.action, found.destructive, len(found.fields)) == ("change", destructive, 1)


def test_without_another_value_there_is_no_change() -> None:
    """Fields that become ours with the value they have are applied, and no plan is longer for it."""
    assert changed(live("v1 ConfigMap"), Comparison(claims=("data.a",))) is None


@pytest.mark.parametrize(
    ("key", "lost"),
    [
        (ObjectKey("", "Namespace", "", "shop"), "everything in it is deleted"),
        (ObjectKey("apiextensions.k8s.io", "CustomResourceDefinition", "", "a"), "every object of its kind is deleted, in all namespaces"),
        (ObjectKey("apps", "DaemonSet", "shop", "a"), "its pods stop"),
        (ObjectKey("example.com", "Deployment", "shop", "a"), "it is removed"),
    ],
)
def test_what_a_removal_destroys_is_said(key: ObjectKey, lost: str) -> None:
    """By kind and group, for a custom kind may be called like a built-in one."""
    assert removed(key).destructive == (lost,)


def test_names_have_a_namespace_only_where_it_is_another() -> None:
    """One namespace goes without saying."""
    key = ObjectKey("apps", "Deployment", "shop", "web")
    assert (name_of(key, "shop"), name_of(key, "other")) == ("Deployment/web", "Deployment/web in shop")
    assert name_of(ObjectKey("", "Namespace", "", "shop"), "other") == "Namespace/shop"


def test_what_needs_something_of_the_same_plan_is_only_predicted() -> None:
    """Before its namespace or definition is there nothing can be tried."""
    key, space = ObjectKey("", "ConfigMap", "shop", "a"), ObjectKey("", "Namespace", "", "shop")
    assert created(key, [space], "shop")[1] == "predicted: Namespace/shop is made by the same plan"
    assert created(key, (), "shop")[1] == ""
