"""The verb `promote`: asks for the next candidate of an environment, or lifts its quarantines; POST /api/v1/promotions."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, print_json, print_text
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.option("--to", "environment", required=True, metavar="ENV", shell_complete=environments, help="The environment.")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@click.option("--lift", is_flag=True, help="End the quarantines of APP in ENV instead.")
@click.option("--dry-run", is_flag=True, help="Only show what the gates say now.")
@json_option
@server_options
def command(api: "Api", app: str, environment: str, message: str, *, lift: bool, dry_run: bool, as_json: bool) -> None:  # noqa: PLR0913 - a flag each
    """Ask for the next candidate of APP in an environment; the gates decide.

    Example: setpoint promote hello --to production -m "for the demo"
    """
    from setpoint.cli.why import ask, render

    if dry_run and lift:
        raise click.UsageError("--dry-run shows gates; --lift asks none: use one of them")
    done = None if dry_run else api.post("promotions", {"app": app, "environment": environment, "message": message, "lift": lift})
    if as_json and done is not None:
        print_json(done)
        return
    answer = ask(api, app, environment)
    if as_json:
        print_json(answer)
    else:
        if done is not None and lift:
            print_text(f"lifted {counted(done['lifted'], 'quarantine')} of {app} in {environment}")
        elif done is not None:
            print_text(f"{done['promotion']} is asked for")
        print_text(render(answer, api.connection.url))
    if dry_run and answer["outcome"] == "deny":
        raise AnswerNo
