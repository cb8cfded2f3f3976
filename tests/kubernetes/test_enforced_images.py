"""A real API server refuses images that no pin names, lets in what was admitted, and needs no server of ours for either."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kubernetes_released import Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome, wait_for

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: shop, image: web, command: [/bin/busybox, sleep, "100000"]}
"""
FOREIGN = "localhost/busybox:1"
REFUSED = "no pin of Setpoint names this image here"


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine, registry: str) -> Iterator[Shop]:
    """A healthy application in a namespace whose environment has images refused."""
    with running_shop(live, node, registry, DEPLOYMENT, more=", enforceImages: true") as found:
        found.healthy()
        wait_for("the refusal", lambda: _is_refused(found) or None, 60)
        yield found


def _job(name: str, image: str, sort: str = "containers") -> str:
    container = {"name": "c", "image": image, "command": ["/bin/busybox", "true"]}
    containers = {"containers": [container]}
    if sort == "initContainers":
        containers = {"initContainers": [container], "containers": [{**container, "name": "d"}]}
    spec = {"template": {"spec": {"restartPolicy": "Never", **containers}}, "backoffLimit": 0}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})


def _is_refused(shop: Shop) -> bool:
    """Say whether a foreign image is refused; a dry run starts nothing."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": {"containers": [{"name": "c", "image": FOREIGN}]}}
    try:
        shop.kubectl("create", "-f", "-", "--dry-run=server", given=json.dumps(pod))
    except AssertionError as error:
        return REFUSED in str(error)
    return False


def _listed(shop: Shop) -> set[str]:
    found = json.loads(shop.kubectl("get", "configmap", "-o", "json"))["items"]
    return {key for one in found if one["metadata"]["name"].startswith("setpoint-images-") for key in one.get("data") or {}}


def _told(shop: Shop, subject: str) -> bool:
    """Say whether an event of an object tells of the refusal."""
    return REFUSED in shop.kubectl("get", "events", "--field-selector", f"involvedObject.name={subject.partition('/')[2]}")


def _pods(shop: Shop) -> list[dict[str, Any]]:
    return [p for p in json.loads(shop.kubectl("get", "pods", "-l", "app=shop", "-o", "json"))["items"] if _ready(p)]


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return not pod["metadata"].get("deletionTimestamp") and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_foreign_image_gets_no_pod_whoever_asks(shop: Shop) -> None:
    """A bare pod, a tag of the pinned image, an init container, a debug container and another image of a running pod are refused."""
    assert FOREIGN in shop.kubectl("run", "stray", f"--image={FOREIGN}", ok=False)
    tag = shop.image.partition("@")[0] + ":latest"
    assert REFUSED in shop.kubectl("run", "stray", f"--image={tag}", ok=False)
    name = _pods(shop)[0]["metadata"]["name"]
    assert REFUSED in shop.kubectl("debug", f"pod/{name}", f"--image={FOREIGN}", "--", "/bin/true", ok=False)
    patch = json.dumps({"spec": {"containers": [{"name": "shop", "image": FOREIGN}]}})
    assert REFUSED in shop.kubectl("patch", f"pod/{name}", "-p", patch, ok=False)
    for number, sort in enumerate(("containers", "initContainers")):
        shop.kubectl("create", "-f", "-", given=_job(f"foreign-{number}", FOREIGN, sort))
        wait_for("the refusal of its pod", partial(_told, shop, f"job/foreign-{number}"), 60)
        assert json.loads(shop.kubectl("get", "pods", "-l", f"job-name=foreign-{number}", "-o", "json"))["items"] == []
        shop.kubectl("delete", f"job/foreign-{number}", "--wait=false")


def test_what_is_admitted_runs_scales_and_keeps_its_labels(shop: Shop) -> None:
    """A Job of the pinned image completes, a pod is labelled and deleted and comes back, and elsewhere nothing is refused."""
    shop.kubectl("create", "-f", "-", given=_job("ours", shop.image))
    wait_for("the Job", lambda: shop.get("job/ours")["status"].get("succeeded"), 90)
    shop.kubectl("delete", "job/ours", "--wait=false")
    name = _pods(shop)[0]["metadata"]["name"]
    shop.kubectl("label", f"pod/{name}", "seen=yes")
    shop.kubectl("delete", f"pod/{name}", "--now", "--wait=false")
    wait_for("another pod", lambda: [p for p in _pods(shop) if p["metadata"]["name"] != name], 90)
    shop.kubectl("--namespace=default", "run", "trial", f"--image={FOREIGN}", "--dry-run=server")
    shop.kubectl("--namespace=kube-system", "run", "trial", f"--image={FOREIGN}", "--dry-run=server")


def test_a_release_widens_the_list_and_a_rollback_works(shop: Shop) -> None:
    """The new digest is let in before it is applied, the old one goes when nothing has it; the way back lets it in again."""
    first, before = shop.image.rpartition(":")[2], shop.healthy()["promotion"]
    shop.live.commit("hello", {"www/index.html": "two"})
    second = shop.healthy(before)["promotion"]
    digest = shop.image.rpartition(":")[2]
    assert digest != first
    wait_for("the list to shrink", lambda: _listed(shop) == {digest} or None, 90)
    shop.live.api().post("/api/v1/rollbacks", {"app": "shop", "environment": "cloud", "message": "worse"})
    shop.healthy(second)
    wait_for("the list of before", lambda: _listed(shop) == {first} or None, 90)


def test_what_somebody_changes_of_it_is_put_back(shop: Shop) -> None:
    """A deleted binding and a widened list are made again as they have to be."""
    shop.healthy()
    names = json.loads(shop.kubectl("get", "validatingadmissionpolicybinding", "-o", "json"))["items"]
    (mine,) = [one["metadata"]["name"] for one in names if one["metadata"]["name"].endswith(shop.namespace)]
    shop.kubectl("delete", f"validatingadmissionpolicybinding/{mine}")
    wait_for("the binding", lambda: shop.kubectl("get", f"validatingadmissionpolicybinding/{mine}", "--ignore-not-found"), 60)
    (listed,) = [
        one["metadata"]["name"]
        for one in json.loads(shop.kubectl("get", "configmap", "-o", "json"))["items"]
        if one["metadata"]["name"].startswith("setpoint-images-")
    ]
    shop.kubectl("patch", f"configmap/{listed}", "--type=merge", "-p", json.dumps({"data": {"f" * 64: ""}}))
    wait_for("the list", lambda: "f" * 64 not in _listed(shop) or None, 60)
    wait_for("the refusal", lambda: _is_refused(shop) or None, 60)


def test_pods_start_while_the_server_is_down_and_the_key_takes_it_away(shop: Shop) -> None:
    """A pod that is deleted while nobody of ours runs comes back; without the key a foreign image is let in again."""
    shop.healthy()
    shop.live.stop()
    name = _pods(shop)[0]["metadata"]["name"]
    shop.kubectl("delete", f"pod/{name}", "--now", "--wait=false")
    wait_for("another pod", lambda: [p for p in _pods(shop) if p["metadata"]["name"] != name], 90)
    assert _is_refused(shop)
    shop.live.start()
    shop.declare()
    wait_for("no refusal", lambda: not _is_refused(shop) or None, 90)
    wait_for("no list", lambda: not _listed(shop) or None, 60)
    policies = shop.kubectl("get", "validatingadmissionpolicy,validatingadmissionpolicybinding", "-o", "name", "--ignore-not-found")
    assert "setpoint-images-" not in policies
    kinds = [entry["kind"] for entry in shop.live.journal() if entry["kind"].startswith("admission.")]
    assert kinds == ["admission.enforced", "admission.released"]
