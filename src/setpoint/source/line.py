"""A branch's first-parent line, told as what changed where: which commit gave a folder its tree, without walking history for each.

Grown by the promotion stage from `GitStore.steps`; pure memory over immutable commits, so a newer head only adds to it. A unit is what is
asked about: a folder or file at a fixed depth (`apps/web`, `environments/prod/web`, `pins/prod/web.yaml`), see `unit_of`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

Id = str | None
"""Of a tree or blob; None: it is not there."""
_NOWHERE: Final[tuple[tuple[int, Id], ...]] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What one commit of the line brought."""

    commit: str
    changed: Mapping[str, Id]
    """unit -> its id since this commit, for every unit that it changed against its first parent."""
    merged: tuple[tuple[str, frozenset[str]], ...] = ()
    """Commits that came in with it (a merge's other side), each with the units that it changed against its own first parent."""
    complete: bool = True
    """False: more came in with it than is told, and merged is empty."""


def unit_of(path: str, depths: Mapping[str, int]) -> str | None:
    """Return the unit that a path belongs to; depths is top folder -> number of segments. None where nobody asks."""
    parts = path.split("/")
    depth = depths.get(parts[0])
    return "/".join(parts[:depth]) if depth is not None else None


class Line:
    """Everything is asked as of a commit of the line; KeyError for one that is not on it.

    Whoever grows it holds a lock; who asks needs none, for what was there stays as it is.
    """

    def __init__(self, *, whole: bool = True) -> None:
        """Whole: the first step is the branch's root commit. Otherwise what is older than it is not known."""
        self.whole = whole
        self.commits: list[str] = []
        """From the oldest to the newest."""
        self._place: dict[str, int] = {}
        self._changes: dict[str, list[tuple[int, Id]]] = {}
        """unit -> (place, id since then), oldest first"""
        self._touching: dict[str, list[tuple[int, str]]] = {}
        """unit -> (place, commit that changed it), merged ones included, oldest first"""
        self._incomplete: list[int] = []
        """Places of steps that do not tell everything that came in with them, oldest first."""

    def grow(self, steps: Iterable[Step]) -> None:
        """Add steps, the oldest first."""
        for step in steps:
            place = len(self.commits)
            for commit, units in step.merged:
                for unit in units:
                    self._touching.setdefault(unit, []).append((place, commit))
            for unit, found in step.changed.items():
                self._changes.setdefault(unit, []).append((place, found))
                self._touching.setdefault(unit, []).append((place, step.commit))
            if not step.complete:
                self._incomplete.append(place)
            self.commits.append(step.commit)
            self._place[step.commit] = place

    def __contains__(self, commit: object) -> bool:
        """Say whether a commit is on the line."""
        return commit in self._place

    @property
    def head(self) -> str:
        """The newest commit; empty before the first."""
        return self.commits[-1] if self.commits else ""

    def id_at(self, commit: str, unit: str) -> Id:
        """Return a unit's id as it stood at a commit."""
        found = self._last(commit, unit)
        return found[1] if found is not None else None

    def changed_by(self, commit: str, unit: str) -> str | None:
        """Return the newest commit, from this one back, that changed a unit; None when the unit is not there.

        Empty when that commit is older than what is known here.
        """
        found = self._last(commit, unit)
        if found is None or found[1] is None:
            return None
        return self.commits[found[0]] if self.whole or found[0] > 0 else ""

    def is_older(self, commit: str, unit: str, one: Id, other: Id) -> bool:
        """Say whether the newest commit where a unit had one id comes before the newest where it had the other.

        False when the line does not have both.
        """
        place = self._newest(unit, one, self._place[commit])
        newer = self._newest(unit, other, self._place[commit])
        return place is not None and newer is not None and place < newer

    def between(self, commit: str, unit: str, wanted: Id, before: Id, base: str | None) -> list[str] | None:
        """Return the commits, newest first, that took a unit from an id to the wanted one, as of a commit.

        The way back is measured by ids; where the earlier one is nowhere on the line (or None), it ends at the commit base. None when that
        is not on the line either, or when a step on the way does not tell everything that came in with it.
        """
        head = self._place[commit]
        top = self._newest(unit, wanted, head)
        top = head if top is None else top
        end = self._newest(unit, before, top) if before is not None else None
        if end is None:
            end = self._place.get(base) if base is not None else None
            if end is None:
                return None
        if any(end < place <= top for place in self._incomplete):
            return None
        return [found for place, found in reversed(self._touching.get(unit, [])) if end < place <= top]

    def _newest(self, unit: str, wanted: Id, place: int) -> int | None:
        """Return the newest place, not after the given one, where a unit has an id."""
        changes = self._changes.get(unit, _NOWHERE)
        at = bisect_right(changes, place, key=lambda change: change[0])
        until = place
        for since, found in reversed(changes[:at]):
            if found == wanted:
                return until
            until = since - 1
        return until if wanted is None and until >= 0 else None

    def _last(self, commit: str, unit: str) -> tuple[int, Id] | None:
        place = self._place[commit]
        changes = self._changes.get(unit)
        if not changes:
            return None
        if changes[-1][0] <= place:
            return changes[-1]
        at = bisect_right(changes, place, key=lambda change: change[0])
        return changes[at - 1] if at else None
