"""Takes a release that a canary sent back out of the desired state: fills the rollout's `Returns` with the promotion service.

Built in wiring. The hold it opens is journalled, so that asking again after a crash is the same return.
"""

from setpoint.core.reasons import Outcome, Reason
from setpoint.promotion.service import PromotionService
from setpoint.rollout.model import Rollout


class CanaryReturns:
    """Goes back to what served before, traffic first."""

    def __init__(self, promotions: PromotionService) -> None:
        self._promotions = promotions

    def take_back(self, rollout: Rollout) -> str:
        """Ask for the return, with the canary's own reasons; says what became of it (see the port)."""
        reasons = [Reason(r.code, Outcome.DENY, r.subject, r.found, "", r.fix) for r in rollout.reasons]
        sent = self._promotions.send_back(rollout.app, rollout.environment, rollout.new.pin_commit, reasons)
        if sent.done:
            return _done(sent.promotion)
        why = "; ".join(reason.found for reason in sent.verdict.blocking())
        return f"not taken back by itself: {why}; the stable revision keeps the traffic until a person decides"

    def earlier(self, rollout: Rollout) -> str:
        """Say what became of a return that was asked for before (see the port)."""
        promotion = self._promotions.sent_back(rollout.app, rollout.environment, rollout.new.pin_commit)
        return _done(promotion) if promotion else ""


def _done(promotion: str) -> str:
    return f"taken back by {promotion}"
