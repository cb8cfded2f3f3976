"""Why an environment has what it has, and what comes next: the gates' own reasons, and what of a decision is not committed yet (law 6).

Called by the promotion service for `why`, `status`, `plan` and the pages; it writes nothing and decides nothing a second time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from setpoint.core.errors import SetpointError
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.core.recent import Recent
from setpoint.ground.hold import decide as hold_decide
from setpoint.ground.hold.model import Hold
from setpoint.promotion import propose
from setpoint.promotion.candidates import Candidates
from setpoint.promotion.decide import CHECK_INTERVAL_S
from setpoint.promotion.inputs import Inputs, Rest, at_most_s, rest
from setpoint.promotion.model import Pin, Promotion, PromotionState
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.standing import Pins
from setpoint.promotion.verdicts import Verdicts

_KEPT: Final = 8192
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an environment has what it has, and what comes next."""

    pin: Pin | None
    promotion: Promotion | None
    """The promotion that is open, decided and not committed yet, or denied; None when nothing wants to get in."""
    verdict: Verdict
    proposal: propose.Proposal
    holds: tuple[Hold, ...] = ()
    """What is open here, of both kinds."""


class Explanations:
    """Explains one application in one environment at a time."""

    def __init__(self, parts: PromotionParts, candidates: Candidates, verdicts: Verdicts) -> None:
        self._parts = parts
        self._candidates = candidates
        self._verdicts = verdicts
        self._kept: Recent[tuple[str, str], tuple[str, Rest, Explanation]] = Recent(_KEPT)
        """(app, environment) -> the lag that it told of, how long it stands, the explanation"""
        self._pins = Pins(parts.delivery, parts.records)
        self._lags: dict[tuple[str, str], str] = {}
        """(app, environment) -> why the commit of what is decided did not get through at the last try"""

    @contextmanager
    def noting_lag(self, promotion: Promotion) -> Iterator[None]:
        """Remember why a commit does not get through; it is found out again after a restart."""
        place = (promotion.candidate.app, promotion.candidate.environment)
        try:
            yield
        except SetpointError as error:
            self._lags[place] = f"{error.what} ({error.code})"
            raise
        self._lags.pop(place, None)

    def of(self, inputs: Inputs, app: str, environment: str) -> Explanation:
        """Return the reasons as of now; no lock is held, so what changed while it was put together is looked at again."""
        place = (app, environment)
        for _ in range(_TRIES):
            on, lag, now = inputs.of(*place), self._lags.get(place, ""), self._parts.clock.now()
            kept = self._kept.get(place)
            if kept is not None and kept[0] == lag and kept[1].holds(on, now):
                return kept[2]
            found = self._now(inputs, *place)
            later = inputs.renewed()
            if later.of(*place) == on:
                requests = found.promotion is not None and inputs.delivery.environment(environment).gates.requests
                stands_s = CHECK_INTERVAL_S if requests else at_most_s(inputs.delivery, environment)
                self._kept.put(place, (lag, rest(on, now, found.verdict.reasons, stands_s), found))
                break
            inputs = later
        return found

    def _now(self, inputs: Inputs, app: str, environment: str) -> Explanation:
        pin = self._pins.written(inputs.delivery, environment, app)
        proposal = self._candidates.next(inputs.delivery, app, environment)
        promotion, verdict = self._standing(inputs, (app, environment), pin, proposal)
        return Explanation(pin, promotion, verdict, proposal, tuple(self._parts.holds.open_ones(app, environment)))

    def _standing(
        self, inputs: Inputs, place: tuple[str, str], pin: Pin | None, proposal: propose.Proposal
    ) -> tuple[Promotion | None, Verdict]:
        """Return the promotion that wants to get in and the verdict about it."""
        every = self._parts.records.unfinished(*place)
        waiting = max(every, key=lambda promotion: promotion.kind == "rollback", default=None)
        stops = tuple(hold_decide.reasons(self._parts.holds.stops(*place)))
        if waiting is not None and (waiting.kind, waiting.state) == ("advance", PromotionState.OPEN):
            return waiting, self._verdicts.shown(waiting, inputs)
        if waiting is not None:
            stopped = stops if waiting.kind == "advance" else ()
            decided = waiting.verdict.reasons if waiting.verdict is not None else ()
            return waiting, conclude((*decided, *stopped, self._lag(waiting, pin)))
        history = self._parts.records.promotions(*place) if proposal.candidate is not None else []
        newest = next((p for p in history if p.candidate == proposal.candidate), None)
        if newest is not None and newest.state is PromotionState.DENIED:
            return newest, self._verdicts.shown(newest, inputs)
        running = self._parts.records.promotion(pin.promotion) if pin is not None else None
        admitted = running.verdict.reasons if running is not None and running.verdict is not None else ()
        return None, conclude((*proposal.reasons, *stops, *admitted))

    def _lag(self, promotion: Promotion, pin: Pin | None) -> Reason:
        """Return what is still to be done for a promotion that is decided: its commit."""
        names = f"desired state in Git still names {pin.version if pin is not None else 'nothing'}"
        fault = self._lags.get((promotion.candidate.app, promotion.candidate.environment), "")
        found = f"Git lags: {names}; {fault or 'the pin commit is being written'}"
        return Reason("GIT_LAGS", Outcome.WAIT, "pin commit", found, f"a commit that pins {promotion.names}; it is tried again by itself")
