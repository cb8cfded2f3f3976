"""Options of `up` that say how long things stay, and what they mean; used by `cli.up` only."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from setpoint.app.settings import Settings

Command = Callable[..., Any]
_AT_LEAST_TWO = 2
"""A rollback needs the version before the one that runs."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What was asked for; None is the default."""

    collects: bool
    versions: int | None
    days: int | None
    log_days: int | None

    def options(self) -> list[str]:
        """Return the same as words of a command line."""
        pairs = (("--keep-versions", self.versions), ("--keep-days", self.days), ("--keep-log-days", self.log_days))
        return [*(["--no-gc"] * (not self.collects)), *(word for name, value in pairs if value is not None for word in (name, str(value)))]

    def applied(self, settings: "Settings") -> "Settings":
        """Return settings with these rules."""
        from dataclasses import replace

        asked = {"versions": self.versions, "days": self.days, "log_days": self.log_days}
        rules = replace(settings.retention, **{name: value for name, value in asked.items() if value is not None})
        return replace(settings, retention=rules, collects=self.collects)


def retention_options(command: Command) -> Command:
    """Add the options, and call the command with `retention: Retention` in their place."""

    @functools.wraps(command)
    def called(*args: Any, no_gc: bool, keep_versions: int | None, keep_days: int | None, keep_log_days: int | None, **rest: Any) -> Any:
        return command(*args, retention=Retention(not no_gc, keep_versions, keep_days, keep_log_days), **rest)

    many = click.IntRange(_AT_LEAST_TWO, 100_000)
    days = click.IntRange(0, 36_500)
    added = click.option("--no-gc", is_flag=True, help="Do not collect garbage once a day; `setpoint gc` still does.")(called)
    added = click.option("--keep-log-days", type=days, help="How long logs of tasks stay. [default: 30]")(added)
    added = click.option("--keep-days", type=days, help="What is younger stays. [default: 30]")(added)
    text = "How many of the newest versions, pins and runs stay. [default: 20]"
    return click.option("--keep-versions", type=many, help=text)(added)
