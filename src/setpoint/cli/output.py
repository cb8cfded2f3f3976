"""What verbs print: JSON or text, aligned tables, colours where a person looks, times as people say them.

Called by every verb and by `cli.main`; results go to standard output, everything else to standard error. Text that came from outside never
reaches the terminal with its control characters.
"""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import click

from setpoint.core.errors import ConfigError, ConflictError, NotAllowedError, SetpointError, UserError, WorldError

_COLOURS: Final = {
    "green": ("passed", "reused", "healthy", "allow", "decided", "pinned", "ok", "yes", "synced", "healed", "adopted"),
    "red": ("failed", "timed-out", "deny", "denied", "degraded", "lost", "no", "quarantined", "error", "unnamed", "earlier"),
    "yellow": (
        "running",
        "waiting",
        "wait",
        "pending",
        "progressing",
        "drifted",
        "unknown",
        "open",
        "reported",
        "held",
        "leaving",
        "starting",
        "foreign",
    ),
    "bright_black": ("skipped", "cancelled", "superseded", "revoked", "gone", "-"),
}
_COLOUR_OF: Final = {word: colour for colour, words in _COLOURS.items() for word in words}
_CONTROL: Final = re.compile(r"\x1b\[[0-9;]{0,16}m|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


class AnswerNo(Exception):  # noqa: N818 - it is an answer, not a fault
    """The verb worked and its answer is no (a failed run, a denied gate, a fault found): exit code 1; its text goes to standard error."""


class StillWaiting(Exception):  # noqa: N818 - it is an answer, not a fault
    """The time of --wait is over and the answer is not there yet: exit code 3; its text goes to standard error."""


def exit_code(error: SetpointError) -> int:
    """Return the exit code of an error's family; a conflict is an answer of no, not a fault of usage."""
    if isinstance(error, NotAllowedError):
        return 4
    if isinstance(error, ConflictError):
        return 1
    if isinstance(error, WorldError):
        return 5
    return 2 if isinstance(error, UserError) or error.code == "SP850" else 101


def problem_of(error: SetpointError) -> dict[str, Any]:
    """Return an error as --json prints it: the keys of the API's problems."""
    value: dict[str, Any] = {"code": error.code, "detail": error.what, "where": error.where, "fix": error.fix}
    if isinstance(error, ConfigError):
        names = ("code", "what", "path", "line", "column", "length", "source", "fix")
        value["findings"] = [{name: getattr(finding, name) for name in names} for finding in error.findings]
    return value


def print_json(value: Any) -> None:
    """Print a value as JSON for programs: two spaces of indent, keys in the order they have."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON (streams), at once."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text for people, without anything in it that could steer the terminal."""
    click.echo(clean(text), color=has_colour(sys.stdout))


def note(text: str) -> None:
    """Print a sentence that is not the result: progress, hints, what was done on the side."""
    click.echo(clean(text), err=True, color=has_colour(sys.stderr))


def items_of(answer: Any) -> list[dict[str, Any]]:
    """Return the objects of a list answer of the API: `{"items": [...]}`, or the bare list."""
    found = answer.get("items", []) if isinstance(answer, dict) else answer
    return [item for item in found or [] if isinstance(item, dict)]


def has_colour(stream: TextIO) -> bool:
    """Say whether a person looks at the stream and did not turn colours off (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def state(word: str) -> str:
    """Return the name of a state in its colour."""
    colour = _COLOUR_OF.get(word.casefold())
    return click.style(word, fg=colour) if colour else word


def bold(text: str) -> str:
    """Return text that stands out."""
    return click.style(text, bold=True)


def dim(text: str) -> str:
    """Return text that stands back."""
    return click.style(text, fg="bright_black")


def clean(text: str) -> str:
    """Return text without control and direction-changing characters; our own colours, tabs and line ends stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0].startswith("\x1b[") else "\ufffd", text)


def width(text: str) -> int:
    """Return the columns text takes on a terminal."""
    plain = click.unstyle(text)
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in plain)


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> str:
    """Return rows as columns two spaces apart, every column as wide as its widest cell, no blanks at line ends."""
    every = [[bold(header) for header in headers], *rows] if headers else list(rows)
    cells = [[clean(cell).replace("\n", " ") for cell in row] for row in every]
    widths = [max(width(row[column]) for row in cells if column < len(row)) for column in range(max(map(len, cells), default=0))]
    lines = ("  ".join(cell + " " * (widths[column] - width(cell)) for column, cell in enumerate(row)).rstrip() for row in cells)
    return "\n".join(lines)


def ago(instant: str | None, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 instant was: `now`, `42s ago`, `3m ago`, `2d ago`, `in 5m`; `-` when there is none."""
    if not instant:
        return "-"
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(instant)).total_seconds()
    if abs(seconds) < 1:
        return "now"
    text = span(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: `0.4s`, `42s`, `3m`, `2h`, `4d`."""
    if seconds < 1:
        return f"{seconds:.1f}s"
    size, name = next((size, name) for size, name in _STEPS if seconds >= size)
    return f"{int(seconds // size)}{name}"


def cut(text: str, columns: int) -> str:
    """Return the first line of text, shortened to so many columns with an ellipsis."""
    line = text.partition("\n")[0]
    if width(line) <= columns:
        return line
    kept = click.unstyle(line)
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    return kept + "…"
