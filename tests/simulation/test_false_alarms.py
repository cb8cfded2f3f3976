"""The judge's promise on seeded traffic: few false alarms whatever traffic, errors and incidents are like, and real ones found in time."""

import math
import random
import statistics

import pytest

from setpoint.rollout.judge.model import Rule
from setpoint.rollout.judge.preflight import Traffic, detectable
from simulation.canary_model import Case, naive_at, sent_back_at

RUNS = 200
RULE = Rule()
BAND = RULE.alpha + 3 * math.sqrt(RULE.alpha * (1 - RULE.alpha) / RUNS)


def _share(case: Case, runs: int = RUNS, rule: Rule = RULE) -> float:
    return sum(sent_back_at(case, rule, random.Random(seed)) is not None for seed in range(runs)) / runs


@pytest.mark.parametrize(
    "case",
    [
        Case(20, 0.01),
        Case(200, 0.001, ratio=1.1),
        Case(200, 0.1, ratio=1.1),
        Case(20, 0.5, ratio=1.1),
        Case(2, 0.1, ratio=1.1),
        Case(200, 0.01, load=lambda at: 1 + 0.9 * math.sin(at / 40)),
        Case(200, 0.01, incident=lambda at: 30 if 100 < at < 140 else 1),
    ],
    ids=["plain", "at the margin", "common errors", "half of all fail", "little traffic", "load moves", "an incident hits both"],
)
def test_a_release_that_is_no_worse_is_rarely_sent_back(case: Case) -> None:
    """At most alpha, plus three standard deviations of the simulation itself."""
    assert _share(case) <= BAND


def test_at_a_loose_level_the_promise_is_held_too() -> None:
    """With alpha 0.2 alarms are frequent enough to be counted: still no more than promised, at the very edge of what is allowed."""
    rule = Rule(alpha=0.2)
    for errors in (0.01, 0.3):
        assert _share(Case(50, errors, ratio=1.1), rule=rule) <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / RUNS)


def test_a_test_at_a_fixed_level_that_is_repeated_breaks_its_promise() -> None:
    """What the judge is for: the text book's test at 1 %, asked at every look, cries wolf several times as often."""
    alarms = sum(naive_at(Case(200, 0.01), random.Random(seed)) is not None for seed in range(RUNS)) / RUNS
    assert alarms > 0.04


def test_ten_times_the_errors_are_found_within_a_minute() -> None:
    """200 requests a second, one in a thousand fails, five percent of the traffic: all are found, half of them within a minute."""
    found = [sent_back_at(Case(200, 0.001, ratio=10), RULE, random.Random(seed)) for seed in range(100)]
    times = [at for at in found if at is not None]
    assert len(times) == 100
    assert statistics.median(times) <= 60


@pytest.mark.parametrize(("rate", "errors", "weight"), [(200, 0.001, 0.05), (50, 0.01, 0.25), (20, 0.1, 0.5)])
def test_the_preflight_says_what_a_step_really_finds(rate: float, errors: float, weight: float) -> None:
    """A release that is as bad as a step is said to find is found in about four of five simulated steps."""
    ratio = detectable(RULE, Traffic(rate, errors), round(weight * 100), 120)
    assert ratio is not None
    assert 0.65 <= _share(Case(rate, errors, ratio=ratio, weights=(weight,)), runs=150) <= 0.97
