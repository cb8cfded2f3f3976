"""Print what a test run did: times by suite, counts, and last what it could not check, an INCOMPLETE line each; called by tools/test."""

import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

SLOWEST = 5


def times(folder: Path, cases: list[ET.Element]) -> list[tuple[str, int, float]]:
    """Return [(what, how many tests, seconds)]: the steps as the shell timed them, with the tests split by suite."""
    count, seconds = Counter[str](), defaultdict[str, float](float)
    for case in cases:
        suite = "/".join(case.get("classname", "").split(".")[:2])
        count[suite] += 1
        seconds[suite] += float(case.get("time", "0"))
    suites = [(f"  {suite}", count[suite], seconds[suite]) for suite in sorted(count)]
    found: list[tuple[str, int, float]] = []
    for line in (folder / "steps").read_text().splitlines():
        took, name = line.split("\t")
        found.append((name, 0, float(took)))
        found += suites if name == "tests" else []
    return found if any(name == "tests" for name, _, _ in found) else found + suites


def main(folder: Path) -> int:
    """Read the steps and the JUnit report of our own run and say what it was."""
    report = folder / "report.xml"
    cases = list(ET.parse(report).getroot().iter("testcase")) if report.exists() else []  # noqa: S314 - written a moment ago
    for what, count, took in times(folder, cases):
        print(f"{what:<34} {f'{count} tests' if count else '':>12} {took:>8.0f} s")
    for case in sorted(cases, key=lambda case: -float(case.get("time", "0")))[:SLOWEST]:
        print(f"slowest: {float(case.get('time', '0')):.0f} s {case.get('classname')}::{case.get('name')}")
    if any((Path.cwd() / "build" / "pages").glob("*.png")):
        print("pictures of the pages: build/pages")
    reasons = sorted({skip.get("message", "") for case in cases if (skip := case.find("skipped")) is not None})
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    for reason in reasons:
        print(f"INCOMPLETE: {reason.removeprefix('INCOMPLETE: ').removeprefix('skipped: ')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
