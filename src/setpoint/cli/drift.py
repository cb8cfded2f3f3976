"""The verb `drift`: what is live and was not made so by Setpoint, and what was done about it; reads /api/v1/drift and decides nothing."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, ago, bold, items_of, print_json, print_text, span, state, table
from setpoint.core import clock

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", required=False, shell_complete=apps)
@click.argument("environment", required=False, shell_complete=environments)
@click.option("--history", is_flag=True, help="Also what is over, newest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@json_option
@server_options
def command(api: "Api", app: str | None, environment: str | None, limit: int, *, history: bool, as_json: bool) -> None:
    """Show what somebody changed behind Setpoint's back: objects of a cluster, replicas, files of images, the proxy.

    The exit code is 1 while something is open. Example: setpoint drift hello production --history
    """
    query = {"application": app, "environment": environment, "history": history or None, "limit": limit}
    found = items_of(api.get("drift", query))
    if as_json:
        print_json(found)
    else:
        print_text(render(found))
    if any(not case["ended_at"] for case in found):
        raise AnswerNo


def render(found: list[dict[str, Any]]) -> str:
    """Return the cases, two lines each: what differs, and what was done."""
    if not found:
        return "no drift: everything is as Setpoint left it"
    rows = []
    for case in found:
        who = f"{case['app'] or 'all'} in {case['environment']}"
        took = f"for {span(clock.seconds_between(case['since'], case['ended_at']))}" if case["ended_at"] else ago(case["since"])
        rows.append([case["drift"], state(case["state"]), who, case["subject"], case["field"], took])
    lines = table(rows, ("DRIFT", "STATE", "WHERE", "WHAT", "FIELD", "SINCE")).splitlines()
    told = [bold(lines[0])]
    for line, case in zip(lines[1:], found, strict=True):
        often = f", {case['count']} times in a row" if case["count"] > 1 else ""
        told.append(line)
        told.append(f"    {case['desired']} -> {case['live']}  (writer {case['writer']}{often})")
        told.append(f"    {_next(case)}")
    return "\n".join(told)


def _next(case: dict[str, Any]) -> str:
    if case["ended_at"]:
        return f"{case['done']}, {ago(case['ended_at'])}"
    if case["state"] == "held":
        return f"left as it is: {case['held_why']}" + (f"  -> {case['held_fix']}" if case["held_fix"] else "")
    if case["state"] == "reported":
        return f"left as it is, for the mode is report  -> setpoint heal {case['app'] or 'APP'} {case['environment']}" + (
            f", or setpoint adopt {case['drift']}" if case["kind"] == "object" else ""
        )
    return (
        f"corrected again at {case['heal_at'][11:19]} UTC" if case["count"] > 1 and case["kind"] != "replica" else "it is being corrected"
    )
