"""What a Kubernetes target needs from outside: clusters by name, and of each a picture of its objects and the calls that change them.

Adapter: `adapters.kubernetes.clusters`. Every call has a deadline: a cluster that does not answer is an error, never a hang.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from setpoint.core.errors import SetpointError
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object that is to be deleted, and that very one."""

    key: ObjectKey
    api_version: str
    uid: str


class Cluster(Protocol):
    """One cluster."""

    def reach(self) -> None:
        """Raise UnreachableError when nobody answers there; costs no call while somebody does, else a probe from time to time.

        Every call below raises it too, as soon as it finds nobody there; what it was doing is left where it was.
        """
        ...

    def is_namespaced(self, api_version: str, kind: str) -> bool:
        """Say whether objects of a kind lie in namespaces; UserError SP687 when it is not served, WorldError SP682 without an answer."""
        ...

    def follow(self, place: str, objects: Mapping[ObjectKey, str]) -> None:
        """Keep a picture of some objects, given with the version each is read in, for a place (an environment) until its next call."""
        ...

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return what the picture shows; costs no call."""
        ...

    def marks(self, keys: Sequence[ObjectKey]) -> tuple[object, ...] | None:
        """Return what changes with anything of some objects, their status too; None when what is known of one may be old. No call."""
        ...

    def look(self, objects: Mapping[ObjectKey, str]) -> dict[ObjectKey, Object | SetpointError | None]:
        """Read objects now, given with the version each is read in, whether they are followed or not; None is not there."""
        ...

    def apply(self, manifests: Sequence[Object], *, dry_run: bool = False) -> dict[ObjectKey, Object | SetpointError]:
        """Apply objects server-side under our manager, many at a time, and return what came of each; a dry run changes nothing."""
        ...

    def take_over(self, key: ObjectKey, api_version: str, patch: Mapping[str, Any]) -> Object:
        """Merge a patch into an object (its owners, see `takeover`; fields to take out) and return it; raises what `apply` returns."""
        ...

    def said(self, key: ObjectKey) -> str:
        """Return the last lines that the newest pod of a Job wrote, at most some hundred characters; empty when none can be had."""
        ...

    def delete(self, deletions: Sequence[Deletion]) -> dict[ObjectKey, SetpointError | None]:
        """Begin to delete objects; one that is gone already is no error."""
        ...


class Clusters(Protocol):
    """All clusters that the operator registered."""

    def of(self, name: str) -> Cluster:
        """Return a cluster; NotFoundError SP693 when there is none of this name, UserError SP680 when its kubeconfig is not understood."""
        ...
