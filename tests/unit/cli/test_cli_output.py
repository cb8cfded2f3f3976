"""What a person or a program reads: tables, times, colours, progress."""

import io
from datetime import UTC, datetime, timedelta

import click
import pytest

from setpoint.cli.output import ago, clean, cut, has_colour, items_of, span, state, table, width
from setpoint.cli.progress import Line, Progress

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_columns_line_up_whatever_is_in_them() -> None:
    """Colours, wide and combining characters do not shift columns; line ends carry no blanks; short rows are fine."""
    text = click.unstyle(table([["a", state("passed"), "x"], ["日本", "failed", ""], ["e\u0301", "-"]], ("NAME", "STATE", "MORE")))
    assert text.splitlines() == ["NAME  STATE   MORE", "a     passed  x", "日本  failed", "e\u0301     -"]
    assert table([]) == ""


def test_what_came_from_outside_cannot_steer_the_terminal() -> None:
    """Control and direction-changing characters are replaced; line ends in a cell become blanks; our colours stay."""
    assert clean("a\x1b]0;title\x07b\x1b[2J\u202ec\r") == "a\ufffd]0;title\ufffdb\ufffd[2J\ufffdc\ufffd"
    assert clean(state("passed")) == state("passed")
    assert table([["two\nlines"]]) == "two lines"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (1, "1s ago"), (59, "59s ago"), (61, "1m ago"), (7200, "2h ago"), (90_000, "1d ago"), (-300, "in 5m")],
)
def test_times_as_people_say_them(seconds: int, text: str) -> None:
    """The largest unit is enough, past and future."""
    assert ago((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text
    assert ago(None) == "-"
    assert span(0.44) == "0.4s"


def test_text_is_cut_by_columns() -> None:
    """A cut text ends in an ellipsis and is never wider than asked; only the first line counts."""
    assert cut("short\nmore", 10) == "short"
    assert cut("日本語のタイトル", 7) == "日本語…"
    assert width(cut("x" * 50, 10)) == 10


def test_colours_are_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour without a terminal, with NO_COLOR, or on a dumb terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colour(Terminal())
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())


def test_lists_are_read_in_both_shapes() -> None:
    """An answer may be a list or an object with items."""
    assert items_of([{"a": 1}]) == items_of({"items": [{"a": 1}]}) == [{"a": 1}]
    assert items_of(None) == items_of({}) == []


def test_without_a_terminal_every_transition_is_one_line() -> None:
    """Each state of each thing is printed once, with the time; a changing text alone prints nothing."""
    stream = io.StringIO()
    with Progress(stream, now=lambda: NOW) as progress:
        progress.show({"run r-1": Line("running"), "test": Line("pending", depth=1)})
        progress.show({"run r-1": Line("running", "5s"), "test": Line("passed", "412 tests", depth=1)})
        progress.say("done")
    assert stream.getvalue().splitlines() == [
        "06:00:00  run r-1  running",
        "06:00:00    test  pending",
        "06:00:00    test  passed  412 tests",
        "06:00:00  done",
    ]


def test_on_a_terminal_the_block_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old block is taken back before the new one; lines never wrap; the last block stays."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with Progress(stream) as progress:
        progress.show({"a": Line("running"), "b": Line("pending", "x" * 50)})
        progress.show({"a": Line("passed")})
    written = stream.getvalue()
    assert "\x1b[2A\x1b[J" in written
    first = written.partition("\x1b[2A")[0]
    assert max(len(line) for line in first.splitlines()) < 20
    assert written.endswith("a  passed\n")
