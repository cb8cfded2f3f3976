"""The conditional mixture e-process for the ratio of two error shares: pure, called by the canary at every look and by the simulations.

Source: the conditional Poisson likelihood ratio of Lindon, Sanden and Shirikian (KDD 2022, arXiv 2205.14762), mixed over a grid; the
threshold is Ville's inequality. For a look with x of n canary requests and y of m stable ones failed, E = x + y and theta = n / (n + m):

    L(r) = (r / r0)^x * ((1 - theta + theta r0) / (1 - theta + theta r))^E      M = mean over the grid of the products of L(r)

docs/decisions/0010-canary-judge.md proves E[L] <= 1 for independent requests at any error share, not only for rare errors.
"""

import math
from collections.abc import Iterable, Sequence

from setpoint.rollout.judge.model import Judgement, Rule, Stratum, Sums

_HIGHEST = 700.0
"""exp() of more does not fit a float; nobody needs to tell such evidence apart."""


def add(sums: Sums, rule: Rule, look: Iterable[Stratum]) -> Sums:
    """Return the sums with one look added: one stratum for each route, so that routes that fail differently do not mix.

    A stratum without a failed request, or with requests of one side only, adds nothing.
    """
    worse, fine = list(sums.worse), list(sums.fine)
    for stratum in look:
        _add(worse, rule.worse(), rule.ratio, stratum)
        _add(fine, rule.fine(), rule.tolerated, stratum)
    return Sums(tuple(worse), tuple(fine))


def judge(sums: Sums, rule: Rule) -> Judgement:
    """Return what the sums say."""
    return Judgement(_mean_exp(sums.worse), rule.needed, _mean_exp(sums.fine))


def _add(sums: list[float], ratios: Sequence[float], null: float, stratum: Stratum) -> None:
    total = stratum.canary_requests + stratum.stable_requests
    errors = stratum.canary_errors + stratum.stable_errors
    if not errors or not stratum.canary_requests or not stratum.stable_requests:
        return
    share = stratum.canary_requests / total
    expected = 1 - share + share * null
    for position, ratio in enumerate(ratios):
        sums[position] += stratum.canary_errors * math.log(ratio / null) + errors * math.log(expected / (1 - share + share * ratio))


def _mean_exp(logs: Sequence[float]) -> float:
    highest = max(logs)
    mean = highest + math.log(sum(math.exp(value - highest) for value in logs) / len(logs))
    return math.exp(min(mean, _HIGHEST))
