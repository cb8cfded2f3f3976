"""Paths of fields in live objects as people write them: `.spec.template.spec.containers[name=web].resources`, or a JSON pointer (RFC 6901).

Called by configuration (which fields may be ignored?) and by the comparison with a cluster (which are?). Pure. An item of a list is named
by its keys, as differences are written: `containers[web]`, `ports[53/UDP]`; `*` stands for any name or item.
"""

import re
from fnmatch import fnmatchcase
from typing import Final

_STEP: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[([^\]]*)\]|([^.\[]+)')
_WHOLE: Final = re.compile(r'\.?(?:[^.\[\]"\s/]+)(?:\.[^.\[\]"\s]+|\["(?:[^"\\]|\\.)+"\]|\[[^\]"\s]+\])*')
_POINTER: Final = re.compile(r"(?:/(?:[^/~\s]|~[01])+)+")
_KEYED: Final = re.compile(r"[A-Za-z]+=[^,]*(?:,[A-Za-z]+=[^,]*)*")
_UNSAID: Final = frozenset({"protocol=TCP"})
"""What a label leaves out, for it is the default."""
_LONGEST: Final = 500


def is_path(text: str) -> bool:
    """Say whether a text is a path or a JSON pointer."""
    return len(text) <= _LONGEST and bool((_POINTER if text.startswith("/") else _WHOLE).fullmatch(text))


def steps_of(path: str) -> tuple[str, ...]:
    """Return the names of a path or JSON pointer, items without brackets and without the names of their keys."""
    if path.startswith("/"):
        return tuple(_label(part.replace("~1", "/").replace("~0", "~")) for part in path[1:].split("/"))
    return tuple(quoted or _label(item) or name for quoted, item, name in _STEP.findall(path))


def _label(item: str) -> str:
    """Return an item as differences name it: `name=web` is `web`, `containerPort=53,protocol=UDP` is `53/UDP`."""
    if not _KEYED.fullmatch(item):
        return item
    return "/".join(part.partition("=")[2] for part in item.split(",") if part not in _UNSAID)


def same(left: str, right: str) -> bool:
    """Say whether two steps can mean the same; either may have wildcards."""
    return left == "*" or right == "*" or fnmatchcase(left, right) or fnmatchcase(right, left)


def leads(pattern: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    """Say whether a pattern means a path: the path itself, or what lies above it."""
    return len(pattern) <= len(steps) and all(fnmatchcase(step, want) for step, want in zip(steps, pattern, strict=False))


def meet(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Say whether one of two patterns can mean something above or below what the other means."""
    return all(same(one, other) for one, other in zip(left, right, strict=False))
