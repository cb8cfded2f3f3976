"""The verb `retry`: a run goes on with what is not green, or a check is asked again; POST /api/v1/{runs,checks}/ID/retry."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("run", metavar="RUN | CHECK")
@click.option("--message", "-m", default="", help="Why; the journal says it.")
@json_option
@server_options
def command(api: "Api", run: str, message: str, *, as_json: bool) -> None:
    """Let RUN, which failed or was cancelled, go on, or have the command of a gate asked again now.

    The revision of a run stays, and only tasks that are not green are executed again.

    A task of `once` that was begun is not: it waits until its probe or `setpoint resolve` says that it did not happen.

    RUN is an id, its beginning, a commit, or `latest`; CHECK is named by `setpoint why`.

    Example: setpoint retry latest -m "the network was down"
    """
    from setpoint.client.http import segment

    if run.startswith("c-"):
        asked = api.post(f"checks/{segment(run)}/retry", {"message": message})
        print_json(asked) if as_json else print_text(f"{run} is asked again: {asked['command']} in {asked['upstream']}")
        note(f"next: setpoint log {run} --follow")
        return
    answer = api.post(f"runs/{segment(run)}/retry", {"message": message})
    if as_json:
        print_json(answer)
        return
    tasks = ", ".join(answer["tasks"]) or "no task; its artifacts are made anew"
    print_text(f"{answer['run']} goes on: {tasks}")
    note(f"next: setpoint watch {answer['run']}")
