"""The verb `resolve`: a person says what became of a task that must not run twice and was interrupted.

POST /api/v1/runs/{run}/tasks/{task}/resolve; the journal keeps who said it and how they know.
"""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api

_SAID = {"passed": "it happened", "failed": "it failed", "again": "it did not happen, and is run again"}


@click.command()
@click.argument("run")
@click.argument("task")
@click.option("--passed", "outcome", flag_value="passed", help="It happened: the run goes on.")
@click.option("--failed", "outcome", flag_value="failed", help="It failed: what needs it is skipped.")
@click.option("--again", "outcome", flag_value="again", help="It did not happen: run it again.")
@click.option("--message", "-m", default="", help="How you know; required, and journalled.")
@json_option
@server_options
def command(api: "Api", run: str, task: str, outcome: str | None, message: str, *, as_json: bool) -> None:
    """Say what became of a lost TASK of RUN: look first at what it was to do, for Setpoint does not know.

    Example: setpoint resolve latest publish --passed -m "version 3 is in the index"
    """
    from setpoint.client.http import segment

    if outcome is None:
        raise click.UsageError("say what became of it: --passed, --failed or --again")
    if not message.strip():
        raise click.UsageError("say how you know: -m")
    answer = api.post(f"runs/{segment(run)}/tasks/{segment(task)}/resolve", {"outcome": outcome, "message": message})
    if as_json:
        print_json(answer)
        return
    print_text(f"{answer['run']}/{task}: {_SAID[outcome]}")
    note(f"next: setpoint watch {answer['run']}")
