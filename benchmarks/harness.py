"""What every benchmark shares: a live home that is cleaned up, percentiles, and the table that docs/benchmarks.md keeps.

Called by the benchmarks beside it; figures are printed and written, never asserted.
"""

import datetime as dt
import os
import platform
import re
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from live_home import LiveHome, new_home

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

`make bench` runs all, `make bench-NAME` one; each prints its table and replaces its section here.
Ratios are taken against a peer or a floor in the same run; absolute times depend on the machine named above each table.
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


def spread(values: Sequence[float], unit: str = "ms", scale: float = 1000.0) -> str:
    """Return p50, p95 and maximum of seconds as text."""
    ordered = sorted(value * scale for value in values)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    digits = 0 if unit == "ms" else 2
    return f"p50 {statistics.median(ordered):.{digits}f}, p95 {p95:.{digits}f}, max {ordered[-1]:.{digits}f} {unit} (n={len(ordered)})"


def publish(name: str, title: str, rows: Sequence[Row]) -> None:
    """Print the table and put it into its section of docs/benchmarks.md."""
    lines = [f"## {title}", "", f"{_machine()}; {dt.datetime.now(dt.UTC).date()}; `make bench-{name}`.", ""]
    lines += ["| what | measured | beside it | goal |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.value} | {row.peer} | {row.goal} |" for row in rows]
    text = "\n".join(lines) + "\n"
    print(text)
    page = PAGE.read_text() if PAGE.exists() else HEAD
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    page = pattern.sub(lambda _match: text + "\n", page) if pattern.search(page) else f"{page.rstrip()}\n\n{text}"
    PAGE.write_text(page.rstrip() + "\n")


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
