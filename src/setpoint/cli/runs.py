"""The verb `runs`: the latest runs of pipelines; reads /api/v1/runs and decides nothing."""

from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import ago, cut, items_of, print_json, print_text, span, state, table
from setpoint.core import clock, digest

if TYPE_CHECKING:
    from setpoint.client.http import Api

_TITLE_COLUMNS = 48


@click.command()
@click.argument("repository", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@json_option
@server_options
def command(api: "Api", repository: str | None, limit: int, *, as_json: bool) -> None:
    """List runs, newest first; of one REPOSITORY, or of all."""
    answer = api.get("runs", {"repository": repository, "limit": limit})
    if as_json:
        print_json(answer)
        return
    rows = [_row(item) for item in items_of(answer)]
    if rows:
        print_text(table(rows, ("RUN", "STATE", "REPOSITORY", "COMMIT", "TITLE", "AGE", "TOOK")))
    else:
        print_text("no runs yet: push a commit with .setpoint/pipeline.yaml")


def _row(run: dict[str, Any]) -> list[str]:
    title = run.get("error") or run.get("title") or ""
    ended = run.get("finished_at")
    took = span(clock.seconds_between(run.get("retried_at") or run["created_at"], ended)) if ended else "-"
    commit = digest.short(run.get("revision", ""))
    return [run["run"], state(run["state"]), run["repository"], commit, cut(title, _TITLE_COLUMNS), ago(run["created_at"]), took]
