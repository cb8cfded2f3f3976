"""What the rollout needs from outside: what the journal says of rollouts, and somebody who takes a bad release out of Git.

Filled in `app.wiring` by the records and by the promotion service.
"""

from typing import Protocol

from setpoint.rollout.model import Rollout


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
