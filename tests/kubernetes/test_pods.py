"""Pods of a real cluster: each is traced to its build, status counts them by build, and what no pin names is told with its owners."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_released import Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome, wait_for
from setpoint.cli.main import run as command
from setpoint.core.errors import SetpointError

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: shop, image: web, command: [/bin/busybox, sleep, "100000"]}
"""


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine, registry: str) -> Iterator[Shop]:
    """An application of two pods, healthy."""
    with running_shop(live, node, registry, DEPLOYMENT) as found:
        found.healthy()
        yield found


def _groups(shop: Shop) -> list[dict[str, Any]]:
    return list(shop.cell()["pods"])


def _strangers(shop: Shop) -> list[dict[str, Any]]:
    found = shop.live.api().get("/api/v1/status")["strangers"]
    return [group for one in found if one["namespace"] == shop.namespace for group in one["groups"]]


def _settled(shop: Shop) -> dict[str, Any]:
    """Wait until all pods are of the pinned build and ready."""
    return wait_for("pods as pinned", lambda: _one([g for g in _groups(shop) if g["state"] != "starting"]), 90)


def _one(groups: list[dict[str, Any]]) -> dict[str, Any] | None:
    whole = len(groups) == 1 and groups[0]["state"] == "pinned" and (groups[0]["count"], groups[0]["ready"]) == (2, 2)
    return groups[0] if whole else None


FOREIGN = "localhost/busybox:1"
"""An image that every node of the test cluster has, and no pin names."""


def test_status_names_the_build_of_every_pod_and_each_is_traced(shop: Shop) -> None:
    """Two pods are one row with version and promotion; by name, uid, address and reported digest each leads to its commit."""
    group, cell = _settled(shop), shop.cell()
    assert (group["workload"], group["version"], group["promotion"]) == ("Deployment/shop", cell["version"], cell["promotion"])
    name = group["pods"][0]
    pod = shop.get(f"pod/{name}")
    status = pod["status"]["containerStatuses"][0]
    address = pod["status"]["podIP"]
    for thing in (f"pod/{name}", pod["metadata"]["uid"], address, status["imageID"], f"docker-pullable://{status['imageID']}"):
        steps = shop.live.api().get("/api/v1/trace", {"thing": thing, "cluster": "real", "namespace": shop.namespace})["steps"]
        kinds = [step["kind"] for step in steps]
        assert {"artifact", "run", "revision", "pod"} <= set(kinds), (thing, steps)
    steps = shop.live.api().get("/api/v1/trace", {"thing": f"pod/{name}"})["steps"]
    assert [step["id"] for step in steps if step["kind"] == "owner"] == [
        pod["metadata"]["ownerReferences"][0]["kind"] + "/" + pod["metadata"]["ownerReferences"][0]["name"],
        "Deployment/shop",
    ]
    assert next(step for step in steps if step["kind"] == "owner")["text"].startswith("revision 1")
    assert next(step["id"] for step in steps if step["kind"] == "promotion") == cell["promotion"]
    assert next(step["id"] for step in steps if step["kind"] == "revision") == cell["revision"]


