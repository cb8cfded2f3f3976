"""The port behind which the places differ where applications run: the host runtime, and namespaces of Kubernetes.

Called by the reconcile service, once for an environment and pass with all of its applications, so that a target may work on many at
the same time. What should run is found before (`reconcile.effective`); what was seen is journalled after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from setpoint.promotion.repository import Delivery
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason, Health


@dataclass(frozen=True, slots=True)
class Observed:
    """What a target saw of an application after it took its step."""

    health: Health
    reasons: tuple[DeployReason, ...] = ()
    faults: tuple[DeployReason, ...] = ()
    """What went wrong with it here; an application with faults is degraded, whatever its replicas say."""
    url: str = ""
    """Where it is reached; empty when nothing leads to it."""
    ready: int = 0
    wanted: int = 0
    """Replicas."""
    render: str = ""
    """Render digest of what is wanted here."""


@dataclass(frozen=True, slots=True)
class TargetLook:
    """One pass over an environment."""

    apps: Mapping[str, Observed]
    again_s: float
    """When to look again; 0 while something is on its way."""


class Target(Protocol):
    """One sort of place that applications run in."""

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Take one step towards what should run; level-triggered, may be called at any time and again.

        What is not in `found` is left alone. Faults of applications, and of the place as a whole, are told of each application; nothing
        that a user or the world causes passes through as an error.
        """
        ...
