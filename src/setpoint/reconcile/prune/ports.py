"""What prune needs from outside: the inventories as the journal tells them."""

from typing import Protocol

from setpoint.reconcile.prune.model import Inventory


class InventoryRecords(Protocol):
    """Inventories of the journal (adapters.database)."""

    def inventories(self) -> list[Inventory]:
        """Return every inventory that is not empty."""
        ...
