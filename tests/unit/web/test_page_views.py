"""The computed parts of pages: times, waterfall, and windows of logs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from setpoint.core import clock
from setpoint.observe.model import RunReport, TaskRow
from setpoint.pipeline.model import LogRecord, Run, RunState
from setpoint.web import logs, views

NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC)


def after(seconds: float) -> str:
    """Return an instant so many seconds after NOW."""
    return clock.to_text(NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0, "now"), (-5, "now"), (20, "20 s ago"), (250, "4 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
)
def test_ago_uses_the_largest_unit(seconds: float, wanted: str) -> None:
    """An age has one unit; the future is now."""
    assert views.ago(after(0), NOW + timedelta(seconds=seconds)) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(None, "\N{EN DASH}"), (0.42, "0.4 s"), (12.3, "12 s"), (59.7, "1 min"), (7500, "2 h 5 min")]
)
def test_lengths_of_time_are_short(seconds: float | None, wanted: str) -> None:
    """A length has at most two units."""
    assert views.seconds_text(seconds) == wanted


def task(name: str, state: str, begin: float | None, end: float | None, *needs: str) -> TaskRow:
    """Return a task's row."""
    times = [after(second) if second is not None else None for second in (begin, end)]
    return TaskRow(name, state, needs, times[0], times[1], None, None, None, "")


def run(state: RunState = RunState.PASSED, end: float | None = 10) -> Run:
    """Return a run that began at NOW."""
    finished = after(end) if end is not None else None
    return Run("r-1", "shop", "refs/heads/main", "c" * 40, "t" * 40, "a title", "a@example.com", "", state, after(0), finished)


def test_the_waterfall_splits_waiting_from_running() -> None:
    """A task waits from the end of what it needs; a reused one takes no time of this run."""
    rows = (task("deps", "reused", -500, -490), task("build", "passed", 1, 4, "deps"), task("test", "passed", 5, 10, "build"))
    found = views.waterfall(RunReport(run(), rows, (), ()), NOW)
    assert found.total_s == pytest.approx(10)
    deps, build, test = found.bars
    assert (deps.ran_s, deps.run_width) == (None, 0)
    assert (build.wait_x, build.wait_width, build.run_x, build.run_width) == (0, 10, 10, 30)
    assert (test.wait_x, test.wait_width, test.run_x, test.run_width) == (40, 10, 50, 50)


def test_a_running_task_reaches_to_now() -> None:
    """What goes on is drawn until this moment."""
    found = views.waterfall(RunReport(run(RunState.RUNNING, None), (task("test", "running", 2, None),), (), ()), NOW + timedelta(seconds=8))
    assert (found.bars[0].run_x, found.bars[0].run_width) == (25, 75)


def test_the_first_failure_is_opened_then_what_runs() -> None:
    """A green run opens nothing."""
    rows = [task("a", "passed", 0, 1), task("b", "running", 1, None), task("c", "failed", 1, 2)]
    assert views.opened_task(rows) == "c"
    assert views.opened_task(rows[:2]) == "b"
    assert views.opened_task(rows[:1]) == ""


def reader(count: int) -> logs.Read:
    """Return a log of count lines."""

    def read(after_seq: int, limit: int) -> list[LogRecord]:
        return [LogRecord(seq, after(0), "out", f"line {seq}\n") for seq in range(after_seq + 1, min(count, after_seq + 1 + limit))]

    return read


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1999, 2000, 2001, 123_457])
def test_the_last_line_is_found_without_reading_the_log(count: int) -> None:
    """The search gives exactly the highest number, with few reads."""
    reads: list[int] = []
    inner = reader(count)

    def read(after_seq: int, limit: int) -> list[LogRecord]:
        reads.append(limit)
        return inner(after_seq, limit)

    assert logs.last_seq(read) == count - 1
    assert len(reads) <= 40
    assert set(reads) == {1}


def test_a_window_knows_what_follows() -> None:
    """The window holds two thousand lines and counts the rest; None is the end."""
    first = logs.page(reader(5000), -1)
    assert (len(first.lines), first.lines[0].number, first.more) == (2000, 1, 3000)
    tail = logs.page(reader(5000), None)
    assert (tail.lines[0].number, tail.lines[-1].number, tail.more) == (3001, 5000, 0)
    assert logs.page(reader(0), None).lines == ()


def test_an_unknown_state_is_marked_as_such() -> None:
    """A word without a shape gets the question mark, never another state's shape."""
    assert views.mark("surprised") == ("unknown", "idle")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("setpoint approve p-1 (as ada or bob)", ("setpoint approve p-1", " (as ada or bob)")),
        (
            "setpoint init --example hello, or setpoint init --delivery NAME",
            ("setpoint init --example hello", ", or setpoint init --delivery NAME"),
        ),
        ("setpoint why shop staging", ("setpoint why shop staging", "")),
        ("ask team:sre", ("", "ask team:sre")),
    ],
)
def test_only_the_command_of_a_fix_is_copied(text: str, wanted: tuple[str, str]) -> None:
    """What is copied can be pasted into a shell; the rest of the sentence is kept beside it."""
    assert views.split_command(text) == wanted


def test_the_cells_of_a_matrix_stand_together_under_their_sum() -> None:
    """Cells that are interleaved with others are drawn side by side, the first one with what they come to together."""
    rows = (
        replace(task("t@1", "passed", 0, 1), family="t", cell={"python": "1"}),
        replace(task("lint", "passed", 0, 1), family="lint"),
        replace(task("t@2", "failed", 0, 1), family="t", cell={"python": "2"}),
    )
    bars = views.waterfall(RunReport(run(), rows, (), ()), NOW).bars
    assert [(bar.row.task, bar.label) for bar in bars] == [("t@1", "1"), ("t@2", "2"), ("lint", "lint")]
    assert bars[0].group == views.Group("t", "failed", "2 cells: 1 failed, 1 passed")
    assert (bars[1].group, bars[2].group) == (None, None)
