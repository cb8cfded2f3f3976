"""The verdicts of the gates: taken from facts as of now, and shown again while nothing that they rest on changed.

Called by the promotion service for its pass and by the explanations; the decision itself is `promotion.decide`, and nothing else decides.
"""

from typing import Final

from setpoint.core.reasons import Verdict
from setpoint.core.recent import Recent
from setpoint.promotion import decide
from setpoint.promotion.inputs import Inputs, Rest, at_most_s, rest
from setpoint.promotion.model import Promotion
from setpoint.promotion.parts import PromotionParts

_KEPT: Final = 4096


class Verdicts:
    """Judges promotions, and remembers."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts
        self._kept: Recent[str, tuple[Promotion, Rest, Verdict]] = Recent(_KEPT)

    def take(self, promotion: Promotion, inputs: Inputs) -> Verdict:
        """Gather the facts and decide."""
        candidate, delivery = promotion.candidate, inputs.delivery
        on = inputs.of(candidate.app, candidate.environment)  # before the facts are gathered: what changes meanwhile makes it another
        facts = self._parts.gatherer.gather(promotion, delivery)
        gates = delivery.environment(candidate.environment).gates
        now = self._parts.clock.now()
        verdict = decide.decide(facts, gates, promotion, now)
        stands_s = decide.CHECK_INTERVAL_S if gates.requests else at_most_s(delivery, candidate.environment)
        self._kept.put(promotion.promotion, (promotion, rest(on, now, verdict.reasons, stands_s), verdict))
        return verdict

    def shown(self, promotion: Promotion, inputs: Inputs) -> Verdict:
        """Return the verdict as people are shown it: the last one, while nothing it rests on changed and no check is due again."""
        on = inputs.of(promotion.candidate.app, promotion.candidate.environment)
        kept = self._kept.get(promotion.promotion)
        if kept is not None and kept[0] == promotion and kept[1].holds(on, self._parts.clock.now()):
            return kept[2]
        return self.take(promotion, inputs)
