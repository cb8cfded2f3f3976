"""What the promotion services work with: one frozen bundle, built in app wiring."""

from dataclasses import dataclass

from setpoint.core import clock
from setpoint.evidence.service import EvidenceService
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.builds import Builds
from setpoint.promotion.facts import FactGatherer
from setpoint.promotion.pinning import Pinning
from setpoint.promotion.ports import PromotionRecords
from setpoint.promotion.repository import DeliveryReader


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
