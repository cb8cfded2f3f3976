"""The verb `run`: the pipeline of a working tree, here, in the same sandbox, without a server; the running is `app.local_run`.

With --shell a person works where a task would (`app.local_shell`).
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.options import json_option
from setpoint.cli.output import AnswerNo, note, print_json, print_text, span
from setpoint.cli.progress import Line, Progress
from setpoint.core import clock
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.app.local_run import LocalReport
    from setpoint.pipeline.model import LogRecord, Run, TaskResult

_TAIL_LINES = 30
_PIPELINE = ".setpoint/pipeline.yaml"


@click.command()
@click.argument("words", nargs=-1, metavar="[PATH] [TASK|ARTIFACT]...")
@click.option("--shell", "in_shell", is_flag=True, help="Open a shell in the sandbox of one task instead, after what it needs has run.")
@json_option
def command(words: tuple[str, ...], *, in_shell: bool, as_json: bool) -> None:
    """Run a pipeline here: the same engine, sandbox and cache keys as the server, on the files as they lie in PATH.

    Images are assembled in a cache folder; nothing is signed. Example: setpoint run app test
    """
    from setpoint.app.local_run import run_locally

    path, tasks = _split(words)
    if in_shell:
        if as_json:
            raise click.UsageError("a shell prints no JSON")
        _open_shell(path, tasks)
        return
    with Progress() as progress:
        report = run_locally(path, tasks, lambda run, rows: progress.show(_lines(run, rows)))
        if report.run.state != "passed":
            _show_failures(progress, report)
    if as_json:
        print_json(_value(report))
    else:
        print_text(_conclusion(report))
    if report.run.state != "passed":
        raise AnswerNo


def _open_shell(path: Path, tasks: tuple[str, ...]) -> None:
    """Run what the task needs, and open the shell; what a person does in it is no result, so its exit status is none either."""
    from setpoint.app.local_shell import Opening, open_shell
    from setpoint.core.errors import UserError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fix = "call it from a terminal; without one, `setpoint run TASK` runs the task itself"
        raise UserError("SP834", "a shell needs a terminal for its input and output", fix=fix)

    def opening(found: Opening) -> None:
        network = "with the network" if found.network else "no network"
        about = counted(found.files, "input") + (f", outputs of {', '.join(found.needs)}" if found.needs else "")
        note(f"task {found.task} in its sandbox: /work with {about}; {network}; `exit` leaves, and nothing is kept\nthe task runs:")
        note("\n".join(f"    {line}" for line in found.run.strip().splitlines()))

    with Progress() as progress:
        ended = open_shell(path, tasks, lambda run, rows: progress.show(_lines(run, rows)), opening)
        if not isinstance(ended, int):
            _show_failures(progress, ended)
    if not isinstance(ended, int):
        print_text(_conclusion(ended))
        raise AnswerNo


def _split(words: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """Return (path, tasks): the first word is a path when a pipeline lies there, or when it can be nothing else."""
    if not words:
        return Path(), ()
    first = Path(words[0])
    inside = (first / _PIPELINE).is_file() or "/" in words[0] or words[0] in (".", "..")
    if inside or (first.is_dir() and not Path(_PIPELINE).is_file()):
        return first, words[1:]
    return Path(), words


def _lines(run: "Run", rows: "list[TaskResult]") -> dict[str, Line]:
    found = {f"run {run.run}": Line(run.state.value, f"{run.repository}, {run.title}")}
    for row in rows:
        found[row.task] = Line(row.state.value, _about(row), depth=1)
    return found


def _about(row: "TaskResult") -> str:
    if row.state.value == "reused":
        return f"as in run {row.origin_run}"
    if row.started_at and row.finished_at:
        took = span(clock.seconds_between(row.started_at, row.finished_at))
        return f"{took}, {row.reason}" if row.reason else took
    return row.reason


def _text(record: "LogRecord") -> str:
    return f"[setpoint] {record.text.rstrip()}\n" if record.stream == "note" else record.text


def _show_failures(progress: Progress, report: "LocalReport") -> None:
    for task, records in report.logs.items():
        progress.say(f"the end of {task}:")
        for line in "".join(map(_text, records)).splitlines()[-_TAIL_LINES:]:
            progress.say(f"    {line}")


def _conclusion(report: "LocalReport") -> str:
    run = report.run
    took = f" in {span(clock.seconds_between(run.created_at, run.finished_at))}" if run.finished_at else ""
    reused = sum(task.state.value == "reused" for task in report.tasks)
    lines = [f"{run.state.value}{took}: {counted(len(report.tasks), 'task')}" + (f", {reused} reused" if reused else "")]
    lines += [f"  {artifact.name}@{artifact.digest}  {artifact.size_bytes} bytes, not signed" for artifact in report.artifacts]
    failed = ", ".join(task.task for task in report.tasks if task.state.ended and not task.state.green)
    lines += [f"  not green: {failed}"] if failed else []
    if report.elsewhere:
        lines.append(f"  a server runs on a cluster what ran in the sandbox here: {', '.join(report.elsewhere)}")
    return "\n".join([*lines, *([run.error] if run.error else [])])


def _value(report: "LocalReport") -> dict[str, Any]:
    return {
        "run": report.run.run,
        "state": report.run.state.value,
        "error": report.run.error,
        "builder": report.builder,
        "tasks": [
            {
                "task": row.task,
                "state": row.state.value,
                "key": row.key,
                "seconds": clock.seconds_between(row.started_at, row.finished_at) if row.started_at and row.finished_at else None,
                "exit_code": row.exit_code,
                "origin_run": row.origin_run,
                "reason": row.reason,
            }
            for row in report.tasks
        ],
        "artifacts": [{"name": made.name, "digest": made.digest, "size_bytes": made.size_bytes} for made in report.artifacts],
    }
