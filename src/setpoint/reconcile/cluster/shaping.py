"""The port by which a rollout says what the objects of a cluster are while one revision takes over from another.

Called by the target once for an application and pass, before anything is compared; filled in `app.wiring` from the rollout stage. What it
returns is compared, applied, kept in the inventory and corrected like every other manifest: so a weight that a hand changes is drift.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from setpoint.promotion.model import Pin
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.ports import Cluster, Deletion
from setpoint.reconcile.model import CanaryPlan, DeployReason


@dataclass(frozen=True, slots=True)
class Placed:
    """What a pin wants in the namespace, its images as they were pinned."""

    pin: Pin
    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an application is to become."""

    coming: Placed
    stable: Placed | None
    """What was fully rolled out last, while it is something else."""
    plan: CanaryPlan | None
    """None: nothing is split, for nothing is declared, or it goes back."""
    inventory: Collection[str]
    """The objects that were made before."""
    cluster: Cluster
    target: KubernetesTarget


@dataclass(frozen=True, slots=True)
class Shaped:
    """What the objects are now."""

    manifests: tuple[Object, ...]
    first: frozenset[ObjectKey] = frozenset()
    """What traffic follows: written before anything else."""
    of_stable: frozenset[ObjectKey] = frozenset()
    """What is there in the name of the stable pin."""
    stays: frozenset[str] = frozenset()
    """What of the inventory is not wanted any more and must not go yet."""
    retired: frozenset[str] = frozenset()
    """What of the inventory goes because its revision is over: no removal that needs a person."""
    reasons: tuple[DeployReason, ...] = ()
    pace: Literal["", "going", "holding", "held"] = ""
    """See `WorkloadStatus.pace`."""
    stuck: tuple[Deletion, ...] = ()
    """Pods that stand in the way of the revision that serves again, and that nobody else ends."""


class RevisionRollout(Protocol):
    """Rolls applications out revision by revision."""

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the commit of the pin that was fully rolled out last; empty when there is none."""
        ...

    def concerns(self, app: str, environment: str, inventory: Collection[str]) -> bool:
        """Say whether an application runs in revisions already, also when no canary is declared any more."""
        ...

    def shape(self, asked: Asked) -> Shaped:
        """Take one step of its rollout, and return what its objects are now.

        ConfigError SP651: something cannot run in two revisions. UserError SP653: the stable revision cannot be had now.
        """
        ...

    def shown(self, asked: Asked) -> Shaped:
        """Return what its objects are, without a step; raises what `shape` does."""
        ...

    def rolled_out(self, objects: Sequence[Object], inventory: Collection[str]) -> Shaped:
        """Return what the objects of a render are once it is rolled out, and what goes with the revisions before; changes nothing.

        ConfigError as of `shape`.
        """
        ...

    def applied(self, app: str, environment: str, pin_commit: str) -> None:
        """After the objects were applied: have a release that was sent back leave Git too."""
        ...
