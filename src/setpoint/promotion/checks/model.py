"""What a gate asks by command, and what became of it; the words of checks.

A command's record is journalled whole as `check.started` before anything runs and as `check.finished` when its end is known.
"""

from dataclasses import dataclass
from enum import StrEnum

from setpoint.promotion.checks.written import CommandCheck


class CommandState(StrEnum):
    """Where a command is."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    """It ended with another status than 0."""
    ERROR = "error"
    """It could not be asked to the end: no sandbox, no time left, killed from outside. Never a pass."""
    CANCELLED = "cancelled"
    """Its answer was not wanted any more."""


@dataclass(frozen=True, slots=True)
class Question:
    """One command that has to be asked of one environment before a promotion may pass."""

    check: str
    """`c-<8>`: named by all that the answer is about, so that an answer never counts for anything else."""
    promotion: str
    app: str
    environment: str
    """Where the candidate wants to get in."""
    upstream: str
    """The environment of `after:` that it is asked of."""
    command: CommandCheck
    scripts: str
    """Tree id of the accepted scripts; empty when there are none."""


@dataclass(frozen=True, slots=True)
class CommandRun:
    """What became of a question the last time it was asked."""

    check: str
    promotion: str
    app: str
    environment: str
    upstream: str
    command: str
    """The first line of what ran, shortened."""
    scripts: str
    attempt: int
    """From 1; how often it was begun."""
    state: CommandState
    started_at: str
    finished_at: str = ""
    exit_code: int | None = None
    found: str = ""
    """Its last words, or why it has none; while it runs again, what the attempt before had said."""
    failures: int = 0
    """Attempts without a pass in a row, this one included."""
    lasting: bool = False
    """Asking again gives the same: only a changed file, or a person, makes it worth asking."""
    asked_at: str = ""
    """When a person last wanted it asked again (`check.requested`)."""
    asked_by: str = ""
    """Actor."""
