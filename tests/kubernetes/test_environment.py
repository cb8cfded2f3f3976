"""An environment on a real cluster, from a push to running pods and back: the same files, words and verbs as on the host."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_world import Machine
from live_files import contents
from live_home import PIPELINE, SETPOINT_FILE, TESTS, LiveHome, wait_for
from pusher import Pusher
from rootfs import busybox_entries
from setpoint.cli.cluster import _content
from setpoint.cli.main import run as command
from setpoint.core.errors import SetpointError

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: "{registry}/{namespace}"}}}}
owners: [team:sre]
drift: {{mode: {mode}}}
"""
MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {greeting: hello}
---
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
        - name: shop
          image: web
          env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: shop, key: greeting}}}]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080}]
"""


@dataclass
class Place:
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

    def get(self, what: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json", "--show-managed-fields"))
        return found

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
            wait_for(what, lambda: met() or None, 90)
        except pytest.fail.Exception:
            pytest.fail(f"{what}: {json.dumps(self.live.api().get('/api/v1/why/shop/cloud'))[:6000]}")
        return seen

    def healthy(self, promotion_not: str = "") -> dict[str, Any]:
        """Wait until the application is healthy, by another promotion than this."""
        return self.until("a healthy shop", lambda c: c["health"] == "healthy" and c["promotion"] != promotion_not)


@pytest.fixture(scope="module")
def place(live: LiveHome, node: Machine, registry: str) -> Iterator[Place]:
    """Register the cluster, make the namespace, and push an application that answers `one`."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("INCOMPLETE: needs a static busybox (busybox-static)")
    found = Place(live, node, f"shop-{secrets.token_hex(3)}")
    found.kubectl("create", "namespace", found.namespace)
    live.api().put("clusters/real", {"kubeconfig": _content(node.kubeconfig, "")})
    base = Pusher(live, "base/busybox").image(busybox_entries(Path(busybox).resolve()), ("PATH=/bin",))
    live.api().put(f"registries/{registry}", {"plain_http": True})
    environment = ENVIRONMENT.format(namespace=found.namespace, registry=registry, mode="correct")
    desired = {
        "setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  shop: {source: hello}"),
        "apps/hello/hello.yaml": None,
        "apps/shop/shop.yaml": MANIFESTS,
        "environments/cloud/environment.yaml": environment,
    }
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
    script = json.dumps("exec /bin/busybox httpd -f -p 8080 -h /www")
    image = f"\n      base: {base}\n      copy: {{'www/': /www/}}\n      command: [/bin/busybox, sh, -c, {script}]\n"
    pipeline = PIPELINE.split("    image:")[0].replace("app.py, ", "www/**, ") + "    image:" + image
    live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "tests.sh": TESTS, "www/index.html": "one"})
    yield found
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")


def _answer(place: Place) -> str:
    address = place.get("service/shop")["spec"]["clusterIP"]
    done = subprocess.run(["curl", "-s", "-m", "5", f"http://{address}/"], capture_output=True, text=True, check=False)
    return done.stdout


def test_a_push_becomes_pods_that_carry_what_they_are(place: Place) -> None:
    """The artifact is copied by digest, the objects are ours and say whose they are, and the Service answers."""
    cell = place.healthy()
    assert (cell["replicas_ready"], cell["replicas_wanted"]) == (1, 1)
    deployment = place.get("deployment/shop")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(cell["artifacts"]["web"])
    assert image.startswith(f"{place.machine.registry}/{place.namespace}/")
    assert deployment["metadata"]["labels"]["setpoint.dev/app"] == "shop"
    assert deployment["metadata"]["annotations"]["setpoint.dev/promotion"] == cell["promotion"]
    assert {row["manager"] for row in deployment["metadata"]["managedFields"]} >= {"setpoint"}
    assert wait_for("an answer", lambda: _answer(place) or None) == "one"
    why = place.live.api().get("/api/v1/why/shop/cloud")
    assert "READY" in json.dumps(why)
    assert place.live.api().get("/api/v1/diff/shop/cloud")["differences"] == []


def test_what_is_not_ours_is_left_alone_while_ours_is_brought_back(place: Place) -> None:
    """A pass that corrects one field writes nothing else: what others added stays, keeps its version, and is no drift."""
    place.healthy()
    before, entries = place.get("service/shop")["metadata"]["resourceVersion"], len(place.live.journal())
    place.kubectl("annotate", "configmap/shop", "somebody=else")
    place.kubectl("label", "service/shop", "also=theirs")
    labelled = place.get("service/shop")["metadata"]["resourceVersion"]
    assert labelled != before
    place.kubectl("patch", "configmap/shop", "--type=merge", "-p", '{"data":{"greeting":"good night"}}')
    wait_for("a pass", lambda: place.get("configmap/shop")["data"]["greeting"] == "hello" or None, 60)
    assert place.get("service/shop")["metadata"]["resourceVersion"] == labelled
    assert place.get("configmap/shop")["metadata"]["annotations"]["somebody"] == "else"
    subjects = {entry["body"]["field"] for entry in place.live.journal()[entries:] if entry["kind"] == "drift.found"}
    assert subjects == {"data.greeting"}


