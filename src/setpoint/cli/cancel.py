"""The verb `cancel`: stops a run, or one task of it; POST /api/v1/runs/{run}/cancel, and the same of a task."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("run")
@click.argument("task", required=False)
@click.option("--message", "-m", default="", help="Why; the run and the journal say it.")
@json_option
@server_options
def command(api: "Api", run: str, task: str | None, message: str, *, as_json: bool) -> None:
    """Stop RUN, or only TASK of it: what runs is asked to end (TERM), and killed when it does not.

    RUN is an id, its beginning, a commit, or `latest`. Example: setpoint cancel latest -m "wrong branch"
    """
    from setpoint.client.http import segment

    place = f"runs/{segment(run)}" + (f"/tasks/{segment(task)}" if task else "")
    answer = api.post(f"{place}/cancel", {"message": message})
    if as_json:
        print_json(answer)
        return
    print_text(f"{answer['state']} {answer['run']}" + (f"/{task}" if task else ""))
    if task:
        note(f"next: setpoint watch {answer['run']}")
