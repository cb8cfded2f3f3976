"""The verb `token`: create, list and revoke tokens, and hand the home's own to git.

Speaks to /api/v1/tokens; a token's text is printed once, by `create`, and by `credential` to git's own pipe.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from setpoint.cli.options import home_option, json_option, quiet_option, server_options
from setpoint.cli.output import ago, items_of, note, print_json, print_text, state, table

if TYPE_CHECKING:
    from setpoint.client.http import Api

_MAX_REQUEST_CHARS = 1 << 16


@click.group()
def command() -> None:
    """Create, list and revoke tokens; only the operator may."""


@command.command()
@click.option("--person", metavar="EMAIL", help="Bind it to this person of the accepted setpoint.yaml; left out: an operator's token.")
@click.option("--pull", is_flag=True, help="For machines that pull images: it reads the registry, and nothing else.")
@click.option("--name", default="", help="What it is for, shown in the list.")
@quiet_option
@json_option
@server_options
def create(api: "Api", person: str | None, name: str, *, pull: bool, quiet: bool, as_json: bool) -> None:
    """Create a token and print it, this once.

    It is the password for Git and the registry (any user name), and the Bearer token of the API.
    """
    if pull and person is not None:
        raise click.UsageError("--pull is a machine's token: it belongs to no person")
    kind = "pull" if pull else "person" if person is not None else "operator"
    answer = api.post("tokens", {"kind": kind, "email": person or "", "name": name})
    if as_json:
        print_json(answer)
        return
    click.echo(answer["token"])
    if not quiet:
        whose = f"{person}'s token" if person else "a machine's token, for pulls only" if pull else "an operator's token"
        use = "any user name, with this as the password" if pull else "export SETPOINT_TOKEN=..."
        note(f"{answer['id']} is {whose}; it is not shown again. Use it: {use}")


@command.command("list")
@json_option
@server_options
def list_tokens(api: "Api", *, as_json: bool) -> None:
    """List tokens: whose, what for, how old; never their text."""
    answer = api.get("tokens")
    if as_json:
        print_json(answer)
        return
    rows = [
        [item["id"], item["email"] or item["kind"], item["name"] or "-", ago(item["created_at"]), _life(item.get("revoked_at"))]
        for item in items_of(answer)
    ]
    print_text(table(rows, ("TOKEN", "WHO", "NAME", "CREATED", "STATE")))


@command.command()
@click.argument("token_id")
@json_option
@server_options
def revoke(api: "Api", token_id: str, *, as_json: bool) -> None:
    """Revoke a token by its id (t-...); whoever uses it is out at once."""
    from setpoint.client.http import segment

    answer = api.delete(f"tokens/{segment(token_id)}")
    if as_json:
        print_json(answer)
    else:
        note(f"{token_id} is revoked")


@command.command()
@click.argument("action")
@home_option
def credential(action: str, home: Path | None) -> None:
    """Answer git as a credential helper for this home's server.

    Set it up with: git config --global credential.helper '!setpoint token credential'
    """
    if action != "get":
        return  # git also tells helpers to store and erase; the home has its own file
    request = dict(line.split("=", 1) for line in sys.stdin.read(_MAX_REQUEST_CHARS).splitlines() if "=" in line)
    from setpoint.client.connection import of_home
    from setpoint.core.errors import SetpointError

    try:
        from setpoint.app.home import default_home

        connection = of_home(home or default_home())
    except SetpointError:
        return  # no server here: git asks its other helpers, or the user
    mine = urlsplit(connection.git)
    if (request.get("protocol"), request.get("host")) == (mine.scheme, mine.netloc):
        click.echo(f"username={request.get('username') or 'setpoint'}\npassword={connection.token}")


def _life(revoked_at: str | None) -> str:
    return f"{state('revoked')} {ago(revoked_at)}" if revoked_at else "live"
