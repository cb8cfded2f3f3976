"""The verb `explain`: what a code of an error or a reason means, and what to do; works without a server.

It reads `catalogue.md` beside it, a copy of docs/errors.md that `tools/catalogue` makes and tests/unit/test_error_catalogue.py compares.
"""

import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from setpoint.cli.options import json_option
from setpoint.cli.output import bold, print_json, print_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_CATALOGUE: Final = Path(__file__).with_name("catalogue.md")
_LINE: Final = re.compile(
    r"^(?:## (?P<heading>.+)|\| `(?P<code>[A-Z][A-Z0-9_]+)` \| (?P<meaning>.+?) \| (?P<remedy>.+?) \|)$", re.MULTILINE
)
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Row:
    """A code of the catalogue."""

    code: str
    kind: str
    """`error` or `reason`."""
    area: str
    """The part of Setpoint that uses it: `promotion and delivery repository`; empty for reasons."""
    meaning: str
    remedy: str


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(row.code, help=row.meaning) for row in catalogue().values() if row.code.startswith(incomplete.upper())]


@click.command()
@click.argument("code", shell_complete=_complete)
@json_option
def command(code: str, *, as_json: bool) -> None:
    """Explain a CODE: of an error (SP621) or of a reason (APPROVAL_MISSING).

    Example: setpoint explain APPROVAL_MISSING
    """
    row = find(code)
    if as_json:
        print_json(asdict(row))
        return
    about = f"{row.kind}, {row.area}" if row.area else row.kind
    print_text(f"{bold(row.code)} ({about})\n{row.meaning}\nWhat to do: {row.remedy}")


@cache
def catalogue() -> dict[str, Row]:
    """Return every code of the catalogue, in its order."""
    rows: dict[str, Row] = {}
    area = ""
    for found in _LINE.finditer(_CATALOGUE.read_text(encoding="utf-8")):
        if found["heading"]:
            area = found["heading"].partition(": ")[2]
        else:
            code = found["code"]
            kind = "error" if re.fullmatch(r"SP\d{3}", code) else "reason"
            rows[code] = Row(code, kind, area, _plain(found["meaning"]), _plain(found["remedy"]))
    return rows


def find(code: str) -> Row:
    """Return a code's row; case, `error[...]` around it and dashes for underscores are forgiven.

    Raises:
        NotFoundError: there is no such code (SP832).
    """
    wanted = re.sub(r"^(?:ERROR)?\[?|\]?:?$", "", code.strip().upper()).replace("-", "_")
    rows = catalogue()
    if wanted in rows:
        return rows[wanted]
    from setpoint.core.errors import NotFoundError
    from setpoint.core.suggest import nearest

    near = nearest(wanted, rows)
    fix = f"did you mean `{near}`?" if near else "codes stand in brackets after `error`, and in `setpoint why --json`"
    raise NotFoundError("SP832", f"there is no code `{code}`", fix=fix)


def _plain(text: str) -> str:
    """Return a cell without links: `[host-subset.md](host-subset.md)` becomes docs/host-subset.md."""
    return _LINK.sub(lambda link: f"docs/{link[2]}" if link[1] == link[2] else f"{link[1]} (docs/{link[2]})", text)
