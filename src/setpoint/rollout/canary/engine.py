"""Takes a canary one step: looks, decides, journals. The same for every place that can run two revisions beside each other.

Called by the places through `Sides`; what it decided is carried out by them. Where a rollout is stands in the journal; looks since the last
entry are in memory, and a server that lost them sees them again in the counters, which outlive it (law 5).
"""

from dataclasses import replace
from datetime import datetime

from setpoint.core import clock
from setpoint.rollout.canary import decide, looks
from setpoint.rollout.model import Facts, Phase, Rollout
from setpoint.rollout.ports import Sides
from setpoint.rollout.rollouts import Rollouts


class Engine:
    """The canaries of a home."""

    def __init__(self, rollouts: Rollouts, time: clock.Clock) -> None:
        self._rollouts = rollouts
        self._clock = time
        self._unready: dict[str, datetime] = {}
        """rollout -> since when fewer replicas than needed are ready"""

    def step(self, rollout: Rollout, sides: Sides) -> Rollout:
        """Look when a look is due, decide, and journal what changed; before anything changes one more look is taken."""
        now = self._clock.now()
        if looks.is_due(rollout, now):
            rollout = looks.take(rollout, sides.counted, now)
        facts = self._timed(rollout, sides.facts(rollout), now)
        found = decide.advance(rollout, facts, now)
        if found.kind:
            rollout = looks.take(rollout, sides.counted, now, close=True)
            found = decide.advance(rollout, facts, now)
        if not found.kind:
            self._rollouts.note(found.rollout)
            return found.rollout
        self._unready.pop(rollout.rollout, None)
        return self._rollouts.save(found)

    def roll(self, rollout: Rollout, facts: Facts) -> Rollout:
        """Take a step of what only rolls, or finishes; nothing is judged."""
        found = decide.advance(rollout, facts, self._clock.now())
        return self._rollouts.save(found) if found.kind else found.rollout

    def _timed(self, rollout: Rollout, facts: Facts, now: datetime) -> Facts:
        """Return facts with how long too little has been ready."""
        preparing = rollout.phase is Phase.PREPARING
        weight = decide.next_weight(rollout) if preparing else rollout.weight
        short = any(facts.ready.get(name, 0) < decide.needed(wanted, weight) for name, wanted in facts.wanted.items())
        if not short:
            self._unready.pop(rollout.rollout, None)
        since = _prepared_since(rollout, facts, now) if preparing else self._unready.setdefault(rollout.rollout, now) if short else now
        return replace(facts, unready_s=(now - since).total_seconds() if short else 0.0)


def _prepared_since(rollout: Rollout, facts: Facts, now: datetime) -> datetime:
    """Return since when the new revision has had its chance: what waits for a hook to end was not made yet, and is not late."""
    if facts.made_at is None:
        return now
    began = clock.from_text(rollout.since)
    return max(began, clock.from_text(facts.made_at)) if facts.made_at else began
