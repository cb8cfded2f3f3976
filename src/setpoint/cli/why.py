"""The verb `why`: every reason for what an environment has, and the next command; prints what /api/v1/why says and decides nothing."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, dim, print_json, print_text, state, table

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@json_option
@server_options
def command(api: "Api", app: str, environment: str, *, as_json: bool) -> None:
    """Explain why something is, or is not, in an environment: all reasons, and the next command.

    The exit code is 1 when a gate denies. Example: setpoint why hello production
    """
    answer = ask(api, app, environment)
    if as_json:
        print_json(answer)
    else:
        print_text(render(answer, api.connection.url))
    if answer["outcome"] == "deny":
        raise AnswerNo


def ask(api: "Api", app: str, environment: str) -> dict[str, Any]:
    """Return the API's answer."""
    from setpoint.client.http import segment

    answer: dict[str, Any] = api.get(f"why/{segment(app)}/{segment(environment)}")
    return answer


def render(answer: dict[str, Any], url: str) -> str:
    """Return the sentence, the numbered reasons, what next, and the page's address."""
    from setpoint.cli.rollout import canary_lines

    lines = [bold(answer["sentence"]), *reasons(answer["reasons"]), *canary_lines(answer.get("rollout"))]
    page = f"{url}/why/{answer['app']}/{answer['environment']}"
    lines.append(f"Next: {answer['next']}   {dim(page)}")
    return "\n".join(lines)


def reasons(every: list[dict[str, Any]]) -> list[str]:
    """Return numbered lines: allow, wait or deny, what was judged, what was found, and the way out."""
    rows = [[f"  {number}", state(reason["outcome"]), reason["subject"], _found(reason)] for number, reason in enumerate(every, 1)]
    return table(rows).splitlines() if rows else []


def _found(reason: dict[str, Any]) -> str:
    text: str = reason["found"].partition("\n")[0]
    if reason["outcome"] == "allow":
        return text
    if reason["wanted"]:
        text += f"; needs {reason['wanted']}"
    if reason["recheck_at"]:
        text += f"; decided again at {reason['recheck_at'][11:19]} UTC"
    return f"{text}  -> {reason['fix']}" if reason["fix"] else text
