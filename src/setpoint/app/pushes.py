"""Who pushed what: journals pushes, and mends those that Git has and the journal lacks, because a server died in between.

Called by the Git endpoint after a push and by the control loop before it looks at heads. What happened is asked of Git: a push that was
noted counts only when its commit is where it wanted to be, and then it is its pusher's (law 9).
"""

from collections.abc import Sequence
from typing import Final

from setpoint.adapters.database.records import Records
from setpoint.adapters.git.pkt import ZERO
from setpoint.adapters.git.spool import IntendedPush, PushSpool
from setpoint.adapters.git.store import GitRepositories
from setpoint.core import records
from setpoint.core.errors import UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.source.model import RefUpdate

_PATIENCE_S: Final = 600.0
"""A `git receive-pack` outlives the server that started it: what has not moved yet may still do so for a while."""
_DEEPEST: Final = 10_000


class Pushes:
    """The pushes of a home."""

    def __init__(self, spool: PushSpool, git: GitRepositories, told: Records, recorder: Recorder) -> None:
        self.spool = spool
        self._git = git
        self._told = told
        self._recorder = recorder

    def received(self, repository: str, actor: str, pusher: str, updates: Sequence[RefUpdate]) -> None:
        """Journal a push that happened; the control loop finds the heads by looking."""
        body = {"updates": [records.encode(update) for update in updates], "pusher": pusher}
        self._recorder.record("push.received", repository, actor, body)

    def mend(self) -> int:
        """Journal what an earlier server let in and could not journal; returns how many pushes."""
        mended = 0
        for push in self.spool.pending():
            if push.in_flight:
                continue
            moved = [update for update in push.updates if self._happened(push.repository, update)]
            untold = [update for update in moved if not self._is_told(push, update)]
            if untold:
                self.received(push.repository, push.actor, push.pusher, untold)
                mended += 1
            if len(moved) == len(push.updates) or push.age_s > _PATIENCE_S:
                self.spool.settle(push.name)
        return mended

    def pusher_of(self, repository: str, commit: str) -> str:
        """Return who pushed this head, or empty."""
        return self._told.pushers(repository, [commit]).get(commit, "")

    def unsettled(self, repository: str, branch: str, commit: str) -> bool:
        """Say whether a head is what somebody is pushing at this moment: who it was is known in an instant."""
        wanted = (f"refs/heads/{branch}", commit)
        return any(
            push.in_flight and push.repository == repository and wanted in {(update.ref, update.new) for update in push.updates}
            for push in self.spool.pending()
        )

    def _happened(self, repository: str, update: RefUpdate) -> bool:
        """Say whether a ref was moved as noted: it is there, or went on from there."""
        try:
            head = self._git.refs(repository).get(update.ref)
            if update.new in (ZERO, update.old):
                return head is None and update.new == ZERO
            if head is None or head == update.new:
                return head is not None
            self._git.revision(repository, update.new)
            base = update.old if update.old != ZERO else None
            return any(revision.commit == update.new for revision in self._git.history(repository, head, base, _DEEPEST))
        except UserError:  # the repository or the commit is not there
            return False

    def _is_told(self, push: IntendedPush, update: RefUpdate) -> bool:
        every = self._told.pushes(push.repository, update.ref)
        return any((old, new, pusher) == (update.old, update.new, push.pusher) for old, new, pusher, _at in every)
