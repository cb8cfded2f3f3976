"""The names that a policy can use, and which of an expression's are none of them: a mistyped one would deny for ever, and say little.

Called by `check` and by the policy engine for its reasons; it looks at text only, and never decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import suggest
from setpoint.promotion.render_content import NAMES

VARIABLES: Final = ("evidence", "artifacts", "candidate", "environment", "render")
_KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "render": ("digest", "objects", "losses", *NAMES),
    "candidate": ("app", "environment", "artifacts", "trees"),
    "candidate.trees": ("app", "environment", "includes"),
    "evidence.tests": ("passed", "failed", "skipped", "total"),
}
_REPORT: Final = ("result", "report", "missing")
"""Of every report by its name: `evidence.scan.result`."""
_NAMED: Final = 2
_STRINGS: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_PATHS: Final = re.compile(rf"(?<![\w.])(?:{'|'.join(VARIABLES)})\b(?:\.[A-Za-z_]\w*\b(?!\s*\())*")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that no policy sees."""

    offset: int
    """Characters into the expression."""
    name: str
    """`render.privilged`"""
    fix: str


def paths(expression: str) -> Iterator[tuple[int, str]]:
    """Yield (offset, path) of everything of the variables that an expression names directly: `evidence.tests.failed`."""
    blank = _STRINGS.sub(lambda match: '"' + " " * (len(match[0]) - 2) + '"', expression)
    yield from ((match.start(), match[0]) for match in _PATHS.finditer(blank))


def absent(expression: str, facts: Mapping[str, Any]) -> list[Unknown]:
    """Return the names that these facts do not have, each with the nearest beside it that they do; nothing for what has no names at all."""
    found = []
    for offset, path in paths(expression):
        holder: Any = facts
        for part in path.split("."):
            if not isinstance(holder, Mapping) or not holder:
                break
            if part not in holder:
                found.append(Unknown(offset, path, suggest.help_text(part, holder, "names beside it")))
                break
            holder = holder[part]
    return found


def unknown(expression: str) -> list[Unknown]:
    """Return the names that do not exist, each with the nearest that does."""
    found = []
    for offset, path in paths(expression):
        parts = path.split(".")
        if re.search(rf"\b{parts[0]}\s*,", expression):
            continue  # the variable of a macro has this name: `artifacts.exists(render, render.name == "web")`
        for depth in range(1, len(parts)):
            holder = ".".join(parts[:depth])
            known = _KNOWN.get(holder, _REPORT if parts[0] == "evidence" and depth == _NAMED else ())
            if known and parts[depth] not in known:
                fix = suggest.help_text(parts[depth], known, f"names of {holder}")
                found.append(Unknown(offset + len(holder) + 1, f"{holder}.{parts[depth]}", fix))
                break
    return found
