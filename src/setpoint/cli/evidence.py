"""The verb `evidence`: the signed bundles of a thing, as a tree or as a tar; prints what /api/v1/evidence read and decides nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from setpoint.cli.completing import apps, environments
from setpoint.cli.options import json_option, server_options
from setpoint.cli.output import bold, dim, note, print_json, print_text, state, table
from setpoint.core import digest, names

if TYPE_CHECKING:
    from setpoint.client.http import Api

_KINDS = {
    "https://slsa.dev/verification_summary/v1": "gate",
}
_HEAD = ("  KIND", "SAYS", "", "SIGNED BY", "BUNDLE", "AT")


@click.command()
@click.argument("thing", metavar="APP | DIGEST | RUN | PROMOTION", shell_complete=apps)
@click.option("--in", "environment", metavar="ENV", shell_complete=environments, help="What is pinned for APP in this environment.")
@click.option(
    "--export", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write a tar that can be verified offline, with the commands."
)
@click.option(
    "--original", metavar="REPORT", help="The report of this name as its tool wrote it, to standard output or to the file of --export."
)
@json_option
@server_options
def command(api: "Api", thing: str, environment: str | None, file: Path | None, original: str | None, *, as_json: bool) -> None:
    """List the signed evidence of a thing: what is attached, what it says, whose key signed it, or why it does not count.

    This lists; `setpoint verify` judges. Examples: setpoint evidence hello --in production --export evidence.tar, and
    setpoint evidence hello --in production --original sbom > bom.json
    """
    query = {"thing": thing, "environment": environment}
    if original is not None:
        _give(file, api.read("evidence/original", {**query, "name": original}))
        return
    answer: dict[str, Any] = api.get("evidence", query)
    if file is not None:
        _write(file, api.read("evidence/export", query))
        note(f"wrote {file}; its README.md has the commands")
    if as_json:
        print_json(answer)
    elif file is None:
        print_text(render(answer))


def render(answer: dict[str, Any]) -> str:
    """Return the tree: subjects, and their bundles in the order of their signed times."""
    lines = [bold(answer["thing"])]
    for subject in answer["subjects"]:
        lines.append(f"{subject['kind']} {subject['name']}  {dim(subject['oci_repository'] + '@' + subject['digest'])}")
        rows = [_row(bundle) for bundle in subject["bundles"]]
        lines += table(rows, _HEAD).splitlines() if rows else ["  nothing is attached"]
        names_ = sorted({bundle["report"] for bundle in subject["bundles"] if bundle["document"]})
        lines += [dim(f"  originals: {', '.join(names_)}  (--original NAME)")] if names_ else []
    return "\n".join(lines) if answer["subjects"] else f"{answer['thing']}: nothing is attached"


def _row(bundle: dict[str, Any]) -> list[str]:
    kind = bundle["predicate_type"]
    signer = f"{bundle['signer']} key" if bundle["verified"] else click.style(f"NOT VERIFIED: {bundle['fault']}", fg="red")
    at = bundle["at"][:19].replace("T", " ")
    return [
        f"  {_KINDS.get(kind) or names.kind(kind) or 'unreadable'}",
        state(bundle["result"]),
        bundle["summary"],
        signer,
        digest.short(bundle["bundle"]),
        at,
    ]


def _give(file: Path | None, data: bytes) -> None:
    """Write a document to a file, or as it is to standard output."""
    if file is None:
        click.echo(data, nl=False)
        return
    _write(file, data)
    note(f"wrote {file}")


def _write(file: Path, data: bytes) -> None:
    from setpoint.core.errors import UserError

    try:
        file.write_bytes(data)
    except OSError as error:
        raise UserError("SP833", f"the file cannot be written: {error.strerror}", where=str(file), fix="choose another place") from error
