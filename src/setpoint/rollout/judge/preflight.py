"""What a step of a canary can find out with the traffic there is, before it begins: pure, called by `check`, `plan`, `why` and the page.

Errors are taken as Poisson around what the traffic brings; the weak side is planned with: in four of five cases the canary fails at
least so often (normal approximation, 0.84 standard deviations).
"""

import math
from dataclasses import dataclass
from typing import Final

from setpoint.rollout.judge.model import Rule

WANTED: Final = 10.0
"""A step that cannot find an error share so many times the stable one's is none."""
_WEAK: Final = 0.8416
_HIGHEST: Final = 1000.0
_FINENESS: Final = 1.02


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an application serves."""

    rate: float
    """Requests per second."""
    errors: float
    """Share of them that fails while nothing is wrong, above 0 up to 1."""


def detectable(rule: Rule, traffic: Traffic, weight: int, hold_s: float) -> float | None:
    """Return the smallest ratio that a step alone finds in four of five cases; None when even a thousand times as bad stays unseen.

    Weight is the canary's share in percent, below 100.
    """
    ratio = 1.1 * rule.ratio
    while ratio <= _HIGHEST:
        if _found(rule, traffic, (weight / 100, hold_s), ratio):
            return ratio
        if ratio * traffic.errors > 1:
            return None
        ratio *= _FINENESS
    return None


def _found(rule: Rule, traffic: Traffic, step: tuple[float, float], ratio: float) -> bool:
    share, hold_s = step
    requests = traffic.rate * hold_s
    canary = requests * share * min(1.0, traffic.errors * ratio)
    stable = requests * (1 - share) * traffic.errors
    seen = canary - _WEAK * math.sqrt(canary)
    if seen < 1:
        return False
    log_needed = math.log(rule.needed)
    return _log_evidence(rule, share, seen, stable) >= log_needed


def _log_evidence(rule: Rule, share: float, canary_errors: float, stable_errors: float) -> float:
    """Return log M for expected (not whole) counts, all in one look."""
    expected = 1 - share + share * rule.ratio
    logs = [
        canary_errors * math.log(ratio / rule.ratio) + (canary_errors + stable_errors) * math.log(expected / (1 - share + share * ratio))
        for ratio in rule.worse()
    ]
    highest = max(logs)
    return highest + math.log(sum(math.exp(value - highest) for value in logs) / len(logs))
