"""The verb `heal`: has drift corrected that an environment only reports; POST /api/v1/drift/heal."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import items_of, note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@json_option
@server_options
def command(api: "Api", app: str, environment: str, *, as_json: bool) -> None:
    """Bring back what drifted and is left alone, reported or held; what is found later is left alone again.

    Example: setpoint heal hello production
    """
    answer = api.post("drift/heal", {"app": app, "environment": environment})
    if as_json:
        print_json(answer)
        return
    for case in items_of(answer):
        print_text(f"{case['drift']}: {case['subject']}, {case['field']}: back to {case['desired']}")
    note(f"next: setpoint drift {app} {environment} --history")
