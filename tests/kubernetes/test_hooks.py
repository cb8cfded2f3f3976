"""Hooks on a real cluster: a migration runs before the application and once, a failed one stops the release with its last words."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubernetes_world import Machine
from live_home import PIPELINE, SETPOINT_FILE, TESTS, LiveHome, wait_for
from pusher import Pusher
from rootfs import busybox_entries
from setpoint.cli.cluster import _content

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: "{registry}/{namespace}"}}}}
owners: [team:sre]
"""
HOOK = """
---
apiVersion: batch/v1
kind: Job
metadata:
  name: %(name)s
  annotations: {%(note)s}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - name: work
          image: web
          command: [/bin/busybox, sh, -c, "%(script)s"]
"""
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {greeting: %s}\n"


@dataclass
class Place:
    """A home with an application in a namespace of the cluster."""

    live: LiveHome
    machine: Machine
    namespace: str

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in the namespace and return what it prints."""
        argv = ("kubectl", f"--kubeconfig={self.machine.kubeconfig}", "-n", self.namespace, *argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def greeting(self) -> str:
        """Return what the application's ConfigMap holds; empty when it is not there."""
        found = self.kubectl("get", "configmap/shop", "--ignore-not-found", "-o", "json")
        return str(json.loads(found)["data"]["greeting"]) if found else ""

    def push(self, greeting: str, *hooks: str) -> None:
        """Push a version with some hooks."""
        self.live.commit("delivery", {"apps/shop/shop.yaml": MAP % greeting + "".join(hooks)}, who="sam")

    def hooks(self) -> list[tuple[str, str]]:
        """Return (name, state) of every hook that was told of, in order."""
        found = []
        for entry in self.live.journal():
            if entry["kind"] == "hook.finished" and entry["subject"] == "shop/cloud":
                run = entry["body"]["runs"][-1]
                found.append((run["hook"].rpartition("/")[2], run["state"]))
        return found

    def why(self) -> list[dict[str, Any]]:
        """Return every reason about the application."""
        return list(self.live.api().get("/api/v1/why/shop/cloud")["reasons"])


def _hook(name: str, script: str, note: str = "setpoint.dev/hook: pre-sync") -> str:
    return HOOK % {"name": name, "script": script, "note": note}


@pytest.fixture(scope="module")
def place(live: LiveHome, node: Machine, registry: str) -> Iterator[Place]:
    """Register the cluster, and push an application whose first version has a migration and a smoke test of a chart."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("INCOMPLETE: needs a static busybox (busybox-static)")
    found = Place(live, node, f"hook-{secrets.token_hex(3)}")
    found.kubectl("create", "namespace", found.namespace)
    live.api().put("clusters/real", {"kubeconfig": _content(node.kubeconfig, "")})
    base = Pusher(live, "base/busybox").image(busybox_entries(Path(busybox).resolve()), ("PATH=/bin",))
    live.api().put(f"registries/{registry}", {"plain_http": True})
    smoke = _hook("smoke", "exit 0", "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-delete-policy: hook-succeeded")
    desired: dict[str, str | None] = {
        "setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  shop: {source: hello}"),
        "apps/hello/hello.yaml": None,
        "apps/shop/shop.yaml": MAP % "one" + _hook("migrate", "exit 0") + smoke,
        "environments/cloud/environment.yaml": ENVIRONMENT.format(namespace=found.namespace, registry=registry),
    }
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
    image = f"\n      base: {base}\n      copy: {{'www/': /www/}}\n      command: [/bin/busybox, sleep, '1000']\n"
    pipeline = PIPELINE.split("    image:")[0].replace("app.py, ", "www/**, ") + "    image:" + image
    live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "tests.sh": TESTS, "www/index.html": "one"})
    yield found
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")


def test_hooks_run_around_the_apply_and_once(place: Place) -> None:
    """The migration ends before anything is applied, the chart's hook comes after it and goes by its policy, and nothing runs again."""
    wait_for("both hooks", lambda: place.hooks() == [("migrate", "succeeded"), ("smoke", "succeeded")] or None, 120)
    wait_for("the version", lambda: place.greeting() == "one" or None, 60)
    wait_for("the smoke test to go", lambda: not place.kubectl("get", "job/smoke", "--ignore-not-found") or None, 60)
    made = json.loads(place.kubectl("get", "job/migrate", "-o", "json"))["metadata"]
    assert made["annotations"]["setpoint.dev/hook-run"].endswith("-pre-sync")
    place.live.stop(kill=True)
    place.live.start()
    wait_for("health", lambda: "READY" in {reason["code"] for reason in place.why()} or None, 90)
    assert json.loads(place.kubectl("get", "job/migrate", "-o", "json"))["metadata"]["uid"] == made["uid"]
    assert place.hooks() == [("migrate", "succeeded"), ("smoke", "succeeded")]


def test_a_failed_hook_stops_the_version_with_its_last_words_and_a_mended_one_goes_on(place: Place) -> None:
    """What runs goes on; the reason has what the pod said last; the next version runs its own hook in its place."""
    place.push("two", _hook("migrate", "echo no such table: carts; exit 1"))
    found = wait_for("the failure", lambda: [one for one in place.why() if one["code"] == "HOOK_FAILED"] or None, 120)
    assert "no such table: carts" in found[0]["found"]
    assert place.greeting() == "one"
    place.push("three", _hook("migrate", "exit 0"))
    wait_for("the mended version", lambda: place.greeting() == "three" or None, 120)
    assert place.hooks()[-2:] == [("migrate", "failed"), ("migrate", "succeeded")]


def test_a_new_version_takes_the_place_of_a_hook_that_never_starts(place: Place) -> None:
    """Its pod asks for what no node has; the next version does not wait for it."""
    wait_for("the version", lambda: place.greeting() == "three" or None, 120)
    stuck = _hook("stuck", "exit 0").replace("image: web", "image: web\n          resources: {requests: {memory: 900Ti}}")
    place.push("four", stuck)
    wait_for("the hook to be made", lambda: place.kubectl("get", "job/stuck", "--ignore-not-found") or None, 120)
    wait_for("the reason", lambda: "HOOK_RUNS" in {one["code"] for one in place.why()} or None, 60)
    place.push("five")
    wait_for("the next version", lambda: place.greeting() == "five" or None, 120)
    wait_for("the stuck one to go", lambda: not place.kubectl("get", "job/stuck", "--ignore-not-found") or None, 60)
