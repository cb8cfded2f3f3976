"""The verb `break-glass`: takes what is live into people's hands for a while, or gives it back; POST /api/v1/break-glass."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.hold import place
from setpoint.cli.options import DURATION, json_option, server_options
from setpoint.cli.output import items_of, note, print_json, print_text
from setpoint.core import clock

if TYPE_CHECKING:
    from setpoint.client.http import Api

_THEN = {
    "correct": "what was changed is brought back",
    "adopt": "what was changed is written into Git, on a branch",
    "hold": "what was changed stays until somebody decides",
}


@click.command()
@click.argument("what", nargs=-1, metavar="APP ENV | --all ENV")
@click.option("--all", "everything", metavar="ENV", help="Every application in this environment.")
@click.option("--for", "for_s", type=DURATION, metavar="DURATION", help="How long, such as 2h; a week at most.")
@click.option("--message", "-m", default="", help="Why; everybody who looks sees it.")
@click.option(
    "--object", "objects", default="", metavar="KIND/NAME", help="Only this: Deployment/web, ConfigMap/*. [default: all that can drift]"
)
@click.option("--then", type=click.Choice(tuple(_THEN)), help="What becomes of changes at the end. [default: correct]")
@click.option("--extend", is_flag=True, help="Let an open lease end --for so long from now.")
@click.option("--end", is_flag=True, help="End it now.")
@json_option
@server_options
def command(
    api: "Api",
    what: tuple[str, ...],
    everything: str | None,
    for_s: int | None,
    message: str,
    **more: Any,
) -> None:
    """Let people change what is live for a while: drift is recorded and not corrected.

    Meanwhile nothing new is pinned there and nothing is removed; a rollback still works.
    Example: setpoint break-glass hello production --for 2h -m "the queue is stuck" --then adopt
    """
    app, environment = place(what, everything)
    body = {"app": app, "environment": environment, "objects": more["objects"], "message": message}
    if more["extend"] and more["end"]:
        raise click.UsageError("extend it, or end it")
    if more["then"]:
        body["then"] = more["then"]
    if not more["end"]:
        if for_s is None or not message:
            raise click.UsageError("say how long and why: --for 2h -m WHY")
        body["for_s"] = for_s
    path = "break-glass/end" if more["end"] else "break-glass/extend" if more["extend"] else "break-glass"
    answer = api.post(path, body)
    if more["as_json"]:
        print_json(answer)
        return
    for lease in items_of(answer) if isinstance(answer, list) else [answer]:
        print_text(_said(lease, over=more["end"]))
    if not more["end"]:
        note(f"next: setpoint drift {app} {environment}".replace("  ", " ") + " shows what is changed meanwhile")


def _said(lease: dict[str, Any], *, over: bool) -> str:
    where = f"{lease['app'] or 'everything'} in {lease['environment']}"
    what = f"{lease['objects']} of {where}" if lease["objects"] else where
    end = "over" if over else f"in people's hands until {clock.spoken(lease['until'])}"
    return f"{lease['hold']}: {what} is {end}; then {_THEN[lease['then']]}"
