"""The verb `release`: ends people's holds of an application in an environment, or of the whole environment; POST /api/v1/holds/release."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.hold import place
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("what", nargs=-1, metavar="APP ENV | --all ENV")
@click.option("--all", "everything", metavar="ENV", help="The hold of the whole environment; those of single applications stay.")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@json_option
@server_options
def command(api: "Api", what: tuple[str, ...], everything: str | None, message: str, *, as_json: bool) -> None:
    """End a hold: what waits is decided at once.

    Example: setpoint release hello production
    """
    app, environment = place(what, everything)
    answer = api.post("holds/release", {"app": app, "environment": environment, "message": message})
    if as_json:
        print_json({"items": answer})
        return
    for hold in answer:
        print_text(f"released {hold['hold']} of {hold['by']}: {hold['why']}")
    note(f"next: setpoint why {app} {environment}" if app else "next: setpoint status --wait")
