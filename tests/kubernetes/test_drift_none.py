"""No false drift on a real cluster, from a push on: every ordinary kind, an autoscaler's number, and a webhook that adds and stamps."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes.test_planner_webhook import configuration, webhook
from kubernetes_shop import IMAGE, Shop, running_shop
from kubernetes_world import Machine, World
from live_home import LiveHome
from setpoint.adapters.kubernetes import kubeconfig
from setpoint.core import kinds

CORPUS = Path(__file__).with_name("corpus.yaml")
ELSEWHERE = {"Secret", "Thing", "Namespace", "CustomResourceDefinition", "APIService", "CSIDriver", "PersistentVolume", "RuntimeClass"}
"""What an environment does not take as it is: sealed, of a custom kind, or of the whole cluster."""
WHOLE = re.compile(r".*(Class|Configuration|Policy|PolicyBinding)$|Cluster.*")
SCALED = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: scaled}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: scaled}}}}
  template: {{metadata: {{labels: {{app: scaled}}}}, spec: {{containers: [{{name: web, image: "{IMAGE}"}}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: scaled}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: scaled}}, minReplicas: 1, maxReplicas: 5}}
"""


def _corpus() -> str:
    """Return the corpus as an application may have it: what lies in a namespace, every image by digest."""
    found = []
    for value in yaml.safe_load_all(CORPUS.read_text()):
        kind = str(value["kind"])
        whole = WHOLE.fullmatch(kind) and kind != "NetworkPolicy"
        if kind in ELSEWHERE or whole or not kinds.is_kubernetes(kinds.group_of(value)):
            continue
        value["metadata"].pop("namespace", None)
        found.append(json.dumps(value).replace("localhost/busybox:1", IMAGE))
    return "\n---\n".join(found)


@pytest.fixture(scope="module")
def shop(live: LiveHome, node: Machine) -> Iterator[Shop]:
    """Give a shop whose environment says that the corpus' own pods may be what they are."""
    with running_shop(live, node) as found:
        yield found


def _passes(shop: Shop) -> int:
    found = re.search(r'setpoint_reconcile_pass_seconds_count\{environment="cloud"\} (\d+)', shop.metrics())
    return int(found[1]) if found else 0


def _seen(shop: Shop) -> dict[str, Any]:
    return next((e["body"] for e in reversed(shop.live.journal()) if e["kind"] == "deployment.observed" and e["body"]["app"] == "shop"), {})


def _rests(shop: Shop, commit: str, files: int) -> None:
    """Wait until all of a commit is applied and nothing differs, and for some passes more."""

    def applied() -> bool:
        folder = shop.live.home / "repositories" / "delivery.git"
        pinned = subprocess.run(
            ["git", "-C", str(folder), "log", "-1", "--format=%H", "main", "--", "pins/cloud"], capture_output=True, text=True, check=False
        )
        tree = subprocess.run(["git", "-C", str(folder), "rev-parse", f"{commit}:apps/shop"], capture_output=True, text=True, check=False)
        pin = subprocess.run(["git", "-C", str(folder), "show", "main:pins/cloud/shop.yaml"], capture_output=True, text=True, check=False)
        there = tree.stdout.strip() in pin.stdout and _seen(shop).get("pin_commit") == pinned.stdout.strip()
        return there and shop.live.api().get("/api/v1/diff/shop/cloud")["differences"] == []

    shop.until(f"{files} objects as rendered", applied, 120)
    before = _passes(shop)
    shop.until("some passes more", lambda: _passes(shop) >= before + 4, 120)


def test_no_ordinary_object_drifts_by_itself(shop: Shop) -> None:
    """Defaults, quantities, empty fields and what controllers write: a push of every kind leaves no case, and no difference."""
    commit = shop.live.commit("delivery", {"apps/shop/corpus.yaml": _corpus()}, who="sam")
    names = {(value["kind"], value["metadata"]["name"]) for value in map(json.loads, _corpus().split("\n---\n"))}
    assert len({kind for kind, _name in names}) >= 20
    _rests(shop, commit, len(names))
    assert all(shop.kubectl("get", f"{kind}/{name}", "-o", "name") for kind, name in names)
    assert shop.drifts() == []
    assert shop.live.api().get("/api/v1/diff/shop/cloud")["differences"] == []


def test_an_autoscalers_number_is_no_drift_though_the_manifest_has_one(shop: Shop) -> None:
    """Whoever scales what an autoscaler owns is left alone."""
    shop.live.commit("delivery", {"apps/shop/scaled.yaml": SCALED}, who="sam")
    shop.until("the Deployment", lambda: shop.kubectl("get", "deployment/scaled", "--ignore-not-found"))
    shop.kubectl("scale", "deployment/scaled", "--replicas=3")
    before = _passes(shop)
    shop.until("some passes", lambda: _passes(shop) >= before + 4, 120)
    assert shop.get("deployment/scaled")["spec"]["replicas"] == 3
    assert shop.drifts() == []


def test_what_a_webhook_adds_and_stamps_is_no_drift(shop: Shop, tmp_path: Path) -> None:
    """A sidecar and an annotation that changes with each write stay, and are written once: nobody fights the webhook."""
    world = World(kubeconfig.read(shop.machine.kubeconfig), shop.namespace)
    with webhook(tmp_path) as (url, authority):
        (tmp_path / "hook.json").write_text(json.dumps(configuration(world, url, authority)))
        shop.kubectl("apply", "-f", str(tmp_path / "hook.json"))
        try:
            shop.patch("deployment/shop", {"metadata": {"annotations": {"poke": "1"}}}, "somebody")
            shop.until("the sidecar", lambda: "mesh" in shop.kubectl("get", "deployment/shop", "-o", "json"))
            before = _passes(shop)
            shop.until("some passes", lambda: _passes(shop) >= before + 4, 120)
            stamp = shop.get("deployment/shop")["metadata"]["annotations"]["touched"]
            before = _passes(shop)
            shop.until("some passes more", lambda: _passes(shop) >= before + 4, 120)
            assert shop.get("deployment/shop")["metadata"]["annotations"]["touched"] == stamp
            assert shop.drifts() == []
        finally:
            shop.kubectl("delete", "mutatingwebhookconfiguration", f"mutate-{shop.namespace}")
