"""The verb `approve`: a person's yes to an open promotion; POST /api/v1/promotions/{promotion}/approve with the person's own token."""

from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import note, print_json, print_text
from setpoint.core import names
from setpoint.core.errors import ConflictError

if TYPE_CHECKING:
    from setpoint.client.http import Api


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="PROMOTION | APP ENV")
@click.option("--message", "-m", default="", help="Why; it is signed with the approval.")
@json_option
@server_options
def command(api: "Api", what: tuple[str, ...], message: str, *, as_json: bool) -> None:
    """Approve a promotion, by its id or as the open one of APP in ENV.

    Example: setpoint approve hello production -m "looks good"
    """
    from setpoint.client.http import segment

    if len(what) > 2:
        raise click.UsageError("name one promotion, or an application and an environment")
    promotion = what[0] if len(what) == 1 else _open_one(api, *what)
    answer = api.post(f"promotions/{segment(promotion)}/approve", {"message": message})
    if as_json:
        print_json(answer)
        return
    candidate = answer["candidate"]
    called = names.candidate(answer["version"], answer.get("configuration", ""))
    print_text(f"approved {answer['promotion']}: {called} of {candidate['app']} for {candidate['environment']}")
    note(f"next: setpoint status --wait   (reasons: setpoint why {candidate['app']} {candidate['environment']})")


def _open_one(api: "Api", app: str, environment: str) -> str:
    """Return the promotion that waits there.

    Raises:
        ConflictError: none does (SP810).
    """
    from setpoint.cli.why import ask

    answer = ask(api, app, environment)
    promotion = answer["promotion"]
    if promotion is None or promotion["state"] != "open":
        fix = f"setpoint why {app} {environment}"
        raise ConflictError("SP810", f"nothing waits for an approval: {answer['sentence']}", where=f"{app} in {environment}", fix=fix)
    return str(promotion["promotion"])
