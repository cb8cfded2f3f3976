"""The verb `rollback`: brings back what ran before and waits until it serves; POST /api/v1/rollbacks.

The hold that moves the traffic is journalled when the call returns, and committed if Git lets it; waiting only watches.
"""

import time
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options, wait_option
from setpoint.cli.output import AnswerNo, StillWaiting, note, print_json, print_text

if TYPE_CHECKING:
    from setpoint.client.http import Api

_WAIT_S = 120


@click.command()
@click.argument("app", shell_complete=apps)
@click.argument("environment", shell_complete=environments)
@click.option("--to", default="", metavar="PROMOTION|VERSION", help="Where to; left out: what was pinned before.")
@click.option("--message", "-m", default="", help="Why; it is kept with the quarantine.")
@click.option("--no-wait", is_flag=True, help="Return when it is begun, before it serves.")
@wait_option
@json_option
@server_options
def command(  # noqa: PLR0913 - an option each
    api: "Api", app: str, environment: str, *, to: str, message: str, no_wait: bool, wait_s: int | None, as_json: bool
) -> None:
    """Take APP in an environment back; what it overrides is quarantined there.

    It waits (2m, or --wait=DURATION) until the old version serves again. Example: setpoint rollback hello production -m "too loud"
    """
    promotion = api.post("rollbacks", {"app": app, "environment": environment, "to": to, "message": message})
    if not as_json:
        git = "is pinned" if promotion["state"] == "pinned" else "is not in Git yet, which is tried again by itself"
        note(f"{promotion['version']} comes back to {environment}; {promotion['promotion']} {git}; what ran is quarantined there")
    cell = None if no_wait else _serving(api, promotion, wait_s or _WAIT_S)
    if as_json:
        print_json(promotion)
    elif cell is not None:
        print_text(f"{app} in {environment} runs {cell['version']}, {cell['health']}   {cell['url']}")
        note(f"next: setpoint why {app} {environment}   (lift the quarantine: setpoint promote {app} --to {environment} --lift)")
    else:
        print_text(f"{promotion['promotion']}: {promotion['version']} of {app} in {environment}")


def _serving(api: "Api", promotion: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Return the cell of the matrix when it runs this promotion healthily.

    Raises:
        AnswerNo: it runs it, degraded. StillWaiting: it does not in time.
    """
    from setpoint.cli.settling import POLL_S

    app, environment = promotion["candidate"]["app"], promotion["candidate"]["environment"]
    deadline = time.monotonic() + wait_s
    while True:
        cells = api.get("status", {"application": app})["cells"]
        cell: dict[str, Any] = next((one for one in cells if one["environment"] == environment), {"health": "missing", "promotion": ""})
        here = cell["promotion"] in (promotion["promotion"], promotion.get("of"))
        if here and cell["health"] == "healthy":
            return cell
        if here and cell["health"] == "degraded":
            raise AnswerNo(f"{app} in {environment} is degraded\nnext: setpoint why {app} {environment}")
        if time.monotonic() >= deadline:
            raise StillWaiting(f"{app} in {environment} is {cell['health']}\nnext: setpoint status {app} --wait")
        time.sleep(POLL_S)
