"""The verb `preview`: lists environments of branches, lets them live longer, and ends them; speaks to /api/v1/previews."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import ago, items_of, print_json, print_text, table

if TYPE_CHECKING:
    from setpoint.client.http import Api

HEADERS = ("PREVIEW", "BRANCH", "COMMIT", "AGE", "ENDS", "URL")


@click.group()
def command() -> None:
    """Show previews, the environments of branches; extend one, or end it."""


@command.command("list")
@json_option
@server_options
def list_previews(api: "Api", *, as_json: bool) -> None:
    """List previews: branch, commit, age, when each ends, and where it is."""
    answer = api.get("previews")
    if as_json:
        print_json(answer)
        return
    rows = rows_of(items_of(answer))
    print_text(table(rows, HEADERS) if rows else "no previews: a generator with `previews:` makes them of branches")


@command.command()
@click.argument("name")
@click.argument("time")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@json_option
@server_options
def extend(api: "Api", name: str, time: str, message: str, *, as_json: bool) -> None:
    """Let preview NAME live at least TIME from now, such as 3d.

    Example: setpoint preview extend preview-feature-login 3d
    """
    from setpoint.client.http import segment
    from setpoint.core import durations

    try:
        seconds = durations.parse(time)
    except ValueError as error:
        raise click.UsageError(f"`{time}` is no time: {error}") from error
    answer = api.post(f"previews/{segment(name)}/extend", {"for_s": seconds, "message": message})
    if as_json:
        print_json(answer)
    else:
        print_text(f"{answer['environment']} ends at {answer['expires_at']}, if nobody pushes")


@command.command()
@click.argument("name")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@json_option
@server_options
def end(api: "Api", name: str, message: str, *, as_json: bool) -> None:
    """End preview NAME now; a new push to its branch makes another.

    Example: setpoint preview end preview-feature-login
    """
    from setpoint.client.http import segment

    answer = api.post(f"previews/{segment(name)}/end", {"message": message})
    if as_json:
        print_json(answer)
    else:
        print_text(f"{answer['environment']} ends: what runs there is removed, then its pins")


def rows_of(previews: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of a table of previews."""
    return [
        [
            one["environment"],
            one["branch"],
            one["commit"][:7],
            ago(one["begun_at"]),
            f"now: {one['ending']}" if one["ending"] else one["expires_at"].replace("T", " ")[:16] + " UTC",
            one["url"] or "-",
        ]
        for one in previews
    ]
