"""The verb `adopt`: makes live values the desired ones, on a branch of the delivery repository; POST /api/v1/drift/adopt."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("drifts", nargs=-1, required=True, metavar="DRIFT...")
@click.option("--message", "-m", default="", help="Why; it stands in the commit.")
@json_option
@server_options
def command(api: "Api", drifts: tuple[str, ...], message: str, *, as_json: bool) -> None:
    """Write what drifted into the file that sets it, on a branch; several cases of one object go together.

    It is held until the branch is merged or deleted. Example: setpoint adopt d-7d2kq4ma -m "the new limit is right"
    """
    answer = api.post("drift/adopt", {"drifts": list(drifts), "message": message})
    if as_json:
        print_json(answer)
        return
    for field in answer["fields"]:
        print_text(f"{field['subject']} {field['field']}: {field['live']}")
    for edit in answer["edits"]:
        print_text(f"  {edit['path']}: {edit['old'] or '(new)'} -> {edit['new'].strip()}")
    branch = f"setpoint/adopt/{answer['adoption']}"
    print_text(f"{answer['adoption']}: on {branch} of {answer['repository']}")
    note(f"next: git fetch && git merge origin/{branch}, and push; or git push origin --delete {branch}")
