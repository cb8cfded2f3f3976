"""Applications that wait for others on a real API server: nothing of them is begun before, what runs goes on, and why says for whom."""

import json
import secrets
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from tools.kubernetes.layout import Layout

from live_home import SETPOINT_FILE, LiveHome, wait_for
from setpoint.cli.cluster import _content

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: registry.example.com/x}}}}
owners: [team:sre]
"""
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {greeting: %s}\n"
CLAIM = """---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: never}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
"""There is no storage in a control plane: it is never bound."""


@dataclass
class Place:
    """A home with three applications in a namespace of a control plane: `shop` waits for `db`, and for `queue` of another environment."""

    live: LiveHome
    layout: Layout
    namespace: str

    def get(self, name: str) -> str:
        """Return the greeting of a ConfigMap; empty when it is not there."""
        argv = ("kubectl", f"--kubeconfig={self.layout.kubeconfig}", "-n", self.namespace, "get", "configmap", name, "--ignore-not-found")
        done = subprocess.run([*argv, "-o", "json"], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["data"]["greeting"]) if done.stdout else ""

    def cell(self, app: str, environment: str = "cloud") -> dict[str, Any]:
        """Return what `status` says of an application."""
        cells = self.live.api().get("/api/v1/status")["cells"]
        return next(cell for cell in cells if (cell["app"], cell["environment"]) == (app, environment))

    def pinned(self, count: int) -> None:
        """Wait until so many pins were ever written: until then the branch moves under whoever pushes."""
        wait_for(f"{count} pins", lambda: sum(entry["kind"] == "promotion.pinned" for entry in self.live.journal()) >= count or None, 90)

    def waits_for(self, name: str) -> bool:
        """Say whether `shop` waits for an application."""
        reasons = self.live.api().get("/api/v1/why/shop/cloud")["reasons"]
        return name in {reason["subject"] for reason in reasons if reason["code"] == "DEPENDENCY_WAITS"}


@pytest.fixture(scope="module")
def place(live: LiveHome, control_plane: Layout) -> Place:
    """Push three applications; `db` never becomes healthy, and of `queue` there is nothing in the shared environment yet."""
    found = Place(live, control_plane, f"dep-{secrets.token_hex(3)}")
    for namespace in (found.namespace, f"{found.namespace}-s"):
        argv = ("kubectl", f"--kubeconfig={control_plane.kubeconfig}", "create", "namespace", namespace)
        subprocess.run(argv, check=True, timeout=60, stdout=subprocess.DEVNULL)
    live.api().put("clusters/real", {"kubeconfig": _content(control_plane.kubeconfig, "")})
    apps = "apps:\n  shop: {dependsOn: [db, queue@shared]}\n  db: {}\n  queue: {}"
    desired: dict[str, str | None] = {
        "setpoint.yaml": SETPOINT_FILE.replace("apps:", apps),
        "environments/cloud/environment.yaml": ENVIRONMENT.format(namespace=found.namespace),
        "environments/shared/environment.yaml": ENVIRONMENT.format(namespace=f"{found.namespace}-s"),
        "apps/shop/shop.yaml": MAP % ("shop", "hello"),
        "apps/db/db.yaml": MAP % ("db", "one") + CLAIM,
        "environments/cloud/queue/queue.yaml": MAP % ("queue", "one"),
    }
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
    return found


def test_nothing_is_begun_before_what_is_waited_for_is_well(place: Place) -> None:
    """Both that are waited for are named; when they are there, it goes on by itself; and what runs goes on while the next version waits."""
    wait_for("the reasons", lambda: (place.waits_for("db") and place.waits_for("queue in shared")) or None, 90)
    wait_for("db to be begun", lambda: place.get("db") == "one" or None, 90)
    assert place.get("shop") == ""
    assert place.cell("shop")["health"] == "progressing"
    place.pinned(5)
    files = {"apps/db/db.yaml": MAP % ("db", "one"), "environments/shared/queue/queue.yaml": MAP % ("queue", "one")}
    place.live.commit("delivery", files, who="sam")
    wait_for("shop", lambda: place.get("shop") == "hello" or None, 90)
    wait_for("health", lambda: place.cell("shop")["health"] == "healthy" or None, 90)
    place.pinned(8)
    place.live.commit("delivery", {"apps/db/db.yaml": MAP % ("db", "two") + CLAIM}, who="sam")
    place.pinned(10)
    wait_for("the second db", lambda: (place.get("db") == "two" and place.cell("db")["health"] == "progressing") or None, 90)
    place.live.commit("delivery", {"apps/shop/shop.yaml": MAP % ("shop", "bye")}, who="sam")
    wait_for("shop to wait", lambda: place.waits_for("db") or None, 90)
    place.pinned(12)
    assert place.get("shop") == "hello"
    place.live.commit("delivery", {"setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  shop: {}\n  db: {}\n  queue: {}")}, who="sam")
    wait_for("shop, which waits for nobody any more", lambda: place.get("shop") == "bye" or None, 90)


def test_a_circle_is_refused_at_the_push(place: Place) -> None:
    """The file is not accepted, and the circle is written out."""
    apps = "apps:\n  shop: {dependsOn: [db]}\n  db: {dependsOn: [shop]}\n  queue: {}"
    place.live.commit("delivery", {"setpoint.yaml": SETPOINT_FILE.replace("apps:", apps)}, who="sam")
    wait_for("the finding", lambda: "db -> shop -> db" in json.dumps(place.live.api().get("/api/v1/why/shop/cloud")) or None, 90)
