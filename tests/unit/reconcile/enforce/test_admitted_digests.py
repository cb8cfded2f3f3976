"""Which digests a cluster lets in, and that its objects bind one namespace only: pure decisions."""

import pytest

from setpoint.reconcile.enforce import decide
from setpoint.reconcile.enforce.decide import PROTECTED, Names
from setpoint.reconcile.pods.model import Pod, PodContainer

NEW, OLD, GONE = (f"sha256:{letter * 64}" for letter in "abc")
NAMES = Names("h-0123456789", "shop")


def _pod(digest: str, phase: str = "Running") -> Pod:
    return Pod("shop", "p", "u", phase, "2026-11-25T00:00:00Z", containers=(PodContainer("c", "container", f"web@{digest}"),))


def test_the_list_only_grows_until_everything_rests() -> None:
    """What was let in stays so while anything moves; then what no pod has any more goes, and what one has stays."""
    assert decide.admitted({NEW}, {OLD, GONE}, [], settled=False) == {NEW, OLD, GONE}
    assert decide.admitted({NEW}, {OLD, GONE}, [_pod(OLD), _pod(GONE, "Succeeded")], settled=True) == {NEW, OLD}
    assert decide.admitted({NEW}, {OLD}, [], settled=True) == {NEW}
    assert decide.admitted({NEW}, {}, [_pod(GONE)], settled=True) == {NEW}, "a pod of itself lets nothing in"


def test_a_digest_is_a_key_of_the_list() -> None:
    """Keys of a ConfigMap have no colon; the list is in order, so that the same digests are the same object."""
    assert list(decide.listed([OLD, NEW])) == ["a" * 64, "b" * 64]


def test_the_objects_bind_one_namespace_and_leave_the_clusters_own_out() -> None:
    """The binding names its namespace, the policy leaves Kubernetes' own out; what is wrong with it denies."""
    images, policy, binding = decide.manifests(NAMES, decide.listed([NEW]))
    assert images["metadata"]["namespace"] == "shop"
    assert binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"] == ["shop"]
    assert binding["spec"]["paramRef"] == {"name": images["metadata"]["name"], "namespace": "shop", "parameterNotFoundAction": "Deny"}
    excluded = policy["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"][0]
    assert (excluded["operator"], excluded["values"]) == ("NotIn", list(PROTECTED))
    assert policy["spec"]["failurePolicy"] == "Fail"


@pytest.mark.parametrize("field", ["containers", "initContainers", "ephemeralContainers"])
def test_every_sort_of_container_is_judged(field: str) -> None:
    """A rule for each list of containers, which lets an unchanged container of an update pass."""
    _images, policy, _binding = decide.manifests(NAMES, {})
    (rule,) = [one for one in policy["spec"]["validations"] if one["expression"].startswith(f"!has(object.spec.{field}) ||")]
    assert f"oldObject.spec.{field}" in rule["expression"]
