"""What a cluster that does not answer means for the refusals of images in others: nothing."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from setpoint.core.errors import SetpointError, UnreachableError
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.ports import Deletion
from setpoint.reconcile.enforce.service import EnforceParts, EnforceService


class World:
    """Two clusters, one of them dead, whose refusal nobody asks for any more."""

    def __init__(self) -> None:
        self.asked = ""
        self.dead = True
        self.places = [("dead", "old")]
        self.applied: list[str] = []
        self.deleted: list[str] = []
        self.journal: list[str] = []

    def enforced(self) -> list[tuple[str, str]]:
        """Return where objects may be."""
        return self.places

    def record(self, kind: str, subject: str, actor: str, body: Mapping[str, Any]) -> None:
        """Take a journal entry."""
        self.journal.append(f"{kind} {subject}")
        if kind == "admission.released":
            self.places.remove((body["cluster"], body["namespace"]))
        else:
            self.places.append((body["cluster"], body["namespace"]))

    def of(self, name: str) -> "World":
        """Return a cluster."""
        self.asked = name
        return self

    def follow(self, place: str, objects: Mapping[ObjectKey, str]) -> None:
        """Look at nothing."""

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return that nothing is there."""
        return {key: Seen(None, known=True) for key in keys}

    def apply(self, manifests: Sequence[Object]) -> dict[ObjectKey, Object | SetpointError]:
        """Take objects."""
        self.applied += [f"{self.asked} {one['kind']}" for one in manifests]
        return {ObjectKey.of(one): one for one in manifests}

    def delete(self, deletions: Sequence[Deletion]) -> dict[ObjectKey, SetpointError | None]:
        """Delete, where somebody answers."""
        if self.dead:
            raise UnreachableError("SP682", "nobody answers")
        self.deleted += [one.key.kind for one in deletions]
        return {one.key: None for one in deletions}


def test_a_dead_cluster_does_not_stop_the_refusals_of_others() -> None:
    """What is to be taken away there stays noted until it answers; the list of the living one is written in the same pass."""
    world = World()
    target = SimpleNamespace(kubernetes=SimpleNamespace(cluster="real", namespace="shop", enforceImages=True))
    environment = SimpleNamespace(target=target, images=())
    delivery = cast("Any", SimpleNamespace(environments={"cloud": environment}, environment=lambda _name: environment))
    nothing = SimpleNamespace(named=lambda _where: (set(), True), look=lambda _where: (), named_before=lambda _where: set())
    parts = cast("Any", world)
    service = EnforceService(EnforceParts("h-0123456789", parts, cast("Any", nothing), parts, parts))
    assert service.keep(delivery, "cloud", settled=False)
    assert world.applied == ["real ConfigMap", "real ValidatingAdmissionPolicy", "real ValidatingAdmissionPolicyBinding"]
    assert world.places == [("dead", "old"), ("real", "shop")]
    world.dead = False
    assert service.keep(delivery, "cloud", settled=False)
    assert world.deleted == ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "ConfigMap"]
    assert world.journal[-1] == "admission.released dead/old"
