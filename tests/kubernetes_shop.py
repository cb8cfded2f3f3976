"""An environment on a real cluster for tests of drift: an application without artifacts, whose Deployment has no replicas.

No pod starts. Made by fixtures of tests/kubernetes; a push to healthy takes about a second, for nothing is built or pulled.
"""

import json
import secrets
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from kubernetes_world import Machine
from live_home import SETPOINT_FILE, LiveHome, wait_for
from setpoint.cli.cluster import _content

IMAGE = "registry.example.com/web@sha256:" + "1" * 64
ENVIRONMENT = f"""
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{{{kubernetes: {{{{cluster: real, namespace: {{namespace}}, registry: "registry.example.com/shop"}}}}}}}}
owners: [team:sre]
images: ["{IMAGE}"]
"""
MANIFESTS = f"""# What the shop is made of.
apiVersion: v1
kind: ConfigMap
metadata: {{name: shop}}
data:
  greeting: hello   # what people see first
  color: "blue"
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
        - name: shop
          image: {IMAGE}
          workingDir: /srv
          resources: {{limits: {{memory: 64Mi}}}}
"""


@dataclass
class Shop:
    """A home with an environment `cloud` in a namespace of the cluster."""

    live: LiveHome
    machine: Machine
    namespace: str

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in the namespace and return what it prints."""
        argv = ("kubectl", f"--kubeconfig={self.machine.kubeconfig}", "-n", self.namespace, *argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def patch(self, what: str, change: dict[str, Any], manager: str = "kubectl-patch") -> None:
        """Change an object as somebody else does."""
        self.kubectl("patch", what, "--type=strategic", "-p", json.dumps(change), f"--field-manager={manager}")

    def get(self, what: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json", "--show-managed-fields"))
        return found

    def cell(self) -> dict[str, Any]:
        """Return what `status` says of the application."""
        return next(c for c in self.live.api().get("/api/v1/status")["cells"] if (c["app"], c["environment"]) == ("shop", "cloud"))

    def why(self) -> list[dict[str, Any]]:
        """Return the reasons of `why`."""
        found: list[dict[str, Any]] = self.live.api().get("/api/v1/why/shop/cloud")["reasons"]
        return found

    def until(self, what: str, look: Callable[[], Any], limit_s: float = 60.0) -> Any:
        """Wait for something; when it does not come, fail with what `why` says."""
        try:
            return wait_for(what, look, limit_s)
        except pytest.fail.Exception:
            pytest.fail(f"{what}: {json.dumps(self.live.api().get('/api/v1/why/shop/cloud'))[:6000]}")

    def reason(self, code: str, text: str = "") -> dict[str, Any]:
        """Wait until `why` has a reason."""
        found: dict[str, Any] = self.until(
            f"{code} {text}", lambda: next((r for r in self.why() if r["code"] == code and text in json.dumps(r)), None)
        )
        return found

    def metrics(self) -> str:
        """Return what `/metrics` says."""
        request = urllib.request.Request(f"{self.live.ready['url']}/metrics")
        request.add_header("Authorization", f"Bearer {self.live.ready['token']}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def drifts(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the cases of drift, of the past too, that have these values."""
        every = self.live.api().get("/api/v1/drift", {"history": "true", "application": "shop", "environment": "cloud"})
        return [one for one in every if all(one[name] == value for name, value in wanted.items())]

    def push(self, files: dict[str, str | None]) -> str:
        """Push to the delivery repository and wait until the reconciler has applied what is there now; returns the commit."""
        commit = self.live.commit("delivery", files, who="sam")
        self.settled(commit)
        return commit

    def settled(self, commit: str) -> None:
        """Wait until the tree of a commit is what is pinned, and healthy."""

        def look() -> bool:
            cell = self.cell()
            return cell["health"] == "healthy" and not cell["waiting"] and self._pinned(commit)

        self.until("the new configuration", look)

    def _pinned(self, commit: str) -> bool:
        """Say whether the pin carries the application's tree of a commit, and the reconciler has seen it."""
        folder = self.live.home / "repositories" / "delivery.git"

        def git(*argv: str) -> str:
            return subprocess.run(["git", "-C", str(folder), *argv], capture_output=True, text=True, check=False).stdout.strip()

        pin = git("show", "main:pins/cloud/shop.yaml")
        trees = [git("rev-parse", "-q", "--verify", f"{commit}:{path}") for path in ("apps/shop", "environments/cloud/shop")]
        seen: dict[str, Any] = next((e["body"] for e in reversed(self.live.journal()) if e["kind"] == "deployment.observed"), {})
        return all(tree in pin for tree in trees) and seen.get("pin_commit") == git("log", "-1", "--format=%H", "main", "--", "pins/cloud")


@contextmanager
def running_shop(live: LiveHome, node: Machine, more: dict[str, str] | None = None) -> Iterator[Shop]:
    """Register the cluster, make a namespace, and push the application; `more` are files beside it."""
    shop = Shop(live, node, f"shop-{secrets.token_hex(3)}")
    shop.kubectl("create", "namespace", shop.namespace)
    live.api().put("clusters/real", {"kubeconfig": _content(node.kubeconfig, "")})
    files = {
        "setpoint.yaml": SETPOINT_FILE.replace("hello: {source: hello}", "shop: {environments: [cloud]}"),
        "apps/hello/hello.yaml": None,
        "apps/shop/shop.yaml": MANIFESTS,
        "environments/cloud/environment.yaml": ENVIRONMENT.format(namespace=shop.namespace),
        **(more or {}),
    }
    commit = live.commit("delivery", files, who="sam")
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": commit})
    try:
        shop.settled(commit)
        yield shop
    finally:
        shop.kubectl("delete", "namespace", shop.namespace, "--wait=false")
