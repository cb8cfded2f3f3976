"""Options that verbs share, each spelled once: which server, JSON, how long to wait.

Called as decorators by the verb modules; they import the client only when a verb really runs.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


class DurationType(click.ParamType[int]):
    """Seconds written as `90s`, `10m`, `1h30m`; a bare number is refused, for nobody knows its unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        from setpoint.core import durations

        try:
            return durations.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = DurationType()
_FOLDER = click.Path(file_okay=False, readable=False, path_type=Path)
"""Whether it may be read is found out by who needs it, with a way out."""


def home_option(command: Command) -> Command:
    """Add --home DIR as `home: Path | None`; None stands for the default home."""
    text = "The home's folder. [default: $SETPOINT_HOME, else setpoint under the user's state folder]"
    return click.option("--home", type=_FOLDER, help=text)(command)


def server_options(command: Command) -> Command:
    """Add --server, --token and --home, and call the command with `api: client.http.Api` in their place."""

    @functools.wraps(command)
    def connected(*args: Any, server: str | None, token: str | None, home: Path | None, **rest: Any) -> Any:
        from setpoint.client.connection import find
        from setpoint.client.http import Api

        return command(*args, api=Api(find(server, token, home)), **rest)

    added = home_option(connected)
    added = click.option("--token", metavar="TOKEN", help="Who calls. [default: $SETPOINT_TOKEN, else the home's operator]")(added)
    return click.option("--server", metavar="URL", help="Which server. [default: $SETPOINT_URL, else the home's]")(added)


def json_option(command: Command) -> Command:
    """Add --json as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def quiet_option(command: Command) -> Command:
    """Add --quiet as `quiet: bool`: only the value that a script wants."""
    return click.option("--quiet", "-q", is_flag=True, help="Print only the value itself.")(command)


def wait_option(command: Command) -> Command:
    """Add --wait[=DURATION] as `wait_s: int | None`; standing alone it means 10m (`cli.main` writes that out)."""
    text = "Wait until it is settled, at most so long; exit code 3 when it is not. [--wait alone: 10m]"
    return click.option("--wait", "wait_s", type=DURATION, metavar="[DURATION]", help=text)(command)
