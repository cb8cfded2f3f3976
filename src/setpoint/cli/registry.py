"""The verb `registry`: logins to other people's registries; speaks to /api/v1/registries.

A password comes from standard input or from a prompt that shows nothing, never from the command line; it is never printed.
"""

import sys
from pathlib import Path
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
    """Log in to other registries: for base images, and for copies of artifacts; only the operator may."""


@command.command()
@click.argument("host")
@click.option("--user", "-u", default="", metavar="USER", help="The account there. [default: none]")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check its certificate against these (PEM), not the system's.",
)
@click.option("--plain-http", is_flag=True, help="Speak to it without TLS: passwords and images can be read on the way.")
@json_option
@server_options
def login(api: "Api", host: str, user: str, ca: Path | None, *, plain_http: bool, as_json: bool) -> None:
    """Try and keep a login to HOST; the password is read from standard input, or asked for.

    Example: setpoint registry login registry.example.com:5000 --user robot < password.txt
    """
    authorities = ca.read_text(errors="replace") if ca is not None else ""
    body = {"user": user, "password": _password(host, user), "plain_http": plain_http, "authorities": authorities}
    answer = api.put(_path(host), body)
    if as_json:
        print_json(answer)
        return
    print_text(f"logged in to {answer['host']}{_as(answer['user'])}")
    if plain_http:
        note("without TLS: who listens on the way reads the password")


@command.command("list")
@json_option
@server_options
def list_logins(api: "Api", *, as_json: bool) -> None:
    """List logins: host, user, who set it and when; never a password."""
    answer = api.get("registries")
    if as_json:
        print_json(answer)
        return
    rows = [
        [item["host"], item["user"] or "-", _reached(item), ago(item["set_at"]), names.actor(item["set_by"])] for item in items_of(answer)
    ]
    print_text(table(rows, ("HOST", "USER", "REACHED", "SET", "BY")) if rows else "no logins: setpoint registry login HOST --user USER")


@command.command()
@click.argument("host")
@json_option
@server_options
def logout(api: "Api", host: str, *, as_json: bool) -> None:
    """End the login to HOST and delete its password; from now on it is spoken to as anybody."""
    answer = api.delete(_path(host))
    if as_json:
        print_json(answer)
    else:
        print_text(f"logged out of {answer['host']}{_as(answer['user'])}")


def _as(user: str) -> str:
    return f" as {user}" if user else ", without an account"


def _reached(item: dict[str, object]) -> str:
    if item["plain_http"]:
        return "plain HTTP"
    return "TLS, own authorities" if item["own_authorities"] else "TLS"


def _path(host: str) -> str:
    from setpoint.client.http import segment

    return f"registries/{segment(host)}"


def _password(host: str, user: str) -> str:
    """Return the password of a user; of what is piped in, the last line end is none of it."""
    if not user:
        return ""
    if sys.stdin.isatty():
        typed: str = click.prompt(f"password of {user} at {host}", hide_input=True, err=True)
        return typed
    return sys.stdin.read(_MAX_CHARS).removesuffix("\n").removesuffix("\r")
