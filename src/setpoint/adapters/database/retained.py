"""What garbage collection reads of the projection; fills `retention.ports.RetentionRecords`.

Built by wiring. It reads whole tables, once a day or when somebody asks; it never writes.
"""

from collections import defaultdict
from typing import Any

from sqlalchemy import Select, select

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.records import Records, T
from setpoint.artifact.model import ArtifactRecord
from setpoint.core import records
from setpoint.evidence.model import EvidenceRecord
from setpoint.promotion.model import Promotion
from setpoint.retention.model import Collection, Facts, PastRun


class RetainedRecords:
    """The reads of one database."""

    def __init__(self, reads: Records) -> None:
        self._engine = reads.engine
        self._records = reads

    def past(self) -> Facts:
        """Return everything but what is pinned at HEAD and what runs."""
        return Facts(
            artifacts=tuple(self._all(ArtifactRecord, select(t.artifacts.c.body).order_by(t.artifacts.c.seq.desc()))),
            evidence=tuple(self._all(EvidenceRecord, select(t.evidence.c.body).order_by(t.evidence.c.seq))),
            promotions=tuple(self._all(Promotion, select(t.promotions.c.body).order_by(t.promotions.c.seq.desc()))),
            deployments=tuple(self._records.deployments()),
            rollouts=tuple(self._records.rollouts()),
            holds=tuple(self._records.holds()),
            inventories=tuple(self._records.inventories()),
            runs=tuple(self._runs()),
            pinned={},
            running={},
            outputs=self._outputs(),
        )

    def commits(self) -> dict[str, set[str]]:
        """Return {repository: every commit that a run, an artifact or a promotion names, and those accepted}."""
        found: dict[str, set[str]] = defaultdict(set)
        columns = (t.promotions.c.body,)
        with self._engine.connect() as connection:
            for repository, revision in connection.execute(select(t.runs.c.repository, t.runs.c.revision)):
                found[repository].add(revision)
            for repository, revision in connection.execute(select(t.artifacts.c.repository, t.artifacts.c.revision)):
                found[repository].add(revision)
            bodies = [body for (body,) in connection.execute(select(*columns))]
            statement = select(t.repositories.c.repository, t.repositories.c.accepted).where(t.repositories.c.delivery_branch.is_not(None))
            deliveries = [(repository, accepted) for repository, accepted in connection.execute(statement)]
        for body in bodies:
            found[body["source_repository"]].add(body["source_revision"])
        for repository, accepted in deliveries:
            found[repository].add(accepted or "")
            for body in bodies:
                found[repository].update((body["delivery_commit"], body["accepted_commit"], body["pin_commit"]))
        return {repository: commits - {""} for repository, commits in found.items() if repository}

    def collections(self, limit: int = 20) -> list[Collection]:
        """Return collections, newest first."""
        return self._all(Collection, select(t.collections.c.body).order_by(t.collections.c.seq.desc()).limit(limit))

    def _runs(self) -> list[PastRun]:
        statement = select(t.runs.c.run, t.runs.c.repository, t.runs.c.body).order_by(t.runs.c.seq.desc())
        with self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return [PastRun(run, repository, body["created_at"], body.get("finished_at")) for run, repository, body in rows]

    def _outputs(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        with self._engine.connect() as connection:
            for run, body in connection.execute(select(t.tasks.c.run, t.tasks.c.body)):
                files = [body.get("outputs"), *(body.get("reports") or {}).values()] if body else []
                found[run].update(str(file["digest"]) for file in files if file)
        return {run: frozenset(digests) for run, digests in found.items()}

    def _all(self, cls: type[T], statement: Select[Any]) -> list[T]:
        with self._engine.connect() as connection:
            return [records.decode(cls, body) for (body,) in connection.execute(statement)]
