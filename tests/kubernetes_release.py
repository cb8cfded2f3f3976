"""An application `shop` in a namespace of a real cluster, as tests of rollouts use it: busybox answers, or fails, with what was pushed."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import Gateway
from kubernetes_world import Machine
from live_home import PIPELINE, SETPOINT_FILE, TESTS, LiveHome, wait_for
from pusher import Pusher
from rootfs import busybox_entries
from setpoint.cli.cluster import _content

WAIT_S: Final = 120
WORK = """#!/bin/busybox sh
if test {fails} = 1 && test $((0x$(/bin/busybox head -c 1 /dev/urandom | /bin/busybox od -An -tx1 | /bin/busybox tr -d ' ') % 2)) = 0
then printf 'Status: 500 Internal Server Error\\r\\n'
fi
printf 'Content-Type: text/plain\\r\\n\\r\\n{text}'
"""
SERVE = (
    "/bin/busybox mkdir -p /tmp/w/cgi-bin && /bin/busybox cp /www/index.html /tmp/w/ && /bin/busybox cp /www/work /tmp/w/cgi-bin/work"
    " && /bin/busybox chmod 755 /tmp/w/cgi-bin/work && exec /bin/busybox httpd -f -p 8080 -h /tmp/w"
)


@dataclass
class Place:
    """A home with an environment `cloud` in a namespace of the cluster, and the data plane of that namespace."""

    live: LiveHome
    machine: Machine
    namespace: str
    gateway: Gateway | None = None

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in the namespace and return what it prints."""
        argv = ("kubectl", f"--kubeconfig={self.machine.kubeconfig}", "-n", self.namespace, *argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return sorted(self.kubectl("get", kind, "-o", "jsonpath={.items[*].metadata.name}").split())

    def get(self, what: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json"))
        return found

    def weights(self) -> dict[str, int]:
        """Return the weights of the route by its backends."""
        rules = self.get("httproute/shop")["spec"]["rules"]
        return {one["name"]: one.get("weight", 1) for rule in rules for one in rule["backendRefs"]}

    def release(self, text: str, *, fails: bool = False) -> str:
        """Push a version that answers a text, or fails every other time."""
        files = {"www/index.html": text, "www/work": WORK.format(text=text, fails=int(fails))}
        return self.live.commit("hello", files, f"say {text}")

    def rollout(self) -> dict[str, Any]:
        """Return where the rollout is."""
        found: dict[str, Any] = self.live.api().get("/api/v1/rollouts/shop/cloud")
        return found

    def phase(self, phase: str, commit: str = "") -> dict[str, Any]:
        """Wait for a phase of a commit's rollout; one that went by between two looks is found in the journal."""
        seen: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            seen.update(self.rollout())
            if seen["phase"] == phase and commit[:7] in seen["version"]:
                return seen
            told = [
                entry["body"] for entry in self.live.journal() if entry["kind"].startswith("rollout.") and entry["subject"] == "shop/cloud"
            ]
            return next((one for one in told if commit and one["phase"] == phase and commit[:7] in one["new"]["version"]), None)

        try:
            return wait_for(f"a rollout that is {phase}", look, WAIT_S)
        except pytest.fail.Exception:
            why = json.dumps(self.live.api().get("/api/v1/why/shop/cloud"))[:5000]
            pytest.fail(f"no {phase} of {commit[:7]}: {json.dumps(seen)[:3000]} {why} {self._faults()}")

    def healthy(self) -> dict[str, Any]:
        """Wait until the application is healthy."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(
                next(c for c in self.live.api().get("/api/v1/status")["cells"] if (c["app"], c["environment"]) == ("shop", "cloud"))
            )
            return bool(seen["health"] == "healthy")

        try:
            wait_for("a healthy shop", lambda: look() or None, WAIT_S)
        except pytest.fail.Exception:
            pytest.fail(f"not healthy: {json.dumps(self.live.api().get('/api/v1/why/shop/cloud'))[:6000]} {self._faults()}")
        return seen

    def _faults(self) -> list[str]:
        return self.gateway.faults[-3:] if self.gateway is not None else []

    def begin(self, registry: str, manifests: str, environment: str) -> None:
        """Register cluster and registry, and push an application that answers `one`."""
        self.kubectl("create", "namespace", self.namespace)
        busybox, live = shutil.which("busybox"), self.live
        if busybox is None:
            pytest.skip("INCOMPLETE: needs a static busybox (busybox-static)")
        live.api().put("clusters/real", {"kubeconfig": _content(self.machine.kubeconfig, "")})
        base = Pusher(live, "base/busybox").image(busybox_entries(Path(busybox).resolve()), ("PATH=/bin",))
        live.api().put(f"registries/{registry}", {"plain_http": True})
        desired = {
            "setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  shop: {source: hello}"),
            "apps/hello/hello.yaml": None,
            "apps/shop/shop.yaml": manifests,
            "environments/cloud/environment.yaml": environment,
        }
        live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
        image = f"\n      base: {base}\n      copy: {{'www/': /www/}}\n      command: [/bin/busybox, sh, -c, {json.dumps(SERVE)}]\n"
        pipeline = PIPELINE.split("    image:")[0].replace("app.py, ", "www/**, ") + "    image:" + image
        first = {".setpoint/pipeline.yaml": pipeline, "tests.sh": TESTS, "www/index.html": "one"}
        live.commit("hello", first | {"www/work": WORK.format(text="one", fails=0)})
        self.healthy()
