"""The verb `rollout`: where a rollout is and what its canary has found; with --resume or --abort a person decides.

Reads /api/v1/rollouts/{app}/{environment}, and posts there; it decides nothing.
"""

import time
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, StillWaiting, bold, note, print_json, print_text, table
from setpoint.core import durations

if TYPE_CHECKING:
    from setpoint.client.http import Api

_ENDS = ("finished", "returned", "held")


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@click.option("--resume", "verb", flag_value="resume", help="Go on from a step that is held for want of traffic.")
@click.option("--abort", "verb", flag_value="abort", help="Send the canary back now.")
@click.option("--message", "-m", default="", help="Why; it is journalled.")
@click.option("--follow", "-f", is_flag=True, help="Print every step until it is done, held or sent back.")
@json_option
@server_options
def command(  # noqa: PLR0913 - an option each
    api: "Api", app: str, environment: str, *, verb: str | None, message: str, follow: bool, as_json: bool
) -> None:
    """Show where the newest rollout of APP in an environment is; decide about a canary with --resume or --abort.

    With --follow the exit code is 0 when it is rolled out, 1 when it was sent back, 3 when it is held.
    Example: setpoint rollout hello production --follow
    """
    if verb is not None:
        answer = api.post(_path(app, environment), {"verb": verb, "message": message})
        if not as_json and not follow:
            said = "goes on with its next step" if verb == "resume" else "is sent back"
            note(f"{answer['rollout']} {said}; next: setpoint rollout {app} {environment} --follow")
    if follow:
        follow_to_the_end(api, app, environment, as_json=as_json)
        return
    report = api.get(_path(app, environment))
    if as_json:
        print_json(report)
    else:
        print_text(render(report))


def follow_to_the_end(api: "Api", app: str, environment: str, *, as_json: bool) -> None:
    """Print a line at every change until the rollout is done, sent back or held; one that is about to begin is waited for.

    Raises:
        AnswerNo: it was sent back. StillWaiting: it is held.
    """
    from setpoint.cli.settling import POLL_S

    said = ""
    while True:
        report: dict[str, Any] = api.get(_path(app, environment))
        line = "  ".join(part for part in (report["sentence"], report["found"] if report["phase"] != "finished" else "") if part)
        if report["coming"]:
            line = f"{app} in {environment}: {report['coming']} is about to be rolled out"
        if line != said and not as_json:
            print_text(line)
            said = line
        if report["phase"] in _ENDS and not report["coming"]:
            break
        time.sleep(POLL_S)
    if as_json:
        print_json(report)
    if report["phase"] == "returned" or report.get("sent_back"):
        raise AnswerNo(f"next: setpoint why {app} {environment}")
    if report["phase"] == "held":
        raise StillWaiting(f"next: {report['next']}")


def render(report: dict[str, Any]) -> str:
    """Return the sentence, the canary's steps and numbers, what is kept, and what next."""
    lines = [bold(report["sentence"]), *canary_lines(report)]
    lines += [f"  kept: {kept}" for kept in report["kept"]]
    lines.append(f"Next: {report['next']}")
    return "\n".join(lines)


def canary_lines(report: dict[str, Any] | None) -> list[str]:
    """Return a canary's steps, evidence and reasons; nothing for a rollout that only rolls or is done."""
    if report is None or report["strategy"] != "canary" or report["phase"] == "finished":
        return []
    rows = [[f"  {step['weight']} %", durations.to_text(step["hold_s"]), step["state"], step["note"]] for step in report["steps"]]
    found = [f"  canary: {report['found']}", *table(rows).splitlines()]
    return found + [f"  {reason['code']}: {reason['found']}" for reason in report["reasons"] if reason["code"] != "CANARY"]


def _path(app: str, environment: str) -> str:
    from setpoint.client.http import segment

    return f"rollouts/{segment(app)}/{segment(environment)}"
