"""The verb `gc`: shows what nothing needs any more, or deletes it and follows that; /api/v1/gc decides and does."""

import time
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, bold, dim, note, print_json, print_text, state, table
from setpoint.core.sizes import spoken
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api

_POLL_S = 0.3
_SHOWN = 20


@click.command()
@click.option("--dry-run", "-n", is_flag=True, help="Show what would go and why; delete nothing.")
@click.option("--status", "only_status", is_flag=True, help="Show the last collection, and when the next one is.")
@click.option("--stop", is_flag=True, help="End the collection that is going on.")
@json_option
@server_options
def command(api: "Api", *, dry_run: bool, only_status: bool, stop: bool, as_json: bool) -> None:
    """Delete what nothing needs any more: old versions beyond those kept, their bytes, cached results, logs, unpacked images.

    What runs, is pinned, may be rolled back to, or was pushed by a person stays; so does all evidence of what ever was pinned.
    The server does the same once a day by itself (see `setpoint up --help` for --no-gc and the rules).
    Ctrl-C ends it; what is left is for the next one. Example: setpoint gc --dry-run
    """
    if dry_run + only_status + stop > 1:
        raise click.UsageError("take one of --dry-run, --status and --stop")
    if dry_run:
        found = api.get("gc/plan", {"limit": 100_000 if as_json else _SHOWN})
        print_json(found) if as_json else print_text(render_plan(found))
    elif only_status:
        found = api.get("gc")
        print_json(found) if as_json else print_text(render_report(found))
    elif stop:
        found = api.delete("gc")
        print_json(found) if as_json else print_text(f"{found['gc']} ends after the thing that it is at")
    else:
        _collect(api, as_json=as_json)


def _collect(api: "Api", *, as_json: bool) -> None:
    begun = api.post("gc")
    try:
        ended = _follow(api, begun["gc"])
    except KeyboardInterrupt:
        api.delete("gc")
        note("it ends after the thing that it is at; setpoint gc goes on from there")
        raise
    if as_json:
        print_json(ended)
    else:
        print_text(render_ended(ended))
    if ended["state"] != "done":
        raise AnswerNo(ended["why"] or f"{ended['gc']} was {ended['state']}")


def _follow(api: "Api", gc: str) -> dict[str, Any]:
    """Return the collection when it has ended."""
    from setpoint.cli.progress import Line, Progress

    with Progress() as progress:
        while True:
            found: dict[str, Any] = api.get("gc")
            active = found["active"]
            if active is None or active["gc"] != gc:
                return _ended(found, gc)
            progress.show({"gc": Line("running", f"{found['done']} of {found['total']} things")})
            time.sleep(_POLL_S)


def _ended(found: dict[str, Any], gc: str) -> dict[str, Any]:
    last: dict[str, Any] | None = found["last"]
    if last is not None and last["gc"] == gc:
        return last
    return {"gc": gc, "state": "failed", "gone": {}, "spared": 0, "why": "how it ended was not written down; the server's log says why"}


def _sums(sums: dict[str, Any]) -> str:
    rows = [[f"  {kind}", str(item["count"]), spoken(item["size_bytes"])] for kind, item in sums.items()]
    return table(rows) if rows else "  nothing"


def render_plan(found: dict[str, Any]) -> str:
    """Return what would go, with the reasons of the largest, and why the rest stays."""
    rules = found["rules"]
    lines = [bold(f"would go: {spoken(found['size_bytes'])}"), _sums(found["going"])]
    lines += [f"  {item['kind']} {item['name'][:71]}  {spoken(item['size_bytes'])}  {dim(item['why'])}" for item in found["items"]]
    if found["count"] > len(found["items"]):
        lines.append(dim(f"  and {found['count'] - len(found['items'])} smaller ones: --json has all"))
    lines += [bold("stays:"), _sums(found["keeping"])]
    lines += [
        f"  {counted(count, 'manifest')}: {why}" for why, count in sorted(found["reasons"].items(), key=lambda pair: -pair[1])[:_SHOWN]
    ]
    lines.append(dim(f"rules: the newest {rules['versions']} versions, and everything younger than {rules['days']:g} days"))
    return "\n".join(lines)


def render_report(found: dict[str, Any]) -> str:
    """Return where it stands."""
    disk, last, active = found["disk"], found["last"], found["active"]
    lines = [f"disk: {spoken(disk['free_bytes'])} of {spoken(disk['size_bytes'])} are free"]
    if active is not None:
        lines.append(f"{active['gc']} goes on: {found['done']} of {found['total']} things")
    lines.append(render_ended(last) if last is not None else "nothing was collected yet")
    lines.append(f"by itself: {found['due_at'] or 'never (setpoint up --no-gc)'}")
    return "\n".join(lines)


def render_ended(ended: dict[str, Any]) -> str:
    """Return what a collection did."""
    freed = sum(item["size_bytes"] for item in ended["gone"].values())
    lines = [f"{ended['gc']}  {state(ended['state'])}  {spoken(freed)} freed", _sums(ended["gone"])]
    if ended["spared"]:
        lines.append(dim(f"  used meanwhile, and kept: {counted(ended['spared'], 'thing')}"))
    if ended["why"]:
        lines.append(f"  {ended['why']}")
    return "\n".join(lines)
