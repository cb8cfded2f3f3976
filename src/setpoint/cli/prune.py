"""The verb `prune`: a person's word for removals over the deletion budget, or of an application that is gone; POST /api/v1/prunes."""

import sys
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@click.option("--yes", "-y", is_flag=True, help="Remove without asking.")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@json_option
@server_options
def command(api: "Api", app: str, environment: str, message: str, *, yes: bool, as_json: bool) -> None:
    """Show what waits to be removed from an environment, and remove it when you say so.

    That is what a pin no longer wants and its deletion budget does not let go, or an application that is no longer in setpoint.yaml.
    Your word is for exactly what is shown. The exit code is 1 when nothing was removed. Example: setpoint prune hello production
    """
    from setpoint.client.http import segment

    found: dict[str, Any] = api.get(f"prunes/{segment(app)}/{segment(environment)}")
    if not yes:
        print_json(found) if as_json else print_text(render(found))
        if as_json or not sys.stdin.isatty():
            raise AnswerNo(f"nothing was removed\nnext: setpoint prune {app} {environment} --yes")
        if not click.confirm("remove them?", err=True):
            raise AnswerNo("nothing was removed")
    answer = api.post("prunes", {"app": app, "environment": environment, "set": found["held"]["set"], "message": message})
    if as_json:
        print_json(answer)
        return
    print_text(f"removed from {environment} as soon as no request is open: {', '.join(answer['held']['objects'])}")
    note(f"next: setpoint events --subject {app}/{environment}")


def render(found: dict[str, Any]) -> str:
    """Return what would go, and why it waits."""
    place = f"{found['app']} in {found['environment']}"
    return "\n".join([bold(f"{place}: {found['held']['why']}"), *(f"  - {name}" for name in found["held"]["objects"])])
