"""What every benchmark shares: a live home that is cleaned up, waiting for a run, percentiles, and the table that docs/benchmarks.md keeps.

Called by the benchmarks beside it; figures are printed and written, never asserted.
"""

import datetime as dt
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live_home import LiveHome, new_home
from setpoint.core import ids
from setpoint.core.clock import seconds_between

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

`make bench` runs all, `make bench-NAME` one; each prints its table and replaces its section here.
Ratios are taken against a peer or a floor in the same run; absolute times depend on the machine and its load, named above each table.
Nothing here is a test: no figure fails a build.
"""
_ASK_S = 0.25
_LIMIT_S = 300
PIPELINE_HEAD = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
on: {push: {branches: [main]}}
tasks:
"""


@dataclass(frozen=True)
class Row:
    """One measured line."""

    what: str
    value: str
    peer: str = ""
    """What it is held against, measured in the same run."""
    goal: str = ""


@contextmanager
def home() -> Iterator[LiveHome]:
    """A live home with a running server."""
    folder = Path(tempfile.mkdtemp(prefix="setpoint-bench-"))
    folder.chmod(0o711)
    live = new_home(folder)
    try:
        yield live
    finally:
        live.down()
        shutil.rmtree(folder, ignore_errors=True)


def ended(live: LiveHome, commit: str) -> dict[str, Any]:
    """Wait until the run of a commit has ended and return its report.

    It asks four times a second only: what the server does for who asks must not be in what is measured.
    """
    place, until = f"/api/v1/runs/{ids.identifier('r', 'hello', commit)}", time.monotonic() + _LIMIT_S
    api = live.api()
    while time.monotonic() < until:
        time.sleep(_ASK_S)
        runs = api.get("/api/v1/runs", {"repository": "hello", "limit": "1"})
        if any(run["revision"] == commit and run["state"] != "running" for run in runs):
            report: dict[str, Any] = api.get(place)
            if report["run"]["state"] != "passed":
                raise SystemExit(f"the run of the benchmark did not pass: {report['run']}")
            return report
    raise SystemExit(f"{place} has not ended within {_LIMIT_S} s")


def run_seconds(report: dict[str, Any]) -> float:
    """Return how long a run took, from its creation to its end."""
    return seconds_between(report["run"]["created_at"], report["run"]["finished_at"])


def at(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float], unit: str = "ms", digits: int = 0) -> str:
    """Return p50, p90 and maximum of seconds as text, in `ms` or `s`."""
    scale = 1000.0 if unit == "ms" else 1.0
    p50, p90, most = (value * scale for value in (statistics.median(values), at(values, 0.9), max(values)))
    return f"p50 {p50:.{digits}f}, p90 {p90:.{digits}f}, max {most:.{digits}f} {unit} (n={len(values)})"


def publish(name: str, title: str, rows: Sequence[Row]) -> None:
    """Print the table and put it into its section of docs/benchmarks.md."""
    lines = [f"## {title}", "", f"{_machine()}; {dt.datetime.now(dt.UTC).date()}, load average {_load()}; `make bench-{name}`.", ""]
    lines += ["| what | measured | beside it, in the same run | goal |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.value} | {row.peer} | {row.goal} |" for row in rows]
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    page = PAGE.read_text() if PAGE.exists() else HEAD
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    page = pattern.sub(lambda _match: text + "\n", page) if pattern.search(page) else f"{page.rstrip()}\n\n{text}"
    PAGE.write_text(page.rstrip() + "\n")


def _load() -> str:
    """Return the load average of the last minute and the last five, with the benchmark's own share in it."""
    minute, five, _ = os.getloadavg()
    return f"{minute:.1f} (1 min), {five:.1f} (5 min)"


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
