"""Simulated canaries for the judge: seeded traffic of two revisions, look by look; used by the test beside it and by the statistics page.

Every request fails by itself unless a burst is asked for: then a look of one side has its own luck (a gamma factor with mean 1).
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from setpoint.rollout.judge import decide
from setpoint.rollout.judge.model import Rule, Stratum, Sums


@dataclass(frozen=True)
class Case:
    """One kind of canary."""

    rate: float
    """Requests a second, both sides together."""
    errors: float
    """Error share of the stable revision."""
    ratio: float = 1.0
    """The canary's, as a multiple of it."""
    weights: Sequence[float] = (0.05, 0.25, 0.5)
    hold_s: float = 120.0
    look_s: float = 5.0
    load: Callable[[float], float] = field(default=lambda _at: 1.0)
    """Second -> factor on the traffic."""
    incident: Callable[[float], float] = field(default=lambda _at: 1.0)
    """Second -> factor on both sides' errors."""
    burst_cv: float = 0.0
    """How much one side's luck varies from look to look (coefficient of variation)."""

    def looks(self, luck: random.Random) -> Iterator[tuple[float, Stratum]]:
        """Yield (second, look)."""
        at = 0.0
        for weight in self.weights:
            for _ in range(round(self.hold_s / self.look_s)):
                at += self.look_s
                requests = _poisson(luck, self.rate * self.look_s * self.load(at))
                canary = round(requests * weight) if requests * weight >= 20 else sum(luck.random() < weight for _ in range(requests))
                share = self.errors * self.incident(at)
                bad = _failed(luck, canary, share * self.ratio * self._luck(luck))
                yield at, Stratum(canary, bad, requests - canary, _failed(luck, requests - canary, share * self._luck(luck)))

    def _luck(self, luck: random.Random) -> float:
        if not self.burst_cv:
            return 1.0
        shape = 1 / self.burst_cv**2
        return luck.gammavariate(shape, 1 / shape)


def sent_back_at(case: Case, rule: Rule, luck: random.Random) -> float | None:
    """Return the second at which a canary is sent back; None when it goes through."""
    sums = Sums()
    for at, look in case.looks(luck):
        if look.canary_errors + look.stable_errors:
            sums = decide.add(sums, rule, [look])
            if decide.judge(sums, rule).is_worse:
                return at
    return None


def threshold_at(case: Case, limit: float, luck: random.Random) -> float | None:
    """Return when the usual rule sends a canary back: once a minute, the minute's error share above a limit."""
    seen = bad = 0
    for at, look in case.looks(luck):
        seen, bad = seen + look.canary_requests, bad + look.canary_errors
        if at % 60 == 0:
            if seen and bad / seen > limit:
                return at
            seen = bad = 0
    return None


def naive_at(case: Case, luck: random.Random) -> float | None:
    """Return when a two-proportion z-test at 1 %, repeated at every look over all counts so far, sends a canary back."""
    n = x = m = y = 0
    for at, look in case.looks(luck):
        n, x, m, y = n + look.canary_requests, x + look.canary_errors, m + look.stable_requests, y + look.stable_errors
        pooled = (x + y) / (n + m) if n + m else 0.0
        if n and m and 0 < pooled < 1 and (x / n - y / m) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) > 2.3263:
            return at
    return None


def _failed(luck: random.Random, requests: int, share: float) -> int:
    """Return a binomial count; for many requests by inversion of a normal, which the tails that matter here do not notice."""
    share = min(1.0, share)
    if requests * share < 30 and share < 0.2:
        count, at = 0, _gap(luck, share)
        while at <= requests:
            count, at = count + 1, at + _gap(luck, share)
        return count
    if requests <= 400:
        return sum(luck.random() < share for _ in range(requests))
    return min(requests, max(0, round(luck.gauss(requests * share, math.sqrt(requests * share * (1 - share))))))


def _gap(luck: random.Random, share: float) -> int:
    """Return how many requests it takes to the next failure (geometric)."""
    return 1 << 60 if share <= 0 else int(math.log(1 - luck.random()) / math.log1p(-share)) + 1


def _poisson(luck: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(luck.gauss(mean, math.sqrt(mean))))
    count, at = -1, 0.0
    while at <= mean:
        count, at = count + 1, at + luck.expovariate(1.0)
    return count
