"""Environments that generators make on a real cluster: of a labelled cluster, and of a branch, each in a namespace of its own."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_released import Shop, running_shop
from kubernetes_world import Machine
from live_home import LiveHome, wait_for

WAIT_S = 120.0
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
HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Generator\n"


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine, registry: str) -> Iterator[Shop]:
    """An application, healthy in its own environment."""
    with running_shop(live, node, registry, DEPLOYMENT) as found:
        found.healthy()
        yield found


@pytest.fixture
def namespace(shop: Shop) -> Iterator[str]:
    """Another namespace, for what is made; its name ends in `feature-x`."""
    name = f"made-{secrets.token_hex(3)}-feature-x"
    shop.kubectl("create", "namespace", name)
    yield name
    shop.kubectl("delete", "namespace", name, "--wait=false")


def _cell(shop: Shop, environment: str) -> dict[str, Any]:
    cells = shop.live.api().get("/api/v1/status")["cells"]
    return next((cell for cell in cells if (cell["app"], cell["environment"]) == ("shop", environment)), {})


def _deployments(shop: Shop, namespace: str) -> str:
    return shop.kubectl(f"--namespace={namespace}", "get", "deployments", "-o", "name")


def _healthy(shop: Shop, environment: str) -> None:
    wait_for(f"shop in {environment}", lambda: _cell(shop, environment).get("health") == "healthy" or None, WAIT_S)


def test_a_labelled_cluster_has_an_environment_until_a_person_lets_it_go(shop: Shop, namespace: str) -> None:
    """The label makes it; without the label it stays, for it is the only one; confirmed, it is an orphan, and prune removes it."""
    live = shop.live
    text = f"{HEAD}environments: {{clusters: {{fleet: shops}}, like: cloud, each: {{namespace: {namespace}}}}}\n"
    live.commit("delivery", {"generators/fleet.yaml": text}, "a fleet", who="sam")
    live.api().put("clusters/real/labels", {"labels": {"fleet": "shops"}})
    _healthy(shop, "fleet-real")
    assert _deployments(shop, namespace) == "deployment.apps/shop\n"
    live.api().put("clusters/real/labels", {"labels": {}})
    held = wait_for("the hold", lambda: live.api().get("/api/v1/generators/fleet")["held"])
    assert (held["elements"], _deployments(shop, namespace)) == (["real"], "deployment.apps/shop\n")
    live.api("sam").post("/api/v1/generators/fleet/confirm", {"set": held["set"]})
    orphans = wait_for("the orphan", lambda: live.api().get("/api/v1/status")["orphans"])
    assert [(one["app"], one["environment"]) for one in orphans] == [("shop", "fleet-real")]
    assert _deployments(shop, namespace) == "deployment.apps/shop\n"
    live.api("sam").post("/api/v1/prunes", {"app": "shop", "environment": "fleet-real", "set": orphans[0]["held"]["set"]})
    wait_for("its end", lambda: _deployments(shop, namespace) == "" or None, WAIT_S)
    wait_for("no environment", lambda: "fleet-real" not in live.api().get("/api/v1/status")["environments"] or None, WAIT_S)
    assert _cell(shop, "cloud")["health"] == "healthy"


def test_a_branch_has_a_preview_in_a_namespace_and_takes_it_along(shop: Shop, namespace: str) -> None:
    """Pinned by digest and healthy; the branch's end deletes its objects and pins, without a person's word and nothing of others."""
    live, prefix = shop.live, namespace.removesuffix("feature-x")
    text = f"{HEAD}previews:\n  repository: hello\n  branches: [feature/*]\n  like: cloud\n  applications: [shop]\n  grace: 1s\n"
    text = text.replace("[feature/*]", '["feature/*"]') + f'  each: {{namespace: "{prefix}${{name}}"}}\n'
    live.commit("delivery", {"generators/try.yaml": text}, "previews", who="sam")
    folder = live.work / "hello"
    live.git(folder, "checkout", "-q", "-b", "feature/x", who="sam")
    pipeline = (folder / ".setpoint" / "pipeline.yaml").read_text().replace("branches: [main]", 'branches: [main, "feature/*"]')
    (folder / ".setpoint" / "pipeline.yaml").write_text(pipeline)
    (folder / "www" / "index.html").write_text("two")
    live.git(folder, "commit", "-qam", "two", who="sam")
    live.git(folder, "push", "-q", "origin", "feature/x", who="sam")
    _healthy(shop, "try-feature-x")
    assert _deployments(shop, namespace) == "deployment.apps/shop\n"
    assert _cell(shop, "try-feature-x")["artifacts"] != _cell(shop, "cloud")["artifacts"]
    live.git(folder, "push", "-q", "origin", "--delete", "feature/x", who="sam")
    wait_for("its end", lambda: live.api().get("/api/v1/previews") == [] or None, WAIT_S)
    assert _deployments(shop, namespace) == ""
    pins = live.git(live.home / "repositories" / "delivery.git", "ls-tree", "-r", "--name-only", "main", "pins", who="sam").stdout
    assert "try-feature-x" not in pins
    assert "pins/cloud/shop.yaml" in pins
    assert _cell(shop, "cloud")["health"] == "healthy"
