"""Workloads whose number of replicas an autoscaler sets: Setpoint leaves it alone, and says so where the manifest declares it too. Pure.

Called by the planner with the desired objects and the autoscalers that live beside them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster.ignore import IgnoreRule
from setpoint.reconcile.cluster.model import Object, ObjectKey

_REPLICAS: Final = "spec.replicas"
_SCALERS: Final = {("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject")}


@dataclass(frozen=True, slots=True)
class Scaled:
    """A workload and what scales it."""

    target: ObjectKey
    scaler: ObjectKey

    @property
    def rule(self) -> IgnoreRule:
        """The rule that leaves the number of replicas to the autoscaler."""
        one = self.target
        why = f"{self.scaler.subject} sets it"
        return IgnoreRule((_REPLICAS,), (), _literal(one.group), _literal(one.kind), _literal(one.namespace), _literal(one.name), why)


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def scaled(objects: Iterable[Object]) -> tuple[Scaled, ...]:
    """Return which workloads the autoscalers among some objects (desired or live) scale, each once."""
    found: dict[ObjectKey, Scaled] = {}
    for value in objects:
        key = ObjectKey.of(value)
        if (key.group, key.kind) not in _SCALERS:
            continue
        reference: Mapping[str, Any] = (value.get("spec") or {}).get("scaleTargetRef") or {}
        group = str(reference.get("apiVersion") or ("apps/v1" if key.group == "keda.sh" else "")).rpartition("/")[0]
        kind = str(reference.get("kind") or ("Deployment" if key.group == "keda.sh" else ""))
        target = ObjectKey(group, kind, key.namespace, str(reference.get("name", "")))
        found.setdefault(target, Scaled(target, key))
    return tuple(found.values())


def reasons(objects: Iterable[Object], every: Iterable[Scaled]) -> Iterator[Reason]:
    """Yield what is to be said where a manifest declares a number that an autoscaler sets: two writers for one field."""
    declared = {ObjectKey.of(value): (value.get("spec") or {}).get("replicas") for value in objects}
    for one in every:
        replicas = declared.get(one.target)
        if replicas is not None:
            found = f"it declares replicas {replicas}, and {one.scaler.subject} sets them: the autoscaler's number stays"
            yield Reason("REPLICAS_SCALED", Outcome.ALLOW, one.target.subject, found, "one writer", f"remove {_REPLICAS} from the manifest")
