"""The verb `verify`: numbered checks of signatures and evidence; prints what /api/v1/verify proved from bytes and decides nothing."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, print_json, print_text, state, table
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("thing", metavar="APP | DIGEST", shell_complete=apps)
@click.option("--in", "environment", metavar="ENV", shell_complete=environments, help="What is pinned for APP in this environment.")
@json_option
@server_options
def command(api: "Api", thing: str, environment: str | None, *, as_json: bool) -> None:
    """Check signatures and evidence of what is pinned, or of a digest; exit code 1 when a check fails.

    Example: setpoint verify hello --in production
    """
    answer = api.get("verify", {"thing": thing, "environment": environment})
    lines = answer["lines"]
    failed = [line for line in lines if not line["passed"]]
    if as_json:
        print_json({**answer, "passed": bool(lines) and not failed})
    else:
        rows = [[f"  {line['number']}", state("ok" if line["passed"] else "failed"), line["what"], line["detail"]] for line in lines]
        print_text("\n".join([bold(answer["subject"]), table(rows)]) if rows else f"{answer['subject']}: nothing to check")
        if lines and not failed:
            print_text(f"verified: {counted(len(lines), 'check holds', 'checks hold')}")
    if failed or not lines:
        following = f"setpoint why {thing} {environment}" if environment else f"setpoint trace {thing}"
        raise AnswerNo(f"NOT verified: {len(failed)} of {counted(len(lines), 'check')} fail\nnext: {following}")
