"""The verb `secret`: set, list and remove the secrets of a repository; speaks to /api/v1/secrets.

A value comes from standard input or from a prompt that shows nothing, never from the command line, where `ps` and the shell's history
would keep it; it is never printed.
"""

import sys
from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import ago, items_of, note, print_json, print_text, table
from setpoint.core import names

if TYPE_CHECKING:
    from setpoint.client.http import Api

_MAX_CHARS = (64 << 10) + 1


@click.group()
def command() -> None:
    """Set, list and remove the secrets that tasks are given; only the operator may."""


_repository = click.option("--repository", "-r", required=True, metavar="NAME", help="The source repository whose tasks may ask for it.")


@command.command("set")
@click.argument("name")
@_repository
@json_option
@server_options
def set_secret(api: "Api", name: str, repository: str, *, as_json: bool) -> None:
    """Keep the value of NAME; it is read from standard input, or asked for.

    Example: setpoint secret set INDEX_TOKEN --repository hello < token.txt
    """
    answer = api.put(_path(repository, name), {"value": _value(name)})
    if as_json:
        print_json(answer)
        return
    print_text(f"{answer['name']}@{answer['version']} of {answer['repository']} is set")
    if answer.get("waits"):
        note(f"there is no repository {answer['repository']} yet: its tasks are given it from the first push on")
    note(f"a task is given it with: secrets: [{name}]")


@command.command("list")
@click.option("--repository", "-r", metavar="NAME", help="Only of this repository.")
@json_option
@server_options
def list_secrets(api: "Api", repository: str | None, *, as_json: bool) -> None:
    """List secrets: name, version, who set it and when; never a value."""
    answer = api.get("secrets", {"repository": repository})
    if as_json:
        print_json(answer)
        return
    rows = [
        [item["repository"], item["name"], str(item["version"]), ago(item["set_at"]), names.actor(item["set_by"])]
        for item in items_of(answer)
    ]
    print_text(
        table(rows, ("REPOSITORY", "SECRET", "VERSION", "SET", "BY")) if rows else "no secrets: setpoint secret set NAME -r REPOSITORY"
    )


@command.command()
@click.argument("name")
@_repository
@json_option
@server_options
def remove(api: "Api", name: str, repository: str, *, as_json: bool) -> None:
    """Remove NAME and delete its values; tasks that ask for it fail from now on."""
    answer = api.delete(_path(repository, name))
    if as_json:
        print_json(answer)
    else:
        print_text(f"{name}@{answer['version']} of {repository} is removed")


def _path(repository: str, name: str) -> str:
    from setpoint.client.http import segment

    return f"secrets/{segment(repository)}/{segment(name)}"


def _value(name: str) -> str:
    """Return the value; of what is piped in, the last line end is none of it."""
    if sys.stdin.isatty():
        typed: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt="again", err=True)
        return typed
    return sys.stdin.read(_MAX_CHARS).removesuffix("\n").removesuffix("\r")
