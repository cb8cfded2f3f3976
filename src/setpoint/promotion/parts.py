"""What the promotion services work with: one frozen bundle, built in app wiring."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from setpoint.core import clock
from setpoint.evidence.service import EvidenceService
from setpoint.ground.hold.service import Holds
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.builds import Builds
from setpoint.promotion.facts import FactGatherer
from setpoint.promotion.inputs import ChangeRecords, Inputs, NothingKnown
from setpoint.promotion.model import Pin
from setpoint.promotion.pinning import Pinning
from setpoint.promotion.ports import PromotionRecords
from setpoint.promotion.repository import Delivery, DeliveryReader


@dataclass(frozen=True, slots=True)
class PromotionParts:
    """The delivery repository, the records, and the parts that gather, pin and attach."""

    delivery: DeliveryReader
    records: PromotionRecords
    recorder: Recorder
    gatherer: FactGatherer
    builds: Builds
    pinning: Pinning
    evidence: EvidenceService
    clock: clock.Clock
    holds: Holds
    admissible: Callable[[str, Pin], str]
    """(delivery repository, pin) -> why an earlier pin may not come back (law 2), or empty; filled from reconcile's admission"""
    changes: ChangeRecords = field(default_factory=NothingKnown)
    """How far the journal is: what was found is found again without looking while it is the same; left out, it never is"""
    deciding: threading.RLock = field(default_factory=threading.RLock)
    """Held while promotions are decided and pinned: one at a time."""

    def inputs(self, delivery: Delivery) -> Inputs:
        """Return what looks at the places of a delivery repository rest on."""
        return Inputs(delivery, self.delivery, self.builds.git, self.changes)
