"""The verb `secret-key`: what Secrets of delivery repositories are encrypted to; reads /api/v1/secret-key and sees no private key."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, quiet_option, server_options
from setpoint.cli.output import note, print_json

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@quiet_option
@json_option
@server_options
def command(api: "Api", *, quiet: bool, as_json: bool) -> None:
    """Print the age recipient of the home, and how a Secret is encrypted to it.

    Example: sops encrypt --age $(setpoint secret-key -q) --encrypted-regex '^(data|stringData)$' --in-place secret.yaml
    """
    answer = api.get("secret-key")
    if as_json:
        print_json(answer)
        return
    click.echo(",".join(answer["recipients"]))
    if not quiet:
        note("sops encrypt --age RECIPIENT --encrypted-regex '^(data|stringData)$' --in-place FILE")
