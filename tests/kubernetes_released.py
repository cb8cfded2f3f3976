"""An application `shop` in an environment `cloud` on a real cluster, as tests of pods, pulls and admission use it."""

import base64
import json
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_world import Machine
from live_home import PIPELINE, SETPOINT_FILE, TESTS, LiveHome, wait_for
from pusher import Pusher
from rootfs import busybox_entries
from setpoint.cli.cluster import _content

WAIT_S = 120.0
ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: "{registry}"{more}}}}}
owners: [team:sre]
drift: {{mode: {mode}}}
{rest}
"""


@dataclass
class Shop:
    """A home with an application in a namespace of the cluster."""

    live: LiveHome
    machine: Machine
    namespace: str
    registry: str
    """`registry:` of the target."""
    manifests: str
    image: str = ""
    """How pods name the artifact, once it was healthy."""

    def kubectl(self, *argv: str, given: str = "", ok: bool = True) -> str:
        """Run kubectl in the namespace and return what it prints; without `ok` it has to fail, and its complaint is returned."""
        argv = ("kubectl", f"--kubeconfig={self.machine.kubeconfig}", "-n", self.namespace, *argv)
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout if ok else done.stderr

    def get(self, what: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json"))
        return found

    def text(self, path: str) -> str:
        """Return a page or the metrics."""
        url, token = self.live.ready["url"], self.live.ready["token"]
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}", "Accept": "text/html, */*"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def cell(self) -> dict[str, Any]:
        """Return what `status` says of the application."""
        return next(c for c in self.live.api().get("/api/v1/status")["cells"] if (c["app"], c["environment"]) == ("shop", "cloud"))

    def until(self, what: str, look: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until `status` shows something."""
        seen: dict[str, Any] = {}

        def met() -> bool:
            seen.update(self.cell())
            return look(seen)

        try:
            wait_for(what, lambda: met() or None, WAIT_S)
        except pytest.fail.Exception:
            pytest.fail(f"{what}: {json.dumps(self.live.api().get('/api/v1/why/shop/cloud'))[:6000]}")
        return seen

    def healthy(self, promotion_not: str = "") -> dict[str, Any]:
        """Wait until the application is healthy, by another promotion than this."""
        found = self.until("a healthy shop", lambda c: c["health"] == "healthy" and c["promotion"] != promotion_not)
        self.image = self.get("deployment/shop")["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    def why(self) -> dict[str, Any]:
        """Return every reason."""
        return dict(self.live.api().get("/api/v1/why/shop/cloud"))

    def reason(self, code: str) -> dict[str, Any] | None:
        """Return the first reason of a code."""
        return next((reason for reason in self.why()["reasons"] if reason["code"] == code), None)

    def declare(self, *, mode: str = "correct", more: str = "", rest: str = "") -> None:
        """Commit the environment's file: its drift mode, more keys of its target, more of its own."""
        text = ENVIRONMENT.format(namespace=self.namespace, registry=self.registry, mode=mode, more=more, rest=rest)
        self.live.commit("delivery", {"environments/cloud/environment.yaml": text}, who="sam")

    def register(self) -> None:
        """Register the cluster with its administrator's kubeconfig."""
        self.live.api().put("clusters/real", {"kubeconfig": _content(self.machine.kubeconfig, "")})

    def limited(self, rules: list[dict[str, Any]]) -> str:
        """Return a kubeconfig of a new account of the namespace that may do this in the whole cluster."""
        name = f"limited-{secrets.token_hex(3)}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        binding: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}}
        binding |= {"subjects": [subject], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}}
        self.kubectl("create", "serviceaccount", name)
        for value in (role, binding):
            self.kubectl("apply", "-f", "-", given=json.dumps(value))
        token = self.kubectl("create", "token", name).strip()
        known = yaml.safe_load(self.machine.kubeconfig.read_text())
        cluster = dict(known["clusters"][0]["cluster"])
        if file := cluster.pop("certificate-authority", None):
            cluster["certificate-authority-data"] = base64.b64encode(Path(file).read_bytes()).decode()
        users = [{"name": "u", "user": {"token": token}}]
        contexts = [{"name": "c", "context": {"cluster": "k", "user": "u"}}]
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "k", "cluster": cluster}], "users": users}
        return json.dumps(config | {"contexts": contexts, "current-context": "c"})


@contextmanager
def running_shop(
    live: LiveHome, node: Machine, registry: str, manifests: str, *, more: str = "", rest: str = "", plain: bool = True
) -> Iterator[Shop]:
    """Register the cluster, make the namespace, and push an application that serves files; the namespace is deleted at the end."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("INCOMPLETE: needs a static busybox (busybox-static)")
    namespace = f"shop-{secrets.token_hex(3)}"
    found = Shop(live, node, namespace, f"{registry}/{namespace}" if plain else registry, manifests)
    found.kubectl("create", "namespace", namespace)
    try:
        found.register()
        base = Pusher(live, "base/busybox").image(busybox_entries(Path(busybox).resolve()), ("PATH=/bin",))
        if plain:
            live.api().put(f"registries/{registry}", {"plain_http": True})
        text = ENVIRONMENT.format(namespace=namespace, registry=found.registry, mode="correct", more=more, rest=rest)
        desired = {
            "setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  shop: {source: hello}"),
            "apps/hello/hello.yaml": None,
            "apps/shop/shop.yaml": manifests,
            "environments/cloud/environment.yaml": text,
        }
        live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
        script = json.dumps("exec /bin/busybox httpd -f -p 8080 -h /www")
        image = f"\n      base: {base}\n      copy: {{'www/': /www/}}\n      command: [/bin/busybox, sh, -c, {script}]\n"
        pipeline = PIPELINE.split("    image:")[0].replace("app.py, ", "www/**, ") + "    image:" + image
        live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "tests.sh": TESTS, "www/index.html": "one"})
        yield found
    finally:
        found.kubectl("delete", "namespace", namespace, "--wait=false")
