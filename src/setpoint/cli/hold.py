"""The verb `hold`: stops new versions of an application, or of a whole environment; POST /api/v1/holds."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import DURATION, json_option, server_options
from setpoint.cli.output import note, print_json, print_text
from setpoint.core import clock

if TYPE_CHECKING:
    from setpoint.client.http import Api


def place(what: tuple[str, ...], everything: str | None) -> tuple[str, str]:
    """Return (application, environment) of `APP ENV` or `--all ENV`; the application is empty for all."""
    if everything is not None and not what:
        return "", everything
    if everything is None and len(what) == 2:
        return what[0], what[1]
    raise click.UsageError("name an application and an environment, or --all and an environment")


@click.command()
@click.argument("what", nargs=-1, metavar="APP ENV | --all ENV")
@click.option("--all", "everything", metavar="ENV", help="Every application in this environment: stop the line.")
@click.option("--until", "for_s", type=DURATION, metavar="DURATION", help="Ends by itself after so long, such as 2h. [default: a release]")
@click.option("--message", "-m", required=True, help="Why; everybody who looks sees it.")
@json_option
@server_options
def command(api: "Api", what: tuple[str, ...], everything: str | None, for_s: int | None, message: str, *, as_json: bool) -> None:
    """Let nothing new into an environment; what runs stays at its pin, and a rollback still works.

    Example: setpoint hold hello production --until 2h -m "the database is being moved"
    """
    app, environment = place(what, everything)
    answer = api.post("holds", {"app": app, "environment": environment, "for_s": for_s, "message": message})
    if as_json:
        print_json(answer)
        return
    until = f"until {clock.spoken(answer['until'])}" if answer["until"] else "until it is released"
    print_text(f"{answer['hold']}: nothing new gets into {environment}{f' for {app}' if app else ''} {until}")
    note(f"next: setpoint release {app or '--all'} {environment}")
