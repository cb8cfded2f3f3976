"""The verb `check`: everything that is wrong with the files of a repository, at once, with carets; the looking is `app.check`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from setpoint.cli.options import json_option
from setpoint.cli.output import AnswerNo, note, print_json, print_text, problem_of
from setpoint.core.errors import ConfigError
from setpoint.core.words import counted

if TYPE_CHECKING:
    from setpoint.app.check import CheckReport


@click.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@json_option
def command(path: Path, *, as_json: bool) -> None:
    """Check every file of a repository, or of the repositories in a folder; all findings at once.

    Pipelines, lock, setpoint.yaml, environments, policies, and the manifests as each environment renders them. Example: setpoint check
    """
    from setpoint.app.check import check

    report = check(path)
    counts = {name: getattr(report, name) for name in ("tasks", "artifacts", "environments", "gates")}
    if as_json and not report.findings:
        print_json({"ok": True, **counts, "notes": report.notes, "findings": []})
        return
    if report.findings and as_json:
        print_json({"ok": False, **counts, "notes": report.notes, "findings": problem_of(ConfigError(report.findings))["findings"]})
        raise AnswerNo
    for sentence in report.notes:
        note(f"note: {sentence}")
    if report.findings:
        click.echo(ConfigError(report.findings).render(), err=True)
        raise _Faulty(report)
    print_text("ok: " + ", ".join(counted(count, name[:-1]) for name, count in counts.items()))


class _Faulty(AnswerNo):
    """Findings were printed; this is their count."""

    def __init__(self, report: "CheckReport") -> None:
        count = len(report.findings)
        files = len({finding.path for finding in report.findings})
        super().__init__(f"\n{counted(count, 'finding')} in {counted(files, 'file')}")
