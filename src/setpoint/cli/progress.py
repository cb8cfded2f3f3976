"""Progress on standard error: a block of live lines on a terminal, one line per transition anywhere else.

Called by verbs that follow something (`watch`, `status --wait`, `run`); it never prints results.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

import click

from setpoint.cli.output import clean, cut, dim, has_colour, state


@dataclass(frozen=True, slots=True)
class Line:
    """Where one thing is: its state is what makes a transition, its text may change at will."""

    state: str
    text: str = ""
    depth: int = 0


class Progress:
    """Shows named lines; use it as a context manager, so that the terminal is left in order."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None, now: Callable[[], datetime] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._now = now or (lambda: datetime.now(UTC))
        self._states: dict[str, str] = {}
        self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drawn = 0  # the last block stays on the screen

    def show(self, lines: Mapping[str, Line]) -> None:
        """Show the present lines by name, in order: redrawn in place when live, else only those whose state is another than before."""
        if self._live:
            self._redraw([self._format(name, line) for name, line in lines.items()])
        else:
            for name, line in lines.items():
                if self._states.get(name) != line.state:
                    self._write(f"{self._time()}  {self._format(name, line)}\n")
        self._states = {name: line.state for name, line in lines.items()}

    def say(self, text: str) -> None:
        """Print a sentence that stays, above the live lines."""
        self._erase()
        self._write((text if self._live else f"{self._time()}  {text}") + "\n")

    def _format(self, name: str, line: Line) -> str:
        tail = f"  {dim(line.text)}" if line.text else ""
        return f"{'  ' * line.depth}{name}  {state(line.state)}{tail}"

    def _time(self) -> str:
        return self._now().strftime("%H:%M:%S")

    def _redraw(self, lines: list[str]) -> None:
        """Draw the block over the last one; a line is cut to the terminal's width, for a wrapped one could not be taken back."""
        size = shutil.get_terminal_size()
        shown = lines[-max(1, size.lines - 1) :]
        self._erase()
        self._write("".join(f"{cut(line, size.columns - 1)}\n" for line in shown))
        self._drawn = len(shown)

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _write(self, text: str) -> None:
        styled = clean(text)
        self._stream.write(styled if has_colour(self._stream) else click.unstyle(styled))
        self._stream.flush()
