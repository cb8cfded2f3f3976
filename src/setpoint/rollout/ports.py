"""What the rollout needs from outside: the journal's rollouts, who takes a bad release out of Git, and both revisions where they run.

The first two are filled in `app.wiring` by the records and by the promotion service; the last by each place that can run two revisions.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.model import Arm, Facts, Rollout


class RolloutRecords(Protocol):
    """Rollouts as the journal tells them."""

    def rollout(self, app: str, environment: str) -> Rollout | None:
        """Return the newest rollout of an application in an environment."""
        ...

    def restarts_told(self, replica: str) -> int:
        """Return how many restarts of a replica are journalled."""
        ...


class Returns(Protocol):
    """Takes a release that was sent back out of the desired state."""

    def take_back(self, rollout: Rollout) -> str:
        """Ask for the return to what served before, in the name of `setpoint`, and say what became of it; asked twice it is one.

        UserError: there is none to be had. WorldError: not now, ask again.
        """
        ...

    def earlier(self, rollout: Rollout) -> str:
        """Say what became of a return that somebody asked for before, in whatever life of the server; empty when nobody did."""
        ...


class Sides(Protocol):
    """The two revisions of one application where they run, as one pass sees them: all that the engine has to know before it decides.

    It is one call's worth: the place makes one for each pass. What the engine decided is carried out by the place itself, which makes the
    world equal to the rollout on every pass (law 5): `next_weight` and `needed` say how many replicas, `weight` says how the traffic is
    split. Implementations: replicas and the proxy of the host (`canary.service`), Deployments and routes of a cluster (`cluster.sides`).
    """

    def facts(self, rollout: Rollout) -> Facts:
        """Return what is ready of what the rollout needs, and what is wrong with it; since when it is short is the engine's matter."""
        ...

    def counted(self) -> tuple[Sequence[ServerCount], Mapping[str, Arm]]:
        """Return what every server counted since it began, and which side a server counts for; empty when nobody answers or counts."""
        ...
