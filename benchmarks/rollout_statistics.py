"""The judge's table: false alarms of releases that are no worse, and how long worse ones take to find, beside the usual rules.

`tools/rollout-statistics [RUNS]` runs it and writes docs/rollout-statistics.md. Everything is seeded: the same runs give the same page.
"""

import math
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from setpoint.rollout.judge.model import Rule
from simulation.canary_model import Case, naive_at, sent_back_at, threshold_at

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rollout-statistics.md"
RULE = Rule()
HEAD = """# What the judge of a canary promises, simulated

Written by `tools/rollout-statistics`, seeded; the judge is explained in [decision 0010](decisions/0010-canary-judge.md).
A canary has 5, 25 and 50 % of the traffic for two minutes each, looks are 5 s, alpha is 0.01, r0 is 1.1.
The usual rule sends back when a minute's error share is above a limit; its limit is tuned for each line with knowledge of the line, so that
it raises about one false alarm in a hundred: no one can do that in earnest.
"""
Verdict = Callable[[Case, random.Random], float | None]


def _judge(case: Case, luck: random.Random) -> float | None:
    return sent_back_at(case, RULE, luck)


def _share(case: Case, runs: int, verdict: Verdict = _judge) -> float:
    return sum(verdict(case, random.Random(seed)) is not None for seed in range(runs)) / runs


def _tuned(case: Case, runs: int) -> float:
    """Return the limit that a good release passes in 99 of 100 runs."""
    highest = []
    for seed in range(runs):
        worst = seen = bad = 0.0
        for at, look in case.looks(random.Random(1_000_000 + seed)):
            seen, bad = seen + look.canary_requests, bad + look.canary_errors
            if at % 60 == 0:
                worst, seen, bad = max(worst, bad / seen if seen else 0.0), 0.0, 0.0
        highest.append(worst)
    return sorted(highest)[max(0, math.ceil(0.99 * runs) - 1)]


def _delay(case: Case, runs: int, verdict: Verdict) -> str:
    found = [at for seed in range(runs) if (at := verdict(case, random.Random(seed))) is not None]
    share = len(found) / runs
    if share < 0.5:
        return f"no ({share:.0%})"
    return f"{statistics.median(found):.0f} s" + (f" ({share:.0%})" if share < 0.995 else "")


def false_alarms(runs: int) -> list[str]:
    """Return the lines of the first table."""
    lines = [
        "## Releases that are no worse: share that is sent back",
        "",
        f"{runs} runs a line; alpha plus three standard deviations of the simulation is {_band(runs):.1%}.",
        "The z-test asks for more than 1x, over all counts so far; a canary at 1.1x is none of its false alarms, only of ours.",
        "",
        "| traffic | errors | the canary's | what happens | judge | z-test at 1 %, every look |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rate in (2, 20, 200, 2000):
        for errors in (0.001, 0.01, 0.1, 0.5):
            for ratio in (1.0, 1.1):
                lines.append(_null(Case(rate, errors, ratio), "nothing", runs))
    lines.append(_null(Case(200, 0.01, load=lambda at: 1 + 0.9 * math.sin(at / 40)), "load moves by 90 %", runs))
    lines.append(_null(Case(200, 0.01, incident=lambda at: 30 if 100 < at < 140 else 1), "both fail 30 times as often for 40 s", runs))
    lines.append(_null(Case(200, 0.01, look_s=1), "a look every second", runs))
    lines.append(_null(Case(200, 0.01, look_s=15), "a look every 15 s", runs))
    lines += [
        "",
        "Errors that come in bursts are not what the promise is about.",
        "Here each side has its own luck in each look: a gamma factor around 1 with this coefficient of variation.",
        "",
        "| traffic | errors | variation | judge |",
        "| --- | --- | --- | --- |",
    ]
    for rate in (200, 2000):
        for variation in (0.2, 0.45, 1.0):
            share = _share(Case(rate, 0.01, burst_cv=variation), runs)
            lines.append(f"| {rate}/s | 1 % | {variation:g} | {share:.1%} |")
    return lines


def _null(case: Case, what: str, runs: int) -> str:
    alarms = (f"{_share(case, runs):.1%}", f"{_share(case, runs, naive_at):.1%}")
    cells = (f"{case.rate:g}/s", f"{case.errors:.1%}", f"{case.ratio:g}x", what, *alarms)
    return f"| {' | '.join(cells)} |"


def _band(runs: int) -> float:
    return RULE.alpha + 3 * math.sqrt(RULE.alpha * (1 - RULE.alpha) / runs)


def delays(runs: int) -> list[str]:
    """Return the lines of the second table."""
    lines = [
        "## Worse releases: seconds until they are sent back",
        "",
        f"Median of {runs} runs (share that is found, where it is not all of them); `no` is less than half within the six minutes.",
        "",
        "| traffic | errors | the canary's | judge | minute's limit, tuned | limit of 2 %, not tuned |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rate, errors in ((20, 0.01), (200, 0.001), (200, 0.01), (2000, 0.001), (2000, 0.01), (200, 0.1)):
        limit = _tuned(Case(rate, errors), runs)
        for ratio in (1.5, 2.0, 3.0, 5.0, 10.0, 50.0):
            if ratio * errors > 1:
                continue
            case = Case(rate, errors, ratio)
            tuned = _delay(case, runs, lambda one, luck, at=limit: threshold_at(one, at, luck))  # type: ignore[misc]
            fixed = _delay(case, runs, lambda one, luck: threshold_at(one, 0.02, luck))
            lines.append(f"| {rate}/s | {errors:.1%} | {ratio:g}x | {_delay(case, runs, _judge)} | {tuned} | {fixed} |")
    lines += [
        "",
        "A limit that is not tuned sends every release back where more fails than the limit, good or bad.",
        "Where far less fails it finds nothing.",
    ]
    return lines


def main() -> None:
    """Simulate and write the page."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    page = "\n".join([HEAD, *false_alarms(runs), "", *delays(max(100, runs // 5)), ""])
    PAGE.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
