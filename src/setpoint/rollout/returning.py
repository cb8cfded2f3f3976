"""Sees to it that what a rollout sent back leaves the desired state in Git too: asked until there is an answer, and never twice.

Called by every place that carries rollouts out, on each pass.
"""

from datetime import datetime, timedelta
from typing import Final

from setpoint.core import clock
from setpoint.core.errors import SetpointError, WorldError
from setpoint.rollout.model import Phase
from setpoint.rollout.ports import Returns
from setpoint.rollout.rollouts import Place, Rollouts

_ASK_AGAIN: Final = timedelta(seconds=10)


class Returning:
    """The returns of a home that are still to be asked for, or answered."""

    def __init__(self, rollouts: Rollouts, returns: Returns, time: clock.Clock) -> None:
        self._rollouts = rollouts
        self._returns = returns
        self._clock = time
        self._asked: dict[str, datetime] = {}
        """rollout -> when its rollback was last asked for"""

    def answer_late(self, place: Place, pin_commit: str) -> None:
        """Note what became of a return whose server died between asking for it and noting the answer, before another rollout begins."""
        rollout = self._rollouts.current(place)
        if rollout is None or rollout.phase is not Phase.RETURNED or rollout.rollback or rollout.new.pin_commit == pin_commit:
            return
        answer = self._returns.earlier(rollout)
        if answer:
            self._rollouts.answer(rollout, answer)

    def take_back(self, place: Place, pin_commit: str) -> None:
        """After a return, have Git no longer want the bad release; pin_commit is the commit of the pin that is wanted now."""
        rollout = self._rollouts.current(place)
        if rollout is None or rollout.phase is not Phase.RETURNED or rollout.rollback or rollout.new.pin_commit != pin_commit:
            return
        now = self._clock.now()
        if now - self._asked.get(rollout.rollout, now - _ASK_AGAIN) < _ASK_AGAIN:
            return
        self._asked[rollout.rollout] = now
        try:
            answer = self._returns.take_back(rollout)
        except WorldError:
            return  # asked again in a while; traffic is with the stable revision meanwhile
        except SetpointError as error:
            answer = f"not taken back by itself: {error.what}; the stable revision keeps the traffic until a person decides"
        self._rollouts.answer(rollout, answer)
