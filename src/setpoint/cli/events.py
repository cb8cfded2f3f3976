"""The verb `events`: the journal as lines or JSON, past or live, and whether its chain holds.

Reads /api/v1/events, /api/v1/events/stream and /api/v1/journal/check.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import DURATION, json_option, server_options
from setpoint.cli.output import AnswerNo, bold, cut, dim, items_of, print_json, print_json_line, print_text
from setpoint.core import clock
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api

_MAX_EVENTS = 1000
_BODY_COLUMNS = 100


@click.command()
@click.option("--after", type=click.IntRange(0), help="Only entries after this index.")
@click.option("--limit", type=click.IntRange(1, _MAX_EVENTS), default=50, show_default=True, help="How many at most.")
@click.option("--subject", help="Only entries about this run, promotion, repository or token.")
@click.option("--kind", help="Only entries of this kind, such as promotion.pinned, or of everything about a noun: hold, promotion.")
@click.option("--actor", help="Only what this one did: operator, setpoint, or person:EMAIL.")
@click.option("--since", "since_s", type=DURATION, help="Only entries younger than this, such as 10m.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new entries as they come.")
@click.option("--check", is_flag=True, help="Walk the whole journal and say whether its chain of hashes holds.")
@json_option
@server_options
def command(api: "Api", *, check: bool, follow: bool, as_json: bool, **chosen: Any) -> None:
    """Print the journal: who did what, and when.

    With --follow, --json prints one entry a line.
    """
    if check:
        _check(api, as_json=as_json)
        return
    entries, last = _past(api, **chosen)
    if as_json and not follow:
        print_json({"items": entries})
        return
    for entry in entries:
        _print(entry, as_json=as_json)
    if follow:
        query = {"after": chosen["after"] if last is None else last}
        for event in api.stream("events/stream", query):
            entry = json.loads(event.data)
            if event.event != "end" and _fits(entry, chosen):
                _print(entry, as_json=as_json)


def _fits(entry: dict[str, Any], chosen: dict[str, Any]) -> bool:
    """Say whether a live entry is asked for, as the server does for those of the past."""
    kinds = {None, entry["kind"], entry["kind"].partition(".")[0]}
    return chosen["subject"] in {None, entry["subject"]} and chosen["kind"] in kinds and chosen["actor"] in {None, entry["actor"]}


def _past(
    api: "Api", *, after: int | None, limit: int, since_s: int | None, **filters: str | None
) -> tuple[list[dict[str, Any]], int | None]:
    """Return the entries that already are, oldest first, and the index after which the live ones begin."""
    start = clock.to_text(datetime.now(UTC) - timedelta(seconds=since_s)) if since_s is not None else None
    query = {"after": after, "limit": limit if start is None else _MAX_EVENTS, "since": start, **filters}
    entries = sorted(items_of(api.get("events", query)), key=lambda entry: int(entry["index"]))
    last = int(entries[-1]["index"]) if entries else None
    if start is not None:
        entries = [entry for entry in entries if entry["at"] >= start][-limit:]
    return entries, last


def _print(entry: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json_line(entry)
        return
    words = ", ".join(f"{key}={value}" for key, value in entry.get("body", {}).items() if isinstance(value, str | int) and value != "")
    time = entry["at"][:19].replace("T", " ")
    head = f"{entry['index']:>6}  {time}  {bold(entry['kind'])}  {entry['subject']}  {entry['actor']}"
    print_text(f"{head}  {dim(cut(words, _BODY_COLUMNS))}" if words else head)


def _check(api: "Api", *, as_json: bool) -> None:
    answer = api.get("journal/check")
    if as_json:
        print_json(answer)
    fault = answer.get("fault", "")
    if fault:
        place = f"\n  --> {answer['where']}\n  = help: {answer['fix']}" if answer.get("where") else ""
        raise AnswerNo(f"the journal's chain is broken after {counted(answer['entries'], 'entry', 'entries')}: {fault}{place}")
    if not as_json:
        print_text(f"the chain holds: {counted(answer['entries'], 'entry', 'entries')}, head {answer['head']}")
