"""What adoption needs from outside: its own records, drift, and the objects of a cluster."""

from collections.abc import Callable, Sequence
from typing import Protocol

from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.adopt.model import Adoption
from setpoint.reconcile.cluster.comparing import ObjectPlan


class AdoptionRecords(Protocol):
    """Adoptions as the journal tells them (adapters.database)."""

    def adoptions(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> Sequence[Adoption]:
        """Return adoptions that wait, oldest first; with `ended` also those of the past."""
        ...


LiveRows = Callable[[Delivery, str, Pin], Sequence[ObjectPlan]]
"""(delivery, environment, pin) -> the objects of a pin beside what is live (`cluster.target.ClusterTarget.rows`)"""
