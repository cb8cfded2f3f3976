"""A cluster that dies and comes back: two applications of one environment, and an API server that is killed."""

import json
import secrets
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from tools.kubernetes import control_plane as programs
from tools.kubernetes.layout import Layout
from tools.kubernetes.processes import stop

from live_home import SETPOINT_FILE, LiveHome, wait_for
from setpoint.cli.cluster import _content
from setpoint.cli.main import run as command
from setpoint.cli.output import items_of

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: real, namespace: {namespace}, registry: registry.example.com/x}}}}
owners: [team:sre]
"""
MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {greeting: %s}
"""


@dataclass
class Place:
    """A home with two applications in a namespace of a control plane."""

    live: LiveHome
    layout: Layout
    namespace: str

    def push(self, greeting: str) -> None:
        """Give both applications another greeting."""
        files: dict[str, str | None] = {f"apps/{app}/map.yaml": MANIFEST % (app, greeting) for app in ("one", "two")}
        self.live.commit("delivery", files, who="sam")

    def cells(self) -> dict[str, dict[str, Any]]:
        """Return what `status` says of the applications."""
        cells = self.live.api().get("/api/v1/status")["cells"]
        return {cell["app"]: cell for cell in cells if cell["environment"] == "cloud" and cell["app"] in ("one", "two")}

    def are(self, health: str) -> bool | None:
        """Say whether both applications have a health."""
        return {cell["health"] for cell in self.cells().values()} == {health} or None

    def greeting(self, app: str) -> str:
        """Return what an application's ConfigMap holds."""
        argv = ("kubectl", f"--kubeconfig={self.layout.kubeconfig}", "-n", self.namespace, "get", f"configmap/{app}", "-o", "json")
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["data"]["greeting"])


@pytest.fixture(scope="module")
def place(live: LiveHome, control_plane: Layout) -> Place:
    """Register the cluster and push two applications of one ConfigMap each."""
    found = Place(live, control_plane, f"out-{secrets.token_hex(3)}")
    kubectl = ("kubectl", f"--kubeconfig={control_plane.kubeconfig}", "create", "namespace", found.namespace)
    subprocess.run(kubectl, check=True, timeout=60, stdout=subprocess.DEVNULL)
    live.api().put("clusters/real", {"kubeconfig": _content(control_plane.kubeconfig, "")})
    desired: dict[str, str | None] = {
        "setpoint.yaml": SETPOINT_FILE.replace("apps:", "apps:\n  one: {}\n  two: {}"),
        "environments/cloud/environment.yaml": ENVIRONMENT.format(namespace=found.namespace),
        **{f"apps/{app}/map.yaml": MANIFEST % (app, "hello") for app in ("one", "two")},
    }
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
    wait_for("both to be healthy", lambda: found.are("healthy"), 90)
    return found


def test_a_cluster_that_dies_is_a_state_with_a_since_and_everything_goes_on_when_it_is_back(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it is down both applications are unknown for that one reason; what was pushed meanwhile is applied once it answers."""
    stop(place.layout, "kube-apiserver")
    place.push("bye")
    wait_for("both to be unknown", lambda: place.are("unknown"), 90)
    for app in ("one", "two"):
        why = json.dumps(place.live.api().get(f"/api/v1/why/{app}/cloud"))
        assert "CLUSTER_UNREACHABLE" in why
        assert "since 2" in why
    (listed,) = wait_for(
        "the cluster to be marked",
        lambda: [one for one in items_of(place.live.api().get("clusters")) if one["contact"]["state"] == "unreachable"] or None,
        90,
    )
    monkeypatch.setenv("SETPOINT_URL", place.live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", place.live.ready["token"])
    assert command(["cluster", "list"]) == 0
    assert "unreachable, since" in capsys.readouterr().out
    assert listed["contact"]["why"]
    programs.start_api(place.layout)
    wait_for("both to be healthy", lambda: place.are("healthy"), 90)
    wait_for("the new greetings", lambda: {place.greeting(app) for app in ("one", "two")} == {"bye"} or None, 90)
    assert items_of(place.live.api().get("clusters"))[0]["contact"]["state"] == "answers"
