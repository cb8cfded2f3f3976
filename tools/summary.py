"""Print what a test run could not check: the reasons of its skipped tests, as one INCOMPLETE line each; called last by tools/test."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(report: Path) -> int:
    """Read a JUnit report of our own run and say what is missing."""
    suite = ET.parse(report).getroot()  # noqa: S314 - written by our own test run a moment ago
    cases = list(suite.iter("testcase"))
    reasons = sorted({skip.get("message", "") for case in cases if (skip := case.find("skipped")) is not None})
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    for reason in reasons:
        print(f"INCOMPLETE: {reason.removeprefix('INCOMPLETE: ').removeprefix('skipped: ')}")
    print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
