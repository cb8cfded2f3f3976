"""The verb `log`: prints or follows the log of a run's tasks, of a gate's command, or the end of a replica's; it filters, and no more."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import DURATION, json_option, server_options
from setpoint.cli.output import bold, clean, note, print_json, print_json_line, print_text, state
from setpoint.core import clock
from setpoint.core.errors import NotFoundError, UserError

if TYPE_CHECKING:
    from setpoint.client.http import Api

_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which records are wanted."""

    grep: str
    since: str
    first: int

    def wants(self, record: dict[str, Any]) -> bool:
        return record["seq"] + 1 >= self.first and record["at"] >= self.since and self.grep in record["text"].casefold()


@click.command()
@click.argument("what", metavar="RUN[/TASK[:LINE]] | CHECK | REPLICA")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is still written, until the task ends.")
@click.option("--previous", is_flag=True, help="Of a replica: what its process wrote before the last restart.")
@click.option("--grep", default="", metavar="TEXT", help="Only lines with this text, in any case.")
@click.option("--failed", is_flag=True, help="Only the tasks that failed.")
@click.option("--since", "since_s", type=DURATION, help="Only lines younger than this, such as 10m.")
@json_option
@server_options
def command(api: "Api", what: str, *, follow: bool, previous: bool, grep: str, failed: bool, since_s: int | None, as_json: bool) -> None:  # noqa: PLR0913 - an option each
    """Print or follow the log of a run's tasks, of a gate's command, or that of a replica or a Job's run.

    Example: setpoint log latest/test --grep error
    """
    name, _, rest = what.partition("/")
    task, line = _place(rest)
    since = clock.to_text(datetime.now(UTC) - timedelta(seconds=since_s)) if since_s is not None else ""
    wanted = _Filter(grep.casefold(), since, line)
    if name.startswith("c-"):
        _check(api, name, wanted, _How(follow, previous, as_json))
        return
    try:
        from setpoint.client.http import segment

        report = api.get(f"runs/{segment(name)}")
    except NotFoundError as error:
        how = _How(follow, previous, as_json)
        if task or not _replica(api, name, wanted, how):
            raise error from None
        return
    tasks = _tasks(report, task, failed=failed)
    if not tasks:
        note("no task of this run failed" if failed else report["run"]["error"] or "this run has no tasks")
    for row in tasks:
        if not as_json and len(tasks) > 1:
            print_text(f"{bold(row['task'])}  {state(row['state'])}  {row['reason']}".rstrip())
        run = report["run"]["run"]
        source = _followed(api, run, row["task"], line) if follow else records(api, run, row["task"], line - 2)
        printed = False
        for record in source:
            printed = True
            if wanted.wants(record):
                _print(row["task"], record, as_json=as_json)
        if not printed and line == 1 and row["state"] in ("passed", "reused", "failed", "timed-out"):
            note(f"{row['task']} printed nothing, or its log is not kept any more (setpoint up --keep-log-days)")


def _place(rest: str) -> tuple[str, int]:
    """Return (task, first line) of `TASK:LINE`."""
    task, colon, line = rest.partition(":")
    if colon and (not line.isdigit() or int(line) < 1):
        raise UserError("SP812", f"`{line}` is no line number", fix="write RUN/TASK:120")
    return task, int(line) if colon else 1


def _tasks(report: dict[str, Any], task: str, *, failed: bool) -> list[dict[str, Any]]:
    rows = [row for row in report["tasks"] if task in ("", row["task"], row.get("family"))]
    if task and not rows:
        from setpoint.core.suggest import help_text

        names = [row["task"] for row in report["tasks"]]
        raise NotFoundError("SP813", f"run {report['run']['run']} has no task `{task}`", fix=help_text(task, names, "tasks"))
    return [row for row in rows if not failed or row["state"] in ("failed", "timed-out")]


def records(api: "Api", run: str, task: str, after: int = -1) -> Iterator[dict[str, Any]]:
    """Yield a task's log records with seq > after, page by page."""
    from setpoint.client.http import segment

    yield from _paged(api, f"runs/{segment(run)}/tasks/{segment(task)}/log", after)


def _paged(api: "Api", path: str, after: int) -> Iterator[dict[str, Any]]:
    while True:
        page = api.get(path, {"after": after, "limit": _PAGE})
        if not page or page[-1]["seq"] <= after:
            return
        yield from page
        after = page[-1]["seq"]


def _followed(api: "Api", run: str, task: str, line: int) -> Iterator[dict[str, Any]]:
    from setpoint.client.http import segment

    yield from _streamed(api, f"runs/{segment(run)}/tasks/{segment(task)}/log/stream", line - 2)


def _streamed(api: "Api", path: str, after: int) -> Iterator[dict[str, Any]]:
    for event in api.stream(path, {"after": after}):
        if event.event == "log":
            yield json.loads(event.data)


def text_of(record: dict[str, Any]) -> str:
    """Return a record's text; a sentence of Setpoint's own is marked and ends its line."""
    text: str = record["text"]
    return f"[setpoint] {text.rstrip()}\n" if record["stream"] == "note" else text


def _print(task: str, record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json_line({"task": task, **record})
    else:
        click.echo(clean(text_of(record)), nl=False)
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class _How:
    """In which way a replica's log is wanted."""

    follow: bool
    previous: bool
    as_json: bool


def _check(api: "Api", check: str, wanted: _Filter, how: _How) -> None:
    """Print the log of a gate's command, and go on with it."""
    from setpoint.client.http import segment

    path, after, printed = f"checks/{segment(check)}/log", wanted.first - 2, False
    found = _streamed(api, f"{path}/stream", after) if how.follow else _paged(api, path, after)
    for record in found:
        printed = True
        if wanted.wants(record):
            _print("command", record, as_json=how.as_json)
    if not printed:
        note(f"{check} printed nothing yet, or its log is not kept any more (setpoint up --keep-log-days)")


def _replica(api: "Api", name: str, wanted: _Filter, how: _How) -> bool:
    """Print a replica's log, and go on with it; False when there is none of this name."""
    from setpoint.client.http import segment

    try:
        answer = api.get(f"replicas/{segment(name)}/log", {"previous": "true"} if how.previous else {})
    except NotFoundError:
        return False
    if how.as_json:
        print_json(answer)
        return True
    _print_text(answer["text"], wanted)
    if how.follow:
        for event in api.stream(f"replicas/{segment(name)}/log/stream", {}):
            if event.event == "log":
                _print_text(json.loads(event.data)["text"], wanted)
    return True


def _print_text(text: str, wanted: _Filter) -> None:
    click.echo(clean("".join(line for line in text.splitlines(keepends=True) if wanted.grep in line.casefold())), nl=False)
    sys.stdout.flush()
