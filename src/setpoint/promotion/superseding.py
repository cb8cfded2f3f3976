"""Superseding: at most one promotion is under way per application and environment, and what another one replaced names its successor.

Called by the promotion service under its lock, again in every pass: a crash may come between two entries, and the next pass finds what is
left (law 5). It decides nothing about candidates.
"""

from setpoint.ground.journal.model import Fact
from setpoint.promotion.model import Promotion
from setpoint.promotion.parts import PromotionParts


class Superseding:
    """Ends promotions that are not wanted any more."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts

    def unfinished(self, app: str, environment: str) -> list[Promotion]:
        """Return what is open, and what is decided but not pinned yet (no signer, or a lost race for the branch); oldest first."""
        return self._parts.records.unfinished(app, environment)

    def end(self, promotion: Promotion, by: str = "") -> None:
        """End a promotion; `by` is the one that takes its place, empty when nothing does."""
        self._parts.recorder.record_all([_end(promotion, by)])

    def others(self, stays: Promotion) -> None:
        """End whatever else is under way where a promotion is."""
        self._parts.recorder.record_all(self.ends_of_others(stays))

    def ends_of_others(self, stays: Promotion) -> list[Fact]:
        """Return the facts that end whatever else is under way where a promotion is, or is about to be, once they are recorded."""
        every = self.unfinished(stays.candidate.app, stays.candidate.environment)
        return [_end(other, stays.promotion) for other in every if other.promotion != stays.promotion]

    def older(self, stays: Promotion) -> None:
        """End the candidates that an unfinished one replaced when it was created, if a crash kept that back.

        What is older, the journal's order tells and no clock; a rollback is never replaced by a candidate that was there already.
        """
        for other in self.unfinished(stays.candidate.app, stays.candidate.environment):
            if other.promotion == stays.promotion:
                return
            if other.kind == "advance":
                self.end(other, stays.promotion)


def _end(promotion: Promotion, by: str) -> Fact:
    return Fact("promotion.superseded", promotion.promotion, "setpoint", {"superseded_by": by})
