"""Turns a decision into a pin: gate statement, then a signed commit that writes `pins/<env>/<app>.yaml` (laws 2 and 3).

Called by the promotion service for promotions in state decided; every step finds out what a crash left done and goes on from there.
"""

from dataclasses import dataclass

from setpoint.core.errors import SetpointError
from setpoint.evidence.ports import Signer
from setpoint.evidence.service import EvidenceService
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.lines import Lines
from setpoint.promotion.model import Promotion
from setpoint.promotion.pin import parse_trailers, pin_path
from setpoint.promotion.repository import Delivery
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class PinningParts:
    """What pinning works with."""

    git: GitStore
    signer: Signer
    evidence: EvidenceService
    recorder: Recorder
    lines: Lines | None = None
    """The delivery reader's; without them history is walked."""


class Pinning:
    """Writes pins; one writer per delivery repository (the control loop holds its lock)."""

    def __init__(self, parts: PinningParts) -> None:
        self._parts = parts

    def pin(self, promotion: Promotion, delivery: Delivery) -> bool:
        """Attach the gate statement and commit the pin; False when the branch moved and the decision must be taken anew."""
        parts = self._parts
        commit = self.commit_of(promotion, delivery)
        if commit is None:
            parts.evidence.attach_promotion(promotion.promotion)
            parts.recorder.record("pin.intended", promotion.promotion, "setpoint", {"parent": delivery.head})
            signed = parts.signer.sign("pin", promotion.promotion, delivery.head)
            if not signed:
                raise SetpointError("SP507", "the signer returned no pin commit", where=promotion.promotion)
            commit = parts.git.write_signed_commit(delivery.repository, signed[0].payload, signed[0].signature)
            if not parts.git.advance(delivery.repository, delivery.branch, delivery.head, commit):
                return False
        parts.recorder.record("promotion.pinned", promotion.promotion, "setpoint", {"commit": commit})
        return True

    def commit_of(self, promotion: Promotion, delivery: Delivery) -> str | None:
        """Return the commit at HEAD that pinned this promotion, also when a crash came between commit and journal."""
        path = pin_path(promotion.candidate.environment, promotion.candidate.app)
        lines = self._parts.lines
        commit = lines.of(delivery.repository, delivery.head).changed_by(delivery.head, path) if lines is not None else ""
        commit = self._parts.git.last_change(delivery.repository, delivery.head, path) if commit == "" else commit
        if commit is None:
            return None
        message = self._parts.git.revision(delivery.repository, commit).message
        return commit if parse_trailers(message).get("Setpoint-Promotion") == promotion.promotion else None
