"""The verb `watch`: follows a run to its end; the exit code is its result.

Reads /api/v1/runs/{run}/stream. Without a RUN it is the newest one, or the one that the newest head is about to get.
"""

import json
import time
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import AnswerNo, StillWaiting, cut, note, print_json, print_text, span
from setpoint.cli.progress import Line, Progress
from setpoint.core import digest
from setpoint.core.errors import NotFoundError
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.client.http import Api

_BEGIN_S = 30.0
_TAIL_LINES = 30
_TITLE_COLUMNS = 60


@click.command()
@click.argument("run", required=False)
@json_option
@server_options
def command(api: "Api", run: str | None, *, as_json: bool) -> None:
    """Follow a run; the exit code is its result. Without RUN: the newest.

    RUN is an id, its beginning, a commit, `latest`, or APP/ENVIRONMENT to follow a rollout. Example: git push && setpoint watch
    """
    if run and run.count("/") == 1:
        from setpoint.cli.rollout import follow_to_the_end

        follow_to_the_end(api, *run.split("/"), as_json=as_json)
        return
    report = follow(api, run or newest(api))
    if as_json:
        print_json(report)
    else:
        print_text(conclusion(report))
    if waits_for_person(report):
        lost = report["run"]["lost"][0]
        raise StillWaiting(f"{lost} is lost\nnext: setpoint resolve {report['run']['run']} {lost} --passed, --failed or --again")
    if report["run"]["state"] != "passed":
        raise AnswerNo(_next(report))


def newest(api: "Api") -> str:
    """Return the id of the newest run; waits for one to begin when a head has none yet.

    Raises:
        NotFoundError: no run begins within 30 s (SP811).
    """
    from setpoint.cli.output import items_of
    from setpoint.cli.settling import POLL_S, Heads

    heads, deadline, said = Heads(), time.monotonic() + _BEGIN_S, False
    while True:
        repositories = items_of(api.get("repositories"))
        runs = items_of(api.get("runs", {"limit": 200}))
        missing = heads.missing(repositories, runs)
        if runs and not missing:
            return str(next((run for run in runs if run["state"] == "running"), runs[0])["run"])
        if time.monotonic() >= deadline or (not runs and not any(one["heads"] for one in repositories)):
            if runs:
                return str(runs[0]["run"])
            fix = "push a commit with .setpoint/pipeline.yaml; setpoint init writes one"
            raise NotFoundError("SP811", "there is no run, and none begins", fix=fix)
        if not said:
            note(missing[0] if missing else "waiting for the first run to begin")
            said = True
        time.sleep(POLL_S)


def follow(api: "Api", run: str) -> dict[str, Any]:
    """Show a run as it goes and return its last report."""
    from setpoint.client.http import segment

    report: dict[str, Any] = {}
    shown: set[str] = set()
    with Progress() as progress:
        for event in api.stream(f"runs/{segment(run)}/stream"):
            if event.event != "run":
                continue
            report = json.loads(event.data)
            progress.show(lines(report))
            for task in report["tasks"]:
                if task["state"] in ("failed", "timed-out") and task["task"] not in shown:
                    shown.add(task["task"])
                    _show_tail(api, progress, report["run"]["run"], task["task"])
            if report["run"]["state"] != "running" or waits_for_person(report):
                break
    return report or api.get(f"runs/{segment(run)}")


def waits_for_person(report: dict[str, Any]) -> bool:
    """Say whether a run goes on only when somebody has said what became of a lost task."""
    busy = any(task["state"] == "running" or (task["state"] == "pending" and task["reason"]) for task in report["tasks"])
    return report["run"]["state"] == "running" and bool(report["run"].get("lost")) and not busy


def lines(report: dict[str, Any]) -> dict[str, Line]:
    """Return the run and its tasks as lines of progress."""
    run = report["run"]
    head = f"{run['repository']} {digest.short(run['revision'])[:7]} {cut(run['title'], _TITLE_COLUMNS)}"
    found = {f"run {run['run']}": Line(run["state"], head)}
    for task in report["tasks"]:
        found[task["task"]] = Line(task["state"], _about(task), depth=1)
    return found


def _about(task: dict[str, Any]) -> str:
    words = []
    if task["state"] == "reused":
        words.append(f"as in run {task['origin_run']}")
    elif task["seconds"] is not None:
        words.append(span(task["seconds"]))
    elif task["state"] == "running" and task["started_at"]:
        words.append(f"since {task['started_at'][11:19]} UTC")
    if task["networked"]:
        words.append("networked")
    if task.get("sandbox") == "none":
        words.append("no sandbox")
    if task.get("executor"):
        words.append(f"on {task['executor']}")
    if task.get("place"):
        words.append(task["place"])
    if task["state"] in ("failed", "timed-out", "skipped", "lost", "cancelled", "pending") and task["reason"]:
        words.append(task["reason"])
    return ", ".join(words)


def _show_tail(api: "Api", progress: Progress, run: str, task: str) -> None:
    """Print the end of a failed task's log above the live lines, and the command that prints all of it."""
    from setpoint.cli.log import records, text_of

    found = [line for record in records(api, run, task) for line in text_of(record).splitlines()]
    for line in found[-_TAIL_LINES:]:
        progress.say(f"    {line}")
    progress.say(f"the whole log: setpoint log {run}/{task}")


def conclusion(report: dict[str, Any]) -> str:
    """Return the result: how the run ended, its artifacts and evidence."""
    from setpoint.core import clock, names

    run = report["run"]
    took = (
        f" in {span(clock.seconds_between(run.get('retried_at') or run['created_at'], run['finished_at']))}" if run["finished_at"] else ""
    )
    reused = sum(task["state"] == "reused" for task in report["tasks"])
    count = counted(len(report["tasks"]), "task") + (f", {reused} reused" if reused else "")
    found = [f"run {run['run']} {run['state']}{took}: {count}"]
    found += [f"  {artifact['oci_repository']}@{artifact['digest']}  {artifact['version']}" for artifact in report["artifacts"]]
    kinds = {(names.kind(evidence["predicate_type"]), evidence["result"], evidence["summary"]) for evidence in report["evidence"]}
    found += [f"  evidence {kind}: {result} {summary}".rstrip() for kind, result, summary in sorted(kinds)]
    return "\n".join([*found, *([run["error"]] if run["error"] else [])])


def _next(report: dict[str, Any]) -> str:
    run = report["run"]["run"]
    failed = next((task["task"] for task in report["tasks"] if task["state"] in ("failed", "timed-out")), None)
    return f"next: setpoint log {run}/{failed}" if failed else f"next: setpoint log {run}"
