"""Which files of a chart's folder Helm leaves out (`.helmignore`), so that they are no input of the render.

Called by `sources.chart`. The rules are those of Helm's documentation: a pattern a line, `*`, `?` and classes within one name, a slash at
the end for folders, one inside for a whole path, no `**`. Only what is surely left out is left out here: Helm reads the same file again,
so a pattern that is not understood costs a needless render and never a wrong one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

NAME: Final = ".helmignore"
_PLAIN: Final = re.compile(r"[\w.*?/ +@~,=-]+")
_NEVER: Final = frozenset({"Chart.yaml", NAME, "values.yaml", "Chart.lock", "values.schema.json"})
"""Kept whatever is written: a chart without them would be another one."""
_Rule = tuple[re.Pattern[str], bool, bool]
"""(pattern, whole path, folders only)"""


def kept(paths: Iterable[str], data: bytes | None) -> list[str]:
    """Return the paths, relative to the chart's folder, that Helm may read; data is the `.helmignore`, if there is one."""
    rules = [_HIDDEN, *_rules(data.decode("utf-8-sig", errors="replace") if data is not None else "")]
    return [path for path in paths if path in _NEVER or not any(_drops(rule, path) for rule in rules)]


def _rules(text: str) -> Sequence[_Rule]:
    """Return the rules; none at all when one of them takes something back or is not surely understood."""
    found: list[_Rule] = []
    for line in (line.strip() for line in text.split("\n")):
        if not line or line.startswith("#"):
            continue
        if not _PLAIN.fullmatch(line) or "**" in line or "//" in line:
            return ()
        folders = line.endswith("/")
        body = line.removesuffix("/")
        whole = "/" in body
        if body in {"", "."}:
            return ()
        found.append((_glob(body.removeprefix("/")), whole, folders))
    return found


def _glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern of Go's filepath.Match without classes and escapes."""
    parts = {"*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in pattern))


_HIDDEN: Final[_Rule] = (_glob("templates/.?*"), True, False)
"""Helm's own rule."""


def _drops(rule: _Rule, path: str) -> bool:
    """Say whether a file, or one of the folders it lies in, matches."""
    pattern, whole, folders = rule
    names = path.split("/")
    for depth in range(1, len(names) + 1):
        is_file = depth == len(names)
        if (is_file and folders) or not pattern.fullmatch("/".join(names[:depth]) if whole else names[depth - 1]):
            continue
        return True
    return False