def test_what_a_hand_changed_is_recorded_with_its_writer_and_brought_back(place: Place) -> None:
    """A patched field and a deleted object are cases of drift, and both are healed."""
    place.healthy()
    place.kubectl("patch", "configmap/shop", "--type=merge", "-p", '{"data":{"greeting":"bye"}}')
    wait_for("it to be back", lambda: place.get("configmap/shop")["data"]["greeting"] == "hello" or None, 60)
    place.kubectl("delete", "service/shop")
    wait_for("the Service", lambda: place.kubectl("get", "service/shop", "--ignore-not-found") or None, 60)
    cases = wait_for(
        "the end",
        lambda: (
            [c for c in place.live.api().get("/api/v1/drift", {"history": "true"}) if c["app"] == "shop" and c["state"] == "healed"] or None
        ),
        60,
    )
    patched = next(case for case in cases if case["subject"] == "ConfigMap/shop")
    assert (patched["field"], patched["desired"], patched["live"]) == ("data.greeting", "hello", "bye")
    assert "kubectl-patch" in patched["writer"]


def test_what_is_left_out_is_deleted_and_what_is_cluster_wide_is_refused(place: Place) -> None:
    """An object that the manifests drop goes, behind the budget; one that lies in no namespace stops the change with a reason."""
    before = place.healthy()["promotion"]
    extra = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    place.live.commit("delivery", {"apps/shop/shop.yaml": MANIFESTS + extra}, who="sam")
    before = place.healthy(before)["promotion"]
    assert place.get("configmap/extra")["data"] == {"a": "b"}
    place.live.commit("delivery", {"apps/shop/shop.yaml": MANIFESTS}, who="sam")
    before = place.healthy(before)["promotion"]
    wait_for("it to be gone", lambda: not place.kubectl("get", "configmap/extra", "--ignore-not-found") or None, 60)
    role = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\nrules: []\n"
    place.live.commit("delivery", {"apps/shop/shop.yaml": MANIFESTS + role}, who="sam")
    cell = place.until("the refusal", lambda c: c["health"] == "degraded")
    assert "SP695" in json.dumps(place.live.api().get("/api/v1/why/shop/cloud")), cell
    place.live.commit("delivery", {"apps/shop/shop.yaml": MANIFESTS}, who="sam")
    place.healthy(before)


def test_a_new_release_rolls_and_a_rollback_brings_the_old_one(place: Place) -> None:
    """The next digest is rolled by Kubernetes; the rollback is a commit like everywhere, and the old content answers."""
    first = place.healthy()["promotion"]
    place.live.commit("hello", {"www/index.html": "two"})
    second = place.healthy(first)["promotion"]
    assert wait_for("the new answer", lambda: _answer(place) == "two" or None)
    place.live.api().post("/api/v1/rollbacks", {"app": "shop", "environment": "cloud", "message": "worse"})
    place.healthy(second)
    assert wait_for("the old answer", lambda: _answer(place) == "one" or None)


def test_the_command_line_lists_clusters_and_says_nothing_of_their_credentials(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name and the address are shown; the token is in its own 0600 file only; an unknown name has a fix."""
    monkeypatch.setenv("SETPOINT_URL", place.live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", place.live.ready["token"])
    assert command(["cluster", "list"]) == 0
    shown = capsys.readouterr().out
    assert "real" in shown
    assert "https://" in shown
    token = yaml.safe_load(place.machine.kubeconfig.read_text())["users"][0]["user"]["token"]
    assert token not in shown + json.dumps(place.live.journal())
    kept = [path for path, data in contents(place.live.home) if token.encode() in data]
    assert [path.parent.name for path in kept] == ["kubeconfig"]
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_an_application_that_leaves_is_deleted_when_a_person_says_so(place: Place) -> None:
    """Out of setpoint.yaml it runs on and is listed; confirmed, its objects go, and only they."""
    place.healthy()
    place.kubectl("create", "configmap", "bystander")
    desired = {"setpoint.yaml": SETPOINT_FILE, "apps/shop/shop.yaml": None}
    commit = place.live.commit("delivery", desired, who="sam")
    place.live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": commit})
    waiting = wait_for("the orphan", lambda: _prunable(place))
    assert "apps/Deployment/" in json.dumps(waiting)
    assert place.kubectl("get", "deployment/shop")
    place.live.api().post("/api/v1/prunes", {"app": "shop", "environment": "cloud", "set": waiting["held"]["set"], "message": "gone"})
    wait_for(
        "it to be gone",
        lambda: not place.kubectl("get", "deployment/shop", "service/shop", "configmap/shop", "--ignore-not-found") or None,
        90,
    )
    assert place.kubectl("get", "configmap/bystander")


def _prunable(place: Place) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = place.live.api().get("/api/v1/prunes/shop/cloud")
    except SetpointError:
        return None
    return found
