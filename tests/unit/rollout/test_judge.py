"""The judge's numbers: against values computed another way, and the properties that its promise rests on."""

import math
from fractions import Fraction

import pytest

from setpoint.rollout.judge import decide
from setpoint.rollout.judge.model import Rule, Stratum, Sums
from setpoint.rollout.judge.preflight import Traffic, detectable

RULE = Rule()


def _evidence(*looks: Stratum, rule: Rule = RULE) -> float:
    sums = Sums()
    for look in looks:
        sums = decide.add(sums, rule, [look])
    return decide.judge(sums, rule).evidence


def _by_hand(look: Stratum, rule: Rule, ratios: tuple[float, ...], null: float) -> float:
    """Compute M from binomial probabilities in exact fractions: the ratio of the likelihoods of x of E under q(r) and q(r0)."""
    errors = look.canary_errors + look.stable_errors
    share = Fraction(look.canary_requests, look.canary_requests + look.stable_requests)

    def probability(ratio: Fraction) -> Fraction:
        canary = share * ratio / (1 - share + share * ratio)
        return canary**look.canary_errors * (1 - canary) ** (errors - look.canary_errors)

    under_null = probability(Fraction(null))
    return float(sum((probability(Fraction(ratio)) / under_null for ratio in ratios), Fraction(0)) / len(ratios))


@pytest.mark.parametrize(
    "look",
    [Stratum(240, 12, 4600, 3), Stratum(50, 1, 950, 0), Stratum(50, 0, 950, 40), Stratum(500, 25, 500, 20), Stratum(7, 7, 3, 3)],
)
def test_evidence_is_the_mean_of_binomial_likelihood_ratios(look: Stratum) -> None:
    """Both mixtures agree with exact fractions of binomial probabilities to nine digits."""
    found = decide.judge(decide.add(Sums(), RULE, [look]), RULE)
    assert found.evidence == pytest.approx(_by_hand(look, RULE, RULE.worse(), RULE.ratio), rel=1e-9)
    assert found.fine == pytest.approx(_by_hand(look, RULE, RULE.fine(), RULE.tolerated), rel=1e-9)


def test_known_numbers() -> None:
    """Reference values, computed once with 40 digits of decimal arithmetic apart from this code."""
    assert _evidence(Stratum(240, 12, 4600, 3)) == pytest.approx(36058839815.35372589681, rel=1e-12)
    assert _evidence(Stratum(1000, 10, 19000, 190)) == pytest.approx(0.0707103898587590, rel=1e-12)


def test_nothing_is_learnt_from_nothing() -> None:
    """No error, no canary request or no stable request leaves the evidence at 1, whatever else there is."""
    nothing = [Stratum(0, 0, 0, 0), Stratum(100, 0, 900, 0), Stratum(0, 0, 900, 50), Stratum(100, 90, 0, 0)]
    assert decide.add(Sums(), RULE, nothing) == Sums()
    assert decide.judge(Sums(), RULE).evidence == pytest.approx(1.0)
    assert decide.judge(Sums(), RULE).p_value == pytest.approx(1.0)


@pytest.mark.parametrize("counts", [(-1, 0, 1, 0), (1, 2, 1, 0), (10, 0, 1, 2), (math.nan, 0, 1, 0), (1.5, 0, 1, 0), (True, 0, 1, 0)])
def test_what_is_no_count_is_refused(counts: tuple[int, int, int, int]) -> None:
    """NaN, fractions, negative counts and more errors than requests never reach a sum."""
    with pytest.raises(ValueError, match="no counts"):
        Stratum(*counts)


def test_looks_may_come_in_any_order_and_be_split() -> None:
    """The sums of the same looks are the same in any order; an empty look between them changes nothing."""
    looks = [Stratum(50, 2, 950, 1), Stratum(250, 9, 750, 4), Stratum(500, 8, 500, 7)]
    one = _evidence(*looks)
    assert _evidence(*reversed(looks)) == pytest.approx(one, rel=1e-12)
    assert _evidence(looks[0], Stratum(0, 0, 0, 0), *looks[1:]) == one


def test_evidence_grows_with_errors_of_the_canary_and_shrinks_with_those_of_the_stable_one() -> None:
    """The monotony that makes the null's edge its worst case."""
    rising = [_evidence(Stratum(100, errors, 900, 5)) for errors in range(20)]
    falling = [_evidence(Stratum(100, 5, 900, errors)) for errors in range(20)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("stable", [0.001, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("share", [1, 10, 19])
@pytest.mark.parametrize("ratio", [1.0, 1.1])
def test_the_expected_evidence_of_a_look_is_at_most_one_for_common_errors_too(stable: float, share: int, ratio: float) -> None:
    """E[L] <= 1, summed over every outcome of 20 independent requests, at the edge of what is allowed and for any error share."""
    rule = Rule(ratio=ratio)
    canary = min(1.0, ratio * stable)
    expected = 0.0
    for x in range(share + 1):
        for y in range(21 - share):
            chance = math.comb(share, x) * canary**x * (1 - canary) ** (share - x)
            chance *= math.comb(20 - share, y) * stable**y * (1 - stable) ** (20 - share - y)
            expected += chance * _evidence(Stratum(share, x, 20 - share, y), rule=rule)
    assert expected <= 1 + 1e-12


def test_huge_evidence_stays_a_number() -> None:
    """A million failed requests do not overflow."""
    found = _evidence(Stratum(1_000_000, 1_000_000, 1_000_000, 1))
    assert math.isfinite(found)
    assert found >= RULE.needed


def test_a_step_finds_less_with_less_traffic() -> None:
    """The detectable ratio falls with traffic, weight and time; where nothing can be found the answer is none."""
    traffic = Traffic(rate=200, errors=0.001)
    assert detectable(RULE, traffic, 5, 120) == pytest.approx(8.3, abs=0.3)
    finer = [detectable(RULE, Traffic(rate, 0.001), 5, 120) or math.inf for rate in (20, 200, 2000)]
    assert finer == sorted(finer, reverse=True)
    assert (detectable(RULE, traffic, 25, 120) or math.inf) < (detectable(RULE, traffic, 5, 120) or math.inf)
    assert detectable(RULE, Traffic(rate=0.01, errors=0.001), 5, 120) is None
