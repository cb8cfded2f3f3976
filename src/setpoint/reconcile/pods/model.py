"""Pods as a picture keeps them, and what is said of them; the words of `status` and `trace` about pods. Nothing here reads a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from setpoint.reconcile.cluster.owner import Owner


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container of a pod, or an image that is mounted as a volume."""

    name: str
    sort: Literal["container", "init", "ephemeral", "volume"]
    image: str
    """As the pod's specification names it."""
    image_id: str = ""
    """As the node reports it (see `digests.reported`); empty before it was pulled, and of a volume."""
    ready: bool = False
    ended: bool = False
    """It has come to its end and is not started again."""


@dataclass(frozen=True, slots=True)
class PodOwner:
    """One link of the chain of controllers above a pod."""

    api_version: str
    kind: str
    name: str
    uid: str
    revision: str = ""
    """Of a ReplicaSet: the revision of its Deployment, as Kubernetes counts it."""
    whose: Owner | None = None
    """Whose of ours it says it is; None when it says nothing, or could not be read."""

    @property
    def subject(self) -> str:
        """What people read: `ReplicaSet/web-5d8f`."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod: enough to say what it runs and who made it."""

    namespace: str
    name: str
    uid: str
    phase: str
    created_at: str
    node: str = ""
    addresses: tuple[str, ...] = ()
    leaving: bool = False
    """It is being deleted."""
    ready: bool = False
    restarts: int = 0
    containers: tuple[PodContainer, ...] = ()
    owners: tuple[PodOwner, ...] = ()
    """The chain of controllers, nearest first."""
    chained: bool = True
    """Whether the chain above is known to its end."""
    promotion: str = ""
    """The promotion that made its template, as its annotation says; nobody vouches for that."""

    @property
    def workload(self) -> str:
        """The controller at the end of the chain, or the pod itself."""
        return self.owners[-1].subject if self.owners else f"Pod/{self.name}"

    @property
    def chain(self) -> str:
        """The pod and everything above it, for people: `Pod/web-1 of ReplicaSet/web-5d8f of Deployment/web`."""
        return " of ".join([f"Pod/{self.name}", *(owner.subject for owner in self.owners)])

    @property
    def ended(self) -> bool:
        """Whether it runs nothing any more."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class PodsLook:
    """The pods of a namespace as a picture shows them."""

    pods: tuple[Pod, ...]
    stale_since: str = ""
    """Since when the picture may be old; empty when it is not."""
    reason: str = ""
    version: int = 0
    """Another one after every change that a verdict may depend on."""


class PodState(StrEnum):
    """What a pod's images are to the pins of its namespace, best to worst."""

    PINNED = "pinned"
    """A pin at HEAD, the target of an open hold, or the inventory names them."""
    STARTING = "starting"
    """It has not pulled yet what it names without a digest."""
    LEAVING = "leaving"
    """An earlier pin's, on its way out: deleted, rolled away, or the run of a Job that goes on to its end."""
    OPERATED = "operated"
    """An operator made it from a custom resource of ours, whose owner answers for its images."""
    EARLIER = "earlier"
    """An earlier pin's, and nothing takes it away."""
    FOREIGN = "foreign"
    """Nobody of ours made it."""
    UNNAMED = "unnamed"
    """No pin names what it runs, although it belongs to an application."""


@dataclass(frozen=True, slots=True)
class Build:
    """What a promotion put somewhere: the images that its render names."""

    app: str
    environment: str
    promotion: str
    version: str
    revision: str
    images: frozenset[str] = frozenset()
    """`repository@digest`, as the render names them."""


@dataclass(frozen=True, slots=True)
class PodVerdict:
    """What is said of one pod."""

    pod: Pod
    state: PodState
    app: str = ""
    """Whose it is; empty when it is nobody's of ours."""
    environment: str = ""
    build: Build | None = None
    unnamed: tuple[PodContainer, ...] = ()
    """The containers whose images no pin names."""


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Pods of one workload that run the same build; on the host, replicas."""

    workload: str
    """`Deployment/web`"""
    state: PodState
    version: str
    """Empty when no pin names what they run."""
    promotion: str
    revision: str
    images: tuple[str, ...]
    """What they run, each by digest where it is known."""
    count: int
    ready: int
    pods: tuple[str, ...]
    """Names, at most twenty."""
    chain: str = ""
    """The first one's owners: `Pod/web-1 of ReplicaSet/web-5d8f of Deployment/web`; empty on the host."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """What runs in an environment's namespace that nobody of ours made, or why nothing is known of its pods."""

    environment: str
    cluster: str
    namespace: str
    groups: tuple[PodGroup, ...] = ()
    unknown: str = ""
    """Why its pods cannot be looked at; empty when they can."""
    since: str = ""


Placed = tuple[str, str]
"""(application, environment)"""
Aliases = Mapping[str, frozenset[str]]
"""Digest of a manifest or index -> every digest that a node may report for it."""
