"""Paths of fields in objects as people declare them: `spec.containers[].image`, each `[]` standing for every item of a list.

Called by configuration (is it one?) and by what looks into rendered objects (what is there?).
Pure; a path that leads nowhere gives nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_PATH: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\[\])*(\.[A-Za-z0-9_-]{1,63}(\[\])*){0,19}")


@dataclass(frozen=True, slots=True)
class Place:
    """One value that a path leads to, with what holds it."""

    holder: Any
    """The mapping or list that the value is in."""
    key: Any
    path: str
    """With indices: `spec.containers[0].image`."""

    @property
    def value(self) -> Any:
        """What is there."""
        return self.holder[self.key]


def is_path(text: str) -> bool:
    """Say whether a text is a path of at most 20 names."""
    return bool(_PATH.fullmatch(text))


def places(value: Any, path: str) -> Iterator[Place]:
    """Yield every place of an object that a declared path leads to."""
    steps: list[str] = []
    for part in path.split("."):
        name, *items = part.split("[]")
        steps += [name, *("[]" for _ in items)]
    yield from _places(value, steps, "")


def _places(value: Any, steps: list[str], done: str) -> Iterator[Place]:
    first, rest = steps[0], steps[1:]
    keys: list[str | int] = []
    if first == "[]" and isinstance(value, list):
        keys = list(range(len(value)))
    elif isinstance(value, dict) and first != "[]" and first in value:
        keys = [first]
    for key in keys:
        path = f"{done}[{key}]" if isinstance(key, int) else f"{done}.{key}".removeprefix(".")
        if rest:
            yield from _places(value[key], rest, path)
        else:
            yield Place(value, key, path)
