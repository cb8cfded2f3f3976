"""The verb `diff`: what is pinned against what is live; prints what /api/v1/diff found and decides nothing."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, print_json, print_text, table
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@json_option
@server_options
def command(api: "Api", app: str, environment: str, *, as_json: bool) -> None:
    """Compare what is pinned with what is live: replicas, revisions, routes, weights, images. Exit code 1 when something differs.

    Example: setpoint diff hello production
    """
    from setpoint.client.http import segment

    answer: dict[str, Any] = api.get(f"diff/{segment(app)}/{segment(environment)}")
    found = answer["differences"]
    if as_json:
        print_json(answer)
    else:
        print_text(render(answer))
    if found:
        raise AnswerNo(f"{counted(len(found), 'difference')}\nnext: setpoint why {app} {environment}")


def render(answer: dict[str, Any]) -> str:
    """Return the differences as a table."""
    place = f"{answer['app']} in {answer['environment']}"
    pinned = answer["version"] or "nothing"
    rows = [[f"  {one['subject']}", one["field"], one["desired"], one["live"]] for one in answer["differences"]]
    if not rows:
        return f"{place}: {pinned} is pinned, and live as pinned" if answer["version"] else f"{place}: nothing is pinned, nothing runs"
    return "\n".join([bold(f"{place}: {pinned} is pinned"), table(rows, ("  WHAT", "FIELD", "PINNED", "LIVE"))])
