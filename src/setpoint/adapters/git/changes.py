"""The commit that last changed a path, without walking the same history twice: called by `store` for every pin at every look.

Objects of Git never change, so an answer for a commit stays true; a newer head only has to be walked back to the last one that was asked
about. It opens no repository and writes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pygit2

_MOST: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Known:
    head: str
    found: pygit2.Oid
    """What the path was at head."""
    changed: str


class LastChanges:
    """Remembers the last answer for each path of each repository."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    def of(self, key: tuple[str, str], line: Iterator[pygit2.Commit], id_at: Callable[[pygit2.Commit], pygit2.Oid | None]) -> str | None:
        """Return the newest commit of a line (head, then its first parents) that changed what id_at finds; None when head lacks it."""
        head = next(line)
        wanted = id_at(head)
        if wanted is None:
            return None
        known = self._known.get(key)
        if known is not None and known.found != wanted:
            known = None
        newest = str(head.id)
        if known is None or known.head != newest:
            for commit in line:
                if id_at(commit) != wanted:
                    known = None
                    break
                newest = str(commit.id)
                if known is not None and known.head == newest:
                    break
            else:
                known = None
        changed = known.changed if known is not None else newest
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = _Known(str(head.id), wanted, changed)
        return changed
