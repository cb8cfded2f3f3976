"""The newest build of an application's source, by the first-parent position of the newest revision that built it.

Called by the promotion service; reads Git and run records. Ordering by position, never by digest or tree, lets a `git revert` deploy.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from setpoint.artifact.model import ArtifactRecord
from setpoint.pipeline.model import Run, RunState
from setpoint.promotion.config import AppConfig
from setpoint.promotion.model import PinnedArtifact
from setpoint.promotion.propose import Build
from setpoint.source.ports import GitStore

_NEWEST = 20


class BuildRecords(Protocol):
    """What runs built, as the journal tells it."""

    def run_for(self, repository: str, revision: str) -> Run | None:
        """Return the newest run of a revision."""
        ...

    def artifacts(self, *, run: str | None = None, digest: str | None = None, repository: str | None = None) -> Sequence[ArtifactRecord]:
        """Return artifacts, newest first."""
        ...


class Builds:
    """Answers which build is the newest."""

    def __init__(self, git: GitStore, records: BuildRecords) -> None:
        self.git = git
        self._records = records

    def is_older(self, app: AppConfig, revision: str, than: str) -> bool:
        """Say whether a revision comes before another on the first parents of the application's branch; False when either is not there."""
        head = self.git.heads(app.source).get(app.branch) if app.source in self.git.names() else None
        if app.source is None or head is None:
            return False
        line = self.git.first_parents(app.source, head)
        return revision in line and than in line and line.index(revision) > line.index(than)

    def newest(self, app: AppConfig) -> Build | None:
        """Return the newest passed run's artifacts along the branch's first parents; None when nothing was built yet."""
        if app.source is None or app.source not in self.git.names():
            return None
        head = self.git.heads(app.source).get(app.branch)
        if head is None:
            return None
        for commit in self._line(app.source, head):
            run = self._records.run_for(app.source, commit)
            if run is None or run.state is not RunState.PASSED:
                continue
            built = [a for a in self._records.artifacts(run=run.run) if app.artifacts is None or a.name in app.artifacts]
            if built:
                pinned = {a.name: PinnedArtifact(a.oci_repository, a.digest) for a in built}
                return Build(pinned, commit, built[0].version)
        return None

    def at(self, app: AppConfig, commit: str) -> Build | None:
        """Return the artifacts of a passed run of exactly one commit of an application's source; None when it has none."""
        run = self._records.run_for(app.source or "", commit)
        if run is None or run.state is not RunState.PASSED:
            return None
        built = [a for a in self._records.artifacts(run=run.run) if app.artifacts is None or a.name in app.artifacts]
        return Build({a.name: PinnedArtifact(a.oci_repository, a.digest) for a in built}, commit, built[0].version) if built else None

    def _line(self, source: str, head: str) -> Iterator[str]:
        """Yield first parents, a few at first: nearly always one of the newest was built."""
        newest = self.git.first_parents(source, head, limit=_NEWEST)
        yield from newest
        if len(newest) == _NEWEST:
            yield from self.git.first_parents(source, head)[_NEWEST:]
