"""The verb `doctor`: machine, home and server, a line each, problems with their fix; the looking is `app.doctor` and the API."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import home_option, json_option
from setpoint.cli.output import AnswerNo, print_json, print_text, state, table
from setpoint.core.errors import SetpointError
from setpoint.core.sizes import spoken
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.app.doctor import Check


@click.command()
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7420", show_default=True, help="The address that `up` would take.")
@home_option
@json_option
def command(home: Path | None, listen: str, *, as_json: bool) -> None:
    """Check machine, home and server; each problem with its fix. Exit code 1 when something essential is missing.

    Example: setpoint doctor
    """
    from setpoint.app.doctor import charts, essentials, of_home, of_machine
    from setpoint.app.home import Home, default_home

    place = Home((home or default_home()).absolute())
    checks = [*essentials(), *of_machine(), *charts(place), *of_home(place), *_server(place.root, listen)]
    bad = [check for check in checks if not check.ok and check.essential]
    if as_json:
        print_json({"ok": not bad, "checks": [_value(check) for check in checks]})
    else:
        print_text(table([_row(check) for check in checks]))
    if bad:
        raise AnswerNo(f"{counted(len(bad), 'problem')}: {', '.join(check.name for check in bad)}")


def _value(check: "Check") -> dict[str, Any]:
    return {"name": check.name, "ok": check.ok, "essential": check.essential, "found": check.found, "fix": "" if check.ok else check.fix}


def _row(check: "Check") -> list[str]:
    word = state("ok") if check.ok else click.style("problem", fg="red") if check.essential else click.style("note", fg="yellow")
    return [word, check.name, check.found if check.ok or not check.fix else f"{check.found}  -> {check.fix}"]


def _server(home: Path, listen: str) -> "list[Check]":
    """Look at the running server and its journal; without one, whether its address is free."""
    from setpoint.app.doctor import Check, address
    from setpoint.client.connection import of_home
    from setpoint.client.http import Api

    try:
        api = Api(of_home(home), timeout_s=10)
        who = api.get("whoami")
        found = api.get("journal/check")
        garbage, executors = api.get("gc"), api.get("executors")
        freeable = api.get("gc/plan", {"limit": 0})["size_bytes"] if garbage["nearly_full"] else 0
    except SetpointError as error:
        if error.code == "SP845":
            return [Check("server", True, "does not run", essential=False), address(listen)]
        return [Check("server", False, error.what, error.fix)]
    holds = found["holds"]
    text = f"the chain of {counted(found['entries'], 'entry', 'entries')} holds" if holds else found["fault"]
    return [
        Check("server", True, f"{api.connection.url} answers {who['kind']}"),
        Check("journal", holds, text, "restore the journal from a backup: it was changed from outside"),
        _garbage(garbage, freeable),
        *(_executor(one) for one in executors),
    ]


def _executor(found: dict[str, Any]) -> "Check":
    """Say whether tasks can run on an executor."""
    from setpoint.app.doctor import Check

    place = f"{found['namespace']} on {found['cluster']}"
    text = "; ".join(found["problems"]) or f"tasks may run in {place}"
    return Check(f"executor {found['name']}", not found["problems"], text, "docs/executors.md lists what it needs", essential=False)


def _garbage(found: dict[str, Any], freeable: int) -> "Check":
    """Say whether there is room, what a collection would free, and whether the last one went well."""
    from setpoint.app.doctor import Check

    disk, last = found["disk"], found["last"]
    if found["nearly_full"]:
        text = f"{spoken(disk['free_bytes'])} of {spoken(disk['size_bytes'])} are free; a collection would free {spoken(freeable)}"
        return Check("garbage", False, text, "setpoint gc; then give the home a larger disk", essential=False)
    if last is not None and last["state"] == "failed":
        return Check("garbage", False, f"the last collection failed: {last['why']}", "setpoint gc --dry-run", essential=False)
    text = (
        f"{spoken(sum(item['size_bytes'] for item in last['gone'].values()))} freed at {last['ended_at']}" if last else "not yet collected"
    )
    return Check("garbage", True, text, essential=False)
