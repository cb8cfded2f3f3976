"""Which pins are Setpoint's own: a pin that hands wrote or removed is neither a base to count from nor a reason to lose anything.

Called by the promotion service, its rollbacks and its fact gatherer. It compares Git with the journalled promotions and decides nothing;
whether a pin may run is admission's question, which asks signatures (law 2).
"""

from setpoint.core.errors import UserError
from setpoint.promotion.model import Pin, PromotionState
from setpoint.promotion.ports import PromotionRecords
from setpoint.promotion.repository import Delivery, DeliveryReader

_EVERY = 10_000


class Pins:
    """Reads the pins of a delivery repository with distrust."""

    def __init__(self, reader: DeliveryReader, records: PromotionRecords) -> None:
        self._reader = reader
        self._records = records

    def written(self, delivery: Delivery, environment: str, app: str) -> Pin | None:
        """Return the pin at HEAD, whoever wrote it; None when there is none, or when it cannot be read as one."""
        try:
            return self._reader.pin(delivery, environment, app)
        except UserError:
            return None

    def own(self, delivery: Delivery, environment: str, app: str) -> Pin | None:
        """Return the pin at HEAD if the commit that last touched it is the one that Setpoint wrote for its promotion."""
        pin = self.written(delivery, environment, app)
        promotion = self._records.promotion(pin.promotion) if pin is not None else None
        return pin if pin is not None and promotion is not None and promotion.pin_commit == pin.commit else None

    def last(self, delivery: Delivery, environment: str, app: str) -> Pin | None:
        """Return the pin that Setpoint wrote last, whatever hands did to the file since."""
        own = self.own(delivery, environment, app)
        if own is not None:
            return own
        for promotion in self._records.promotions(app, environment, limit=_EVERY):
            if promotion.state is PromotionState.PINNED and promotion.pin_commit:
                return self._reader.pin_at(delivery.repository, promotion.pin_commit, environment, app)
        return None
