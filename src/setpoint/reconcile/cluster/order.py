"""In which order objects are applied and pruned: phases, waves, kinds, names; namespaces and definitions before who needs them. Pure.

Called by the reconciler of a Kubernetes target. Steps are taken one after the other; the objects of one step may be applied at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final, Literal

from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster.hooks import Phase, Placement, place, problems_of
from setpoint.reconcile.cluster.model import Object, ObjectKey

_DEFINITION: Final = "CustomResourceDefinition"
_KINDS: Final = (
    ("CustomResourceDefinition", "Namespace"),
    ("PriorityClass", "RuntimeClass", "StorageClass", "IngressClass", "VolumeAttributesClass", "DeviceClass", "GatewayClass", "CSIDriver"),
    ("ResourceQuota", "LimitRange"),
    ("NetworkPolicy", "PodDisruptionBudget"),
    ("ServiceAccount",),
    ("ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret", "PersistentVolume"),
    ("PersistentVolumeClaim",),
    ("Service", "Endpoints", "EndpointSlice", "ReferenceGrant"),
    ("DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"),
    ("CronJob", "HorizontalPodAutoscaler"),
    ("Gateway",),
    ("Ingress", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute"),
    ("APIService",),
)
"""What is needed comes before who needs it: quotas and policies before pods, accounts and roles before who uses them, configuration and
services before the pods that read them as they start."""
_RANK: Final = {kind: rank for rank, kinds in enumerate(_KINDS) for kind in kinds}
_OTHERS: Final = len(_KINDS)
_LAST: Final = frozenset(
    {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    }
)
"""They stand in the way of every later call, so they come when what answers them is there."""


def rank_of(key: ObjectKey) -> int:
    """Return the place of a kind among the others of its wave; custom kinds come after the built-in ones."""
    if key.kind in _LAST:
        return _OTHERS + 1
    return _RANK.get(key.kind, _OTHERS)


@dataclass(frozen=True, slots=True)
class Step:
    """Objects that may be applied, or deleted, at the same time."""

    phase: Phase
    wave: int
    keys: tuple[ObjectKey, ...]
    wait: Literal["", "established", "healthy"] = ""
    """What has to be true of them and of everything in their wave before the next step: definitions are served, or all is well."""


@dataclass(frozen=True, slots=True)
class Order:
    """How an application is applied."""

    steps: tuple[Step, ...] = ()
    placements: Mapping[ObjectKey, Placement] | None = None
    """Every object's place, also of those that are not applied."""
    problems: tuple[Reason, ...] = ()
    """What forbids to begin."""
    notes: tuple[Reason, ...] = ()
    """What was moved or left out, and why."""

    def of(self, *phases: Phase) -> tuple[Step, ...]:
        """Return the steps of some phases."""
        return tuple(step for step in self.steps if step.phase in phases)


def order(objects: Sequence[Object], *, first: bool = False) -> Order:
    """Return the steps in which objects are applied; first: the application was never applied before."""
    placements: dict[ObjectKey, Placement] = {}
    twice = []
    for value in objects:
        key = ObjectKey.of(value)
        if key in placements:
            twice.append(
                Reason("OBJECT_TWICE", Outcome.DENY, key.subject, "it is declared twice", "once", "remove one, or give it another name")
            )
        placements[key] = place(value, first=first)
    notes = [
        Reason("NOT_APPLIED", Outcome.ALLOW, key.subject, placement.skipped)
        for key, placement in sorted(placements.items())
        if placement.skipped
    ]
    notes += _hoist(placements, needs(objects))
    rows = sorted(
        (phase.rank, placement.wave, rank_of(key), key, phase) for key, placement in placements.items() for phase in placement.phases
    )
    return Order(tuple(_steps(rows)), placements, (*twice, *problems_of(placements)), tuple(notes))


def needs(objects: Iterable[Object]) -> dict[ObjectKey, tuple[ObjectKey, ...]]:
    """Return which Namespace and CustomResourceDefinition of the same set an object needs: before they are there it is only predicted."""
    every = [(ObjectKey.of(value), value) for value in objects]
    spaces = {key.name: key for key, _ in every if key.kind == "Namespace" and key.group == ""}
    served = {}
    for key, value in every:
        if key.kind == _DEFINITION:
            spec = value.get("spec") or {}
            served[str(spec.get("group", "")), str((spec.get("names") or {}).get("kind", ""))] = key
    found = {}
    for key, _ in every:
        needed = tuple(one for one in (spaces.get(key.namespace), served.get((key.group, key.kind))) if one is not None)
        if needed:
            found[key] = needed
    return found


def _hoist(placements: dict[ObjectKey, Placement], needed: Mapping[ObjectKey, tuple[ObjectKey, ...]]) -> Iterator[Reason]:
    """Move what is needed to the phase and wave of its first user, and say so."""
    for user, sources in sorted(needed.items()):
        theirs = placements[user]
        if not theirs.phases:
            continue
        for source in sources:
            mine = placements[source]
            if mine.phases and (mine.phases[0].rank, mine.wave) > (theirs.phases[0].rank, theirs.wave):
                placements[source] = replace(mine, phases=(theirs.phases[0],), wave=theirs.wave)
                place_text = f"{theirs.phases[0]} wave {theirs.wave}"
                yield Reason(
                    "MOVED_FORWARD", Outcome.ALLOW, source.subject, f"it is applied in {place_text}: {user.subject} needs it there"
                )


def _steps(rows: Sequence[tuple[int, int, int, ObjectKey, Phase]]) -> Iterator[Step]:
    for (_, wave), of_wave in groupby(rows, key=lambda row: row[:2]):
        groups = [list(group) for _, group in groupby(of_wave, key=lambda row: row[2])]
        for position, group in enumerate(groups):
            keys = tuple(row[3] for row in group)
            last = position == len(groups) - 1
            defines = any(key.kind == _DEFINITION for key in keys)
            yield Step(group[0][4], wave, keys, "healthy" if last else "established" if defines else "")


def prune_order(waves: Mapping[ObjectKey, int]) -> tuple[Step, ...]:
    """Return the steps in which objects are deleted, the reverse of their applying; given is the wave each was applied in."""
    rows = sorted((-wave, -rank_of(key), key) for key, wave in waves.items())
    return tuple(Step(Phase.SYNC, -wave, tuple(row[2] for row in group)) for (wave, _), group in groupby(rows, key=lambda row: row[:2]))
