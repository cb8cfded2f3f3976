"""Finds heads that nobody has looked at yet: level-triggered, so a push that nobody announced is found.

Called by the control loop on every pass; it remembers what it handed out only to save time, never to be right.
"""

from setpoint.source.model import Revision
from setpoint.source.ports import GitStore


class SourceService:
    """Compares every branch of every repository with what was handed out before."""

    def __init__(self, git: GitStore) -> None:
        self._git = git
        self._seen: dict[tuple[str, str], str] = {}

    def moved_heads(self) -> list[tuple[str, Revision]]:
        """Return (branch, revision) of every head that moved since the last call; after a start that is every head."""
        found: list[tuple[str, Revision]] = []
        for name in self._git.names():
            for branch, commit in self._git.heads(name).items():
                if self._seen.get((name, branch)) != commit:
                    found.append((branch, self._git.revision(name, commit)))
        # Remembered only now: a fault half-way must not lose what was found before it.
        self._seen.update({(revision.repository, branch): revision.commit for branch, revision in found})
        return found

    def forget(self, repository: str, branch: str) -> None:
        """Hand this head out again at the next call: what was to be done with it failed and may work later."""
        self._seen.pop((repository, branch), None)
