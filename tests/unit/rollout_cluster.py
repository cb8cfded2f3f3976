"""A namespace in memory for tests of rollouts on Kubernetes: objects that are applied at once, and a data plane that counts."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from setpoint.promotion.model import Candidate, Pin
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.shaping import Asked, Placed, Shaped
from setpoint.reconcile.model import CanaryPlan
from setpoint.reconcile.pods.model import Pod
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.cluster.service import ClusterRollout, RevisionParts
from setpoint.rollout.model import Phase, Rollout
from setpoint.rollout.returning import Returning
from setpoint.rollout.rollouts import Rollouts
from unit.builders_home import ManualClock
from unit.rollout_host import FakeHost

TARGET = KubernetesTarget(cluster="real", namespace="prod", registry="registry.example.com")
MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: prod}
data: {text: same}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "hello/web@REVISION", envFrom: [{configMapRef: {name: web}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: prod}
spec: {parentRefs: [{name: gateway}], rules: [{backendRefs: [{name: web, port: 80}]}]}
"""


def objects_of(revision: str, text: str = MANIFESTS + ROUTE) -> tuple[Object, ...]:
    """Return the objects of a revision."""
    return tuple(yaml.safe_load_all(text.replace("REVISION", revision)))


def pin_of(revision: str) -> Pin:
    """Return a pin of a revision."""
    return Pin(Candidate("web", "prod", {}, "t", None), f"p-{revision}", "hello", "c" * 40, revision, "", f"pin-{revision}")


@dataclass
class FakeNamespace:
    """The objects of a namespace, whose pods are ready at once."""

    live: dict[ObjectKey, dict[str, Any]] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    """Names of Deployments whose pods do not become ready."""
    late: set[str] = field(default_factory=set)
    """Names of Deployments that ran into their deadline."""
    unknown: bool = False
    """Nothing can be looked at."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(Service, class of answers) -> how many"""
    inventory: dict[str, None] = field(default_factory=dict)
    running: list[Pod] = field(default_factory=list)
    held: bool = False
    """A hook works: nothing is applied."""
    silent: bool = False
    """The data plane does not answer."""

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return what is there."""
        return {key: Seen(self.live.get(key), known=not self.unknown) for key in keys}

    def take(self, shaped: Shaped) -> None:
        """Apply what is wanted, and remove what is not and may go."""
        if self.held:
            return
        for manifest in shaped.manifests:
            key, made = ObjectKey.of(manifest), copy.deepcopy(dict(manifest))
            self.inventory[str(key)] = None
            made["metadata"] = {**made["metadata"], "generation": 1}
            if key.kind == "Deployment":
                made["status"] = self._status(key.name, made["spec"].get("replicas", 1))
            if key.kind == "StatefulSet":
                made["status"] = _ordinals(made["spec"])
            self.live[key] = made
        wanted = {str(ObjectKey.of(one)) for one in shaped.manifests}
        for name in [name for name in self.inventory if name not in wanted and name not in shaped.stays]:
            del self.inventory[name]
            self.live.pop(ObjectKey.parse(name), None)

    def _status(self, name: str, replicas: int) -> dict[str, Any]:
        ready = 0 if name in self.unready else replicas
        reason = "ProgressDeadlineExceeded" if name in self.late else "NewReplicaSetAvailable"
        conditions = [{"type": "Progressing", "status": "True", "reason": reason, "message": "no pod became ready"}]
        return {"observedGeneration": 1, "availableReplicas": ready, "updatedReplicas": replicas, "conditions": conditions}

    def pods(self, target: KubernetesTarget) -> list[Pod]:
        """Return what pods a test says there are."""
        return self.running

    def read(self, target: KubernetesTarget) -> Mapping[str, str]:
        """Return the page of the data plane."""
        if self.silent:
            return {}
        rows = [f'haproxy_backend_http_responses_total{{proxy="prod_{s}_80",code="{c}"}} {n}' for (s, c), n in self.counts.items()]
        services = [key.name for key in self.live if key.kind == "Service"]
        zeros = [
            f'haproxy_backend_http_responses_total{{proxy="prod_{s}_80",code="2xx"}} 0' for s in services if (s, "2xx") not in self.counts
        ]
        return {"haproxy": "\n".join([*rows, *zeros, "haproxy_process_start_time_seconds 7"])}

    def named(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return sorted(key.name for key in self.live if key.kind == kind)


def _ordinals(spec: dict[str, Any]) -> dict[str, Any]:
    replicas = spec["replicas"]
    partition = spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("partition", 0)
    return {"observedGeneration": 1, "readyReplicas": replicas, "updatedReplicas": replicas - partition}


class ClusterPlay:
    """One application whose pins come one after the other."""

    def __init__(self, clock: ManualClock, text: str = MANIFESTS + ROUTE) -> None:
        self.clock, self.text = clock, text
        self.namespace, self.journal = FakeNamespace(), FakeHost()
        self.pins: dict[str, Placed] = {}
        self.restart()

    def restart(self) -> None:
        """Be another server, without memory."""
        rollouts = Rollouts(self.journal, self.journal, self.clock)
        returning = Returning(rollouts, self.journal, self.clock)
        self.rollouts = rollouts
        self.engine = ClusterRollout(
            RevisionParts(rollouts, Engine(rollouts, self.clock), returning, self.namespace, self.namespace.pods, self.clock)
        )

    def at(self, revision: str, plan: CanaryPlan | None = None, *, text: str = "") -> Rollout:
        """Take a pass for a pin, and return where the rollout is."""
        coming = Placed(pin_of(revision), objects_of(revision, text or self.text))
        self.pins[coming.pin.commit] = coming
        commit = self.engine.stable_pin("web", "prod")
        stable = self.pins[commit] if commit and commit != coming.pin.commit else None
        asked = Asked(coming, stable, plan, self.namespace.inventory.keys(), self.namespace, TARGET)  # type: ignore[arg-type]
        self.shaped = self.engine.shape(asked)
        self.namespace.take(self.shaped)
        self.engine.applied("web", "prod", coming.pin.commit)
        found = self.rollouts.current(("web", "prod"))
        assert found is not None
        return found

    shaped: Shaped

    def until(self, revision: str, phase: Phase, plan: CanaryPlan | None = None, *, text: str = "") -> Rollout:
        """Take passes, two seconds apart, until a phase."""
        for _ in range(40):
            found = self.at(revision, plan, text=text)
            if found.phase is phase:
                return found
            self.clock.move(2)
        pytest.fail(f"it stays {found.phase}")

    def object(self, kind: str, name: str) -> dict[str, Any]:
        """Return a live object."""
        return next(value for key, value in self.namespace.live.items() if (key.kind, key.name) == (kind, name))

    def weights(self) -> dict[str, int]:
        """Return the weights of the route."""
        return {one["name"]: one.get("weight", 1) for one in self.object("HTTPRoute", "web")["spec"]["rules"][0]["backendRefs"]}

    def name(self, revision: str) -> str:
        """Return what the Deployment of a revision is called."""
        return next(
            key.name
            for key, value in self.namespace.live.items()
            if key.kind == "Deployment" and value["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"@{revision}")
        )

    def serve(self, revision: str, requests: int, errors: int) -> None:
        """Let a revision answer."""
        for code, number in (("2xx", requests - errors), ("5xx", errors)):
            key = (self.name(revision), code)
            self.namespace.counts[key] = self.namespace.counts.get(key, 0) + number
