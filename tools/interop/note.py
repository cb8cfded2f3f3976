"""Print docs/interop.md from the report of an interop run: what was checked, by which stock client at which version, and when."""

import datetime as dt
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Interop

Other people's programs against a running Setpoint server.
`make interop` builds them from pinned modules, runs the tests and writes this page.
A normal `make test` runs the same tests when the programs are at hand; it says `INCOMPLETE: needs ...` when they are not.
"""


def version(name: str, module: str) -> str:
    """Return the version that a tool's go.mod pins."""
    text = (ROOT / "tools" / name / "go.mod").read_text()
    found = re.search(rf"^require {re.escape(module)} (\S+)", text, re.MULTILINE)
    return found.group(1) if found else "?"


def rows(report: Path) -> list[tuple[str, str]]:
    """Return (test, outcome) of every test of the report."""
    suite = ET.parse(report).getroot()  # noqa: S314 - written by our own test run a moment ago
    found = []
    for case in suite.iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        skip = case.find("skipped")
        outcome = "FAILED" if failed else f"skipped: {skip.get('message', '')}" if skip is not None else "passed"
        found.append((case.get("name", "").removeprefix("test_").replace("_", " "), outcome))
    return found


def main(report: Path) -> int:
    """Print the page."""
    print(HEAD)
    print(f"Last run: {dt.datetime.now(dt.UTC).date()}.\n")
    print(f"- cosign {version('interop/cosign', 'github.com/sigstore/cosign/v3')}")
    print(f"- oras {version('interop/oras', 'oras.land/oras')}")
    suite = "github.com/opencontainers/distribution-spec/conformance"
    print(f"- OCI distribution conformance suite {version('conformance', suite)}")
    print("- git: whatever stands on the machine; every flow test clones and pushes with it\n")
    print("| checked | outcome |\n| --- | --- |")
    for name, outcome in rows(report):
        print(f"| {name} | {outcome} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