def test_the_command_line_shows_pods_and_traces_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status APP` has a row for each build; `trace pod/NAME -n NS --cluster C` prints the chain; an unknown pod has a way out."""
    name = _settled(shop)["pods"][0]
    monkeypatch.setenv("SETPOINT_URL", shop.live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", shop.live.ready["token"])
    assert command(["status", "shop"]) == 0
    assert "Deployment/shop" in capsys.readouterr().out
    assert command(["trace", f"pod/{name}", "-n", shop.namespace, "--cluster", "real"]) == 0
    assert "ReplicaSet/shop-" in capsys.readouterr().out
    assert command(["trace", "pod/nobody"]) == 2
    assert "SP709" in capsys.readouterr().err


def test_a_bare_pod_is_foreign_and_one_of_another_namespace_is_read(shop: Shop) -> None:
    """What nobody of ours made stands by itself in status, why, page and metrics; outside of the namespace nothing is watched."""
    digest = shop.image.rpartition("@")[2]
    _settled(shop)
    shop.kubectl("run", "stray", f"--image={shop.image}", "--labels=setpoint.dev/app=shop,setpoint.dev/environment=cloud")
    (group,) = wait_for("the stray pod", lambda: _strangers(shop), 60)
    assert (group["state"], group["workload"], group["pods"]) == ("foreign", "Pod/stray", ["stray"])
    why = shop.live.api().get("/api/v1/why/shop/cloud")
    assert "POD_FOREIGN" in [reason["code"] for reason in why["reasons"]]
    wait_for("health as before", lambda: shop.cell()["health"] == "healthy" or None, 60)
    metrics = shop.text("/metrics")
    assert 'setpoint_pods{app="",environment="cloud",state="foreign"} 1' in metrics
    assert "Pod/stray" in shop.text("/")
    steps = shop.live.api().get("/api/v1/trace", {"thing": "pod/stray"})["steps"]
    assert "nobody of ours made it" in steps[0]["text"]
    elsewhere = ("--namespace=default", "run", f"other-{secrets.token_hex(3)}", f"--image={shop.image}")
    other = elsewhere[2]
    try:
        shop.kubectl(*elsewhere)
        found = shop.live.api().get("/api/v1/trace", {"thing": f"pod/{other}", "cluster": "real", "namespace": "default"})["steps"]
        assert found[0]["id"] == other
        assert any(step["id"] == digest for step in found if step["kind"] == "artifact")
        assert [group["workload"] for group in _strangers(shop)] == ["Pod/stray"]
    finally:
        shop.kubectl("--namespace=default", "delete", f"pod/{other}", "--now", "--wait=false")
        shop.kubectl("delete", "pod/stray", "--now")
    wait_for("it to be gone", lambda: not _strangers(shop) or None, 60)


def test_pods_that_a_hand_gave_another_image_are_told_while_it_lasts(shop: Shop) -> None:
    """In mode report the Deployment keeps the foreign image: its pod is unnamed in status, why and metrics, and forgotten when put back."""
    _settled(shop)
    shop.declare(mode="report")
    wait_for("the mode", lambda: "report" in shop.live.git(shop.live.work / "delivery", "show", "HEAD").stdout or None)
    shop.kubectl("set", "image", "deployment/shop", f"shop={FOREIGN}")
    odd = wait_for("the unnamed pod", lambda: [g for g in _groups(shop) if g["state"] == "unnamed"] or None, 60)
    assert (odd[0]["workload"], odd[0]["version"]) == ("Deployment/shop", "")
    reason = wait_for("the reason", lambda: shop.reason("POD_UNNAMED"), 60)
    assert "of ReplicaSet/shop-" in reason["found"]
    assert 'environment="cloud",state="unnamed"} ' in shop.text("/metrics")
    assert "POD_UNNAMED" in json.dumps(shop.live.journal())
    shop.live.api().post("/api/v1/drift/heal", {"app": "shop", "environment": "cloud"})
    _settled(shop)
    wait_for("nothing to tell", lambda: shop.reason("POD_UNNAMED") is None or None, 60)


def test_a_rolling_update_is_no_alarm(shop: Shop) -> None:
    """While a release rolls, pods of the old one are named with their version and leave; no pod is ever unnamed."""
    _settled(shop)
    before, seen = shop.healthy()["promotion"], set[tuple[str, bool]]()

    def rolled() -> bool | None:
        cell = shop.cell()
        seen.update((group["state"], bool(group["version"])) for group in cell["pods"])
        return (cell["promotion"] != before and cell["health"] == "healthy" and len(cell["pods"]) == 1) or None

    shop.live.commit("hello", {"www/index.html": secrets.token_hex(4)})
    wait_for("the release", rolled, 120)
    assert {state for state, _named in seen} <= {"pinned", "leaving", "starting"}
    assert ("leaving", False) not in seen
    entries = [e for e in shop.live.journal() if e["kind"] == "deployment.observed" and e["body"].get("promotion") != before]
    assert "POD_EARLIER" not in json.dumps(entries)


def test_a_user_who_may_not_list_pods_is_told(shop: Shop) -> None:
    """Without the right, status says that nothing is known of the pods and why; objects go on as ever."""
    kubeconfig = shop.limited([{"apiGroups": ["", "apps"], "resources": ["configmaps", "deployments", "services"], "verbs": ["*"]}])
    shop.live.api().put("clusters/real", {"kubeconfig": kubeconfig})
    try:
        unknown = wait_for(
            "the notice",
            lambda: next((one for one in shop.live.api().get("/api/v1/status")["strangers"] if "SP683" in one["unknown"]), None),
            60,
        )
        assert unknown["namespace"] == shop.namespace
    finally:
        shop.register()
    _settled(shop)


def test_what_answers_to_no_pod_is_an_error(shop: Shop) -> None:
    """An address that nobody has is refused with what to write."""
    with pytest.raises(SetpointError, match="no pod"):
        shop.live.api().get("/api/v1/trace", {"thing": "10.255.255.254"})
