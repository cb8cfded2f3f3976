"""The verb `quarantine`: bars the candidate that waits, or a digest, from an environment; POST /api/v1/quarantines."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text
from setpoint.core.digest import short

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@click.argument("digest", default="")
@click.option("--message", "-m", required=True, help="Why; everybody who looks sees it.")
@json_option
@server_options
def command(api: "Api", app: str, environment: str, digest: str, message: str, *, as_json: bool) -> None:
    """Bar what waits for an environment from it; with DIGEST, every candidate that brings this artifact.

    What runs is taken back with `setpoint rollback`. Example: setpoint quarantine hello production -m "it logs passwords"
    """
    answer = api.post("quarantines", {"app": app, "environment": environment, "digest": digest, "message": message})
    if as_json:
        print_json(answer)
        return
    what = f"every candidate with {short(answer['candidate'])}" if answer["bare"] else f"candidate {short(answer['candidate'])}"
    print_text(f"{what} of {app} is barred from {environment}")
    note(f"next: setpoint promote {app} --to {environment} --lift ends it")
