"""Canaries on a real cluster where no route splits the traffic: by replicas and by ordinals, judged by health alone; and pages of pods."""

import json
import secrets
from collections.abc import Iterator

import pytest

from kubernetes_release import WAIT_S, Place
from kubernetes_world import Machine, within
from live_home import LiveHome, wait_for
from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.metrics import pages
from setpoint.adapters.kubernetes.transport import Transport
from setpoint.core.errors import WorldError

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: "{registry}/{namespace}"}}}}
owners: [team:sre]
rollout:
  canary: {{weights: [50], hold: 10s, look: 1s, keep: 60s, unjudged: true}}
"""
POD = """
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: shop
          image: web
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
"""
MANIFESTS = (
    """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:"""
    + POD.replace("NAME", "shop")
    + """---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:"""
    + POD.replace("NAME", "db")
)


@pytest.fixture(scope="module")
def place(live: LiveHome, node: Machine, registry: str) -> Iterator[Place]:
    """Make the namespace, and push a version `one`."""
    found = Place(live, node, f"shop-{secrets.token_hex(3)}")
    found.begin(registry, MANIFESTS, ENVIRONMENT.format(namespace=found.namespace, registry=registry))
    found.phase("finished")
    yield found
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")


def _pods(place: Place) -> dict[str, str]:
    """Return the content that every pod serves by its name, as far as it is ready."""
    rows = json.loads(place.kubectl("get", "pods", "-o", "json"))["items"]
    return {row["metadata"]["name"]: row["metadata"]["annotations"].get("setpoint.dev/promotion", "") for row in rows}


def test_a_good_release_takes_over_by_replicas_and_ordinals(place: Place) -> None:
    """Half of the pods at the step, by name for the StatefulSet; at the end all of them, and the reason says how it was split."""
    (before,) = place.names("deployment")
    first = _pods(place)["db-0"]
    commit = place.release("two")
    found = place.phase("holding", commit)
    assert "CANARY_BY_REPLICAS" in json.dumps(place.live.api().get("/api/v1/why/shop/cloud"))
    assert found["weight"] == 50
    spec = place.get("statefulset/db")["spec"]
    pods = _pods(place)
    if place.rollout()["phase"] == "holding":  # the step did not end meanwhile
        assert spec["updateStrategy"]["rollingUpdate"]["partition"] == 1
        assert (pods["db-0"] == first, pods["db-1"] == first) == (True, False)
    place.phase("finished", commit)
    place.healthy()
    pods = _pods(place)
    assert first not in (pods["db-0"], pods["db-1"])
    (after,) = [name for name in place.names("deployment") if name != before]
    assert place.get("service/shop")["spec"]["selector"]["setpoint.dev/revision-hash"] == after.removeprefix("shop-")


def test_a_release_that_ends_again_and_again_goes_back_by_itself(place: Place) -> None:
    """A crash loop is found by its pods' restarts; the stuck pod of the StatefulSet is ended, and all of it serves as before."""
    before = _pods(place)["db-1"]
    broken = {"www/index.html": None, "www/work": "no page, so the shell ends"}
    commit = place.live.commit("hello", broken, "broken")
    found = place.phase("returned", commit)
    assert "CRASH_LOOP" in json.dumps(found["reasons"])
    wait_for("the rollback", lambda: ((r := place.rollout())["phase"] == "finished" and r["sent_back"] != "") or None, WAIT_S)
    place.healthy()
    pods = _pods(place)
    assert before == pods["db-0"] == pods["db-1"]
    assert place.get("statefulset/db")["status"]["readyReplicas"] == 2


def test_every_pod_behind_a_service_is_asked_for_its_page(place: Place, cluster: Access) -> None:
    """The API server leads to each of them; a port that is none, and a page that is none, are told as such."""

    async def ask(port: int, path: str) -> dict[str, str]:
        async with Transport(cluster) as transport:
            return await pages(Client(transport), transport, (place.namespace, "shop", port), path)

    found = within(ask(80, "/index.html"))
    assert set(found.values()) == {"two"}
    assert found.keys() <= _pods(place).keys()
    with pytest.raises(WorldError, match="SP652"):
        within(ask(81, "/index.html"))
    with pytest.raises(Exception, match="SP68"):
        within(ask(80, "/none"))
