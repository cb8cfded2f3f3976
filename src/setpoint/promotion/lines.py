"""The first-parent lines of delivery repositories, kept and grown: what lies where at a commit, and which commit put it there.

Used by the delivery reader and by the exclusions, in server and tests alike; one object is shared, so that a commit is compared with its
parent once. Everything can be lost: a line is read again from Git.
"""

import threading
from typing import Final

from setpoint.source.line import Line, unit_of
from setpoint.source.ports import GitStore

DEPTHS: Final = {"setpoint.yaml": 1, "apps": 2, "environments": 3, "pins": 3}
"""What a delivery repository is asked about: top folder -> segments of `apps/web`, `environments/prod/web`, `pins/prod/web.yaml`."""
_MOST: Final = 20_000
"""Commits of a line that are looked at when it is read from scratch; older changes are found by walking."""


def is_unit(path: str) -> bool:
    """Say whether lines know of a path: others (what an application includes) are looked up in Git."""
    return unit_of(path, DEPTHS) == path


class Lines:
    """One line a repository; safe to call from several threads."""

    def __init__(self, git: GitStore) -> None:
        self._git = git
        self._lines: dict[str, Line] = {}
        self._lock = threading.Lock()

    def find(self, repository: str, commit: str) -> Line | None:
        """Return the kept line, if this commit is on it."""
        found = self._lines.get(repository)
        return found if found is not None and commit in found else None

    def of(self, repository: str, head: str) -> Line:
        """Return the line of a branch's head: the kept one, grown by what is new."""
        found = self.find(repository, head)
        if found is not None:
            return found
        with self._lock:
            found = self._lines.get(repository, Line())
            if head in found:
                return found
            steps, end = self._git.steps(repository, head, found, DEPTHS, _MOST)
            if found.commits and end == found.head:
                found.grow(reversed(steps))
                return found
            if end in found:  # the branch was led elsewhere; the kept line stays right for those who hold it
                steps, end = self._git.steps(repository, head, (), DEPTHS, _MOST)
            line = Line(whole=not end)
            line.grow(reversed(steps))
            self._lines[repository] = line
            return line
