"""What the judge is told and what it remembers: counts of one look, the rule, the sums that carry all evidence so far."""

import functools
import math
from dataclasses import dataclass
from typing import Final

GRID: Final = 48
"""How many ratios the mixture against the canary holds."""
FINE_GRID: Final = 16
"""How many ratios the mixture in favour of the canary holds."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """What one route served between two looks: requests answered, and how many of them failed, by both revisions.

    Raises:
        ValueError: a count is no whole number from 0, or more requests failed than were answered.
    """

    canary_requests: int
    canary_errors: int
    stable_requests: int
    stable_errors: int

    def __post_init__(self) -> None:
        for requests, errors in ((self.canary_requests, self.canary_errors), (self.stable_requests, self.stable_errors)):
            whole = all(type(count) is int for count in (requests, errors))  # bool and float (NaN) are refused
            if not whole or not 0 <= errors <= requests:
                raise ValueError(f"{errors!r} of {requests!r} requests failed: these are no counts")


@dataclass(frozen=True, slots=True)
class Rule:
    """When a canary counts as worse."""

    ratio: float = 1.1
    """r0: the canary's error share may be this many times the stable one's."""
    alpha: float = 0.01
    """How often, at most, a canary that keeps within `ratio` is sent back, over its whole rollout."""

    @property
    def needed(self) -> float:
        """The evidence M at which the canary is sent back: 1/alpha (Ville's inequality)."""
        return 1.0 / self.alpha

    @property
    def tolerated(self) -> float:
        """The ratio that the evidence in favour is gathered against: 2, or half more than `ratio` where that is higher."""
        return max(2.0, 1.5 * self.ratio)

    def worse(self) -> tuple[float, ...]:
        """Return the ratios of the mixture against the canary: log-spaced from 1.1 to 30 times `ratio`."""
        return _spaced(1.1 * self.ratio, 30.0 * self.ratio, GRID)

    def fine(self) -> tuple[float, ...]:
        """Return the ratios of the mixture in its favour: log-spaced from 0.3 to 1."""
        return _spaced(0.3, 1.0, FINE_GRID)


@dataclass(frozen=True, slots=True)
class Sums:
    """All evidence of a rollout: one log-likelihood ratio per ratio of each mixture; adding a look is all that ever happens to it."""

    worse: tuple[float, ...] = (0.0,) * GRID
    fine: tuple[float, ...] = (0.0,) * FINE_GRID


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the sums say under a rule."""

    evidence: float
    """M: the evidence that the canary is worse than `ratio` allows; 1 says nothing."""
    needed: float
    fine: float
    """The evidence that it is better than `tolerated` times as bad; only told, it never shortens a hold."""

    @property
    def is_worse(self) -> bool:
        """Whether the canary has to go back."""
        return self.evidence >= self.needed

    @property
    def p_value(self) -> float:
        """An anytime-valid p-value of this look."""
        return min(1.0, 1.0 / self.evidence) if self.evidence > 0 else 1.0


@functools.cache
def _spaced(first: float, last: float, count: int) -> tuple[float, ...]:
    step = math.log(last / first) / (count - 1)
    return tuple(first * math.exp(step * number) for number in range(count))
