"""What pages draw, computed from the API's own records: shapes, times, the waterfall of a run, the stops of a change.

Pure; called by page routes and templates. It adds no fact and no explanation of its own.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from setpoint.core import clock
from setpoint.core.words import counted
from setpoint.observe.model import Cell, Journey, RunReport, Status, Step, TaskRow

_AFTER_COMMAND: Final = re.compile(r"[,;] | \(| (?:shows|lists|says|prints|makes) ")
_SCANS: Final = ("sarif: ", "cyclonedx: ")
"""How the steps of scanners begin: what they found is told where a change was proved."""
_MARKS: Final = {
    "healthy": ("good", "good"),
    "passed": ("good", "good"),
    "allow": ("good", "good"),
    "pinned": ("good", "good"),
    "reused": ("reused", "good"),
    "progressing": ("moving", "busy"),
    "running": ("moving", "busy"),
    "decided": ("moving", "busy"),
    "wait": ("waiting", "wait"),
    "pending": ("waiting", "idle"),
    "open": ("waiting", "wait"),
    "suspended": ("waiting", "wait"),
    "done": ("good", "good"),
    "now": ("moving", "busy"),
    "to come": ("off", "idle"),
    "reported": ("waiting", "wait"),
    "healed": ("good", "good"),
    "held": ("waiting", "wait"),
    "adopted": ("good", "good"),
    "leaving": ("moving", "busy"),
    "starting": ("moving", "busy"),
    "operated": ("good", "good"),
    "unnamed": ("bad", "bad"),
    "earlier": ("bad", "bad"),
    "foreign": ("unknown", "wait"),
    "degraded": ("bad", "bad"),
    "failed": ("bad", "bad"),
    "timed-out": ("bad", "bad"),
    "deny": ("bad", "bad"),
    "denied": ("bad", "bad"),
    "missing": ("off", "bad"),
    "lost": ("unknown", "bad"),
    "error": ("unknown", "bad"),
    "cancelled": ("off", "idle"),
    "skipped": ("off", "idle"),
    "superseded": ("off", "idle"),
    "empty": ("off", "idle"),
}


def mark(word: str) -> tuple[str, str]:
    """Return (shape, tone) of a state; the word itself always stands beside them."""
    return _MARKS.get(str(word).casefold(), ("unknown", "idle"))


def clock_text(at: str) -> str:
    """Return an instant as people read it: `2026-11-23 06:00:00 UTC`; another text as it is."""
    try:
        return clock.spoken(at)
    except ValueError:
        return at


def ago(at: str, now: datetime) -> str:
    """Return how long ago an instant was: `20 s ago`, `4 min ago`, `3 h ago`, `2 d ago`."""
    try:
        seconds = (now - clock.from_text(at)).total_seconds()
    except ValueError:
        return at
    if seconds < 1:
        return "now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def seconds_text(seconds: float | None) -> str:
    """Return a length of time: `0.4 s`, `12 s`, `3 min 4 s`, `2 h 5 min`; a dash when there is none."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two((whole // 60, "min"), (whole % 60, "s"))
    return _two((whole // 3600, "h"), (whole % 3600 // 60, "min"))


def _two(large: tuple[int, str], small: tuple[int, str]) -> str:
    """Return `3 min 4 s`; without the smaller unit when there is none of it."""
    return " ".join(f"{count} {unit}" for count, unit in (large, small) if count)


def split_command(text: str) -> tuple[str, str]:
    """Return (command to copy, rest of the sentence) of a fix; no command when it begins otherwise."""
    if not text.startswith("setpoint "):
        return "", text
    command = _AFTER_COMMAND.split(text, maxsplit=1)[0]
    return command, text[len(command) :]


def pretty(value: Any) -> str:
    """Return a JSON value as people read it; very long ones are cut."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 20_000 else f"{text[:20_000]}\n(cut here)"


@dataclass(frozen=True, slots=True)
class Bar:
    """A task in the waterfall; positions and widths in percent of the whole."""

    row: TaskRow
    wait_x: float
    wait_width: float
    run_x: float
    run_width: float
    waited_s: float
    ran_s: float | None
    group: "Group | None" = None
    """Of the first cell of a matrix: what stands above its cells."""

    @property
    def label(self) -> str:
        """What the task is called in its row: a cell by its values, below the name of its matrix."""
        return ", ".join(self.row.cell.values()) or self.row.task


@dataclass(frozen=True, slots=True)
class Group:
    """All cells of one matrix together."""

    name: str
    state: str
    """The worst of them."""
    text: str
    """`3 cells: 2 passed, 1 failed`"""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A run drawn over time."""

    bars: tuple[Bar, ...]
    total_s: float


def waterfall(report: RunReport, now: datetime) -> Waterfall:
    """Return every task's wait (from when all it needs had ended) and run.

    What was reused ran in another run and has neither; nobody knows how long a lost one ran.
    """
    run = report.run
    rows = {row.task: row for row in report.tasks}
    here = [row for row in report.tasks if row.state != "reused"]
    ends = [row.finished_at for row in here if row.finished_at]
    until = run.finished_at or max([clock.to_text(now), *ends])
    total = max(0.001, clock.seconds_between(run.begun_at, until))

    def offset(at: str) -> float:
        return min(total, max(0.0, clock.seconds_between(run.begun_at, at)))

    def ready(row: TaskRow) -> float:
        needed = [rows[need] for need in row.needs if need in rows]
        return max([0.0, *(offset(need.finished_at) for need in needed if need.finished_at and need.state != "reused")])

    bars = []
    groups = groups_of(report.tasks)
    for row in by_family(report.tasks):
        group = groups.pop(row.family, None)
        if row.started_at is None or row.state == "reused" or (row.state == "lost" and row.finished_at is None):
            bars.append(Bar(row, 0, 0, ready(row) / total * 100, 0, 0, None, group))
            continue
        start, end = offset(row.started_at), offset(row.finished_at or until)
        begin = min(ready(row), start)
        percents = [round(value / total * 100, 2) for value in (begin, start - begin, start, end - start)]
        bars.append(Bar(row, percents[0], percents[1], percents[2], max(0.4, percents[3]), start - begin, end - start, group))
    return Waterfall(tuple(bars), total)


_WORST: Final = ("failed", "timed-out", "lost", "cancelled", "running", "skipped", "pending", "passed", "reused")


def by_family(rows: Sequence[TaskRow]) -> list[TaskRow]:
    """Return the rows with the cells of a matrix side by side, otherwise in their order."""
    first = {row.family: position for position, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: first[row.family])


def groups_of(rows: Sequence[TaskRow]) -> dict[str, Group]:
    """Return {family: its cells together} of every matrix."""
    found = {}
    for family in dict.fromkeys(row.family for row in rows if row.cell):
        states = [str(row.state) for row in rows if row.family == family]
        counts = [f"{states.count(state)} {state}" for state in _WORST if state in states]
        worst = next((state for state in _WORST if state in states), states[0])
        found[family] = Group(family, worst, f"{counted(len(states), 'cell')}: {', '.join(counts)}")
    return found


def opened_task(tasks: Sequence[TaskRow]) -> str:
    """Return the task whose log is shown when nobody chose one: the first that failed, else what runs; empty when all is well."""
    for states in (("failed", "timed-out", "lost"), ("running",)):
        for row in tasks:
            if row.state in states:
                return row.task
    return ""


@dataclass(frozen=True, slots=True)
class Stop:
    """One station of a change's line."""

    name: str
    state: str
    """A word that `mark` knows."""
    text: str
    at: str
    link: str
    since_start_s: float | None


def step_link(step: Step) -> str:
    """Return where a step of a journey is shown; empty when it has no page."""
    if step.kind == "run":
        return f"/run/{step.id}"
    if step.kind == "promotion":
        return f"/promotion/{step.id}"
    if step.kind == "revision":
        return f"/change/{step.id}"
    return step.id if step.id.startswith(("http://", "https://")) else ""


def stops(journey: Journey) -> tuple[Stop, ...]:
    """Return the line of a change: committed, tested, built, proved, then each environment it was promoted to and serves in."""
    found: list[Stop] = []
    evidence = [step for step in journey.steps if step.kind == "evidence"]
    first = next((step.at for step in journey.steps if step.at), "")

    def add(name: str, state: str, text: str, step: Step) -> None:
        since = clock.seconds_between(first, step.at) if step.at and first else None
        found.append(Stop(name, state, text, step.at, step_link(step), since))

    for step in journey.steps:
        if step.kind == "revision":
            add("committed", "passed", journey.author, step)
        elif step.kind == "run":
            state = step.text.partition(":")[0]
            add("run", state, state, step)
        elif step.kind == "artifact":
            add("built", "passed", step.text, step)
        elif step.kind == "evidence" and step is evidence[-1]:
            bad = any(" FAILED" in f" {one.text}" for one in evidence)
            scans = list(dict.fromkeys(one.text for one in evidence if one.text.startswith(_SCANS)))
            text = "; ".join([counted(len(evidence), "signed statement"), *scans])
            add("proved", "failed" if bad else "passed", text, step)
        elif step.kind == "promotion":
            kind, _, rest = step.text.partition(": ")
            state = rest.partition(" ")[0]
            add(f"to {step.where}", state, state if kind == "advance" else f"{kind}: {state}", step)
        elif step.kind == "approval":
            add("approved", "passed", f"{step.id}{': ' if step.text else ''}{step.text}", step)
        elif step.kind == "deployment":
            health = step.text.partition(" ")[0]
            add(f"in {step.where}", health, health, step)
    return tuple(found)


def grid(status: Status, wanted: str) -> list[tuple[str, list[Cell | None]]]:
    """Return the rows of the matrix whose application's name contains `wanted`, one cell for every environment."""
    cells = {(cell.app, cell.environment): cell for cell in status.cells}
    names = [name for name in status.apps if wanted.casefold() in name.casefold()]
    return [(name, [cells.get((name, environment)) for environment in places(status)]) for name in names]


def places(status: Status) -> list[str]:
    """Return the environments that have a column of the matrix: all but previews, which come and go."""
    shown = {one.environment for one in status.previews}
    return [environment for environment in status.environments if environment not in shown]


def health_of(status: Status, environment: str) -> str:
    """Return the worst health of an environment's applications."""
    found = [str(cell.health) for cell in status.cells if cell.environment == environment]
    return next(
        (word for word in ("degraded", "missing", "unknown", "progressing", "suspended") if word in found), found[0] if found else "empty"
    )
