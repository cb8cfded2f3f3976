"""What answers are made of: records of the projection and the looks of the stages; filled in app wiring. Reads only."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from setpoint.artifact.model import ArtifactRecord
from setpoint.evidence.model import EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.pipeline.model import Run, TaskResult
from setpoint.promotion.model import Approval, Promotion, Quarantine
from setpoint.reconcile.drift.model import Drift
from setpoint.reconcile.model import Deployment
from setpoint.rollout.model import Rollout


class Facts(Protocol):
    """Everything the projection can answer."""

    def run(self, run: str) -> Run | None:
        """Return a run."""
        ...

    def runs(self, repository: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Return runs, newest first."""
        ...

    def open_runs(self) -> Sequence[Run]:
        """Return the runs that have not ended."""
        ...

    def run_for(self, repository: str, revision: str) -> Run | None:
        """Return the newest run of a revision."""
        ...

    def results(self, run: str) -> Sequence[TaskResult]:
        """Return the journalled task results of a run."""
        ...

    def started(self, run: str) -> Mapping[str, str]:
        """Return {task: started_at} of what runs now."""
        ...

    def artifacts(self, *, run: str | None = None, digest: str | None = None, repository: str | None = None) -> Sequence[ArtifactRecord]:
        """Return artifacts, newest first."""
        ...

    def evidence(self, *, subject: str | None = None, run: str | None = None, promotion: str | None = None) -> Sequence[EvidenceRecord]:
        """Return evidence, in journal order."""
        ...

    def promotion(self, promotion: str) -> Promotion | None:
        """Return a promotion."""
        ...

    def promotions(self, app: str | None = None, environment: str | None = None, limit: int = 100) -> Sequence[Promotion]:
        """Return promotions, newest first."""
        ...

    def approvals(self, promotion: str) -> Sequence[Approval]:
        """Return approvals, in journal order."""
        ...

    def quarantines(self, app: str, environment: str) -> Sequence[Quarantine]:
        """Return the quarantines in force."""
        ...

    def holds(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> Sequence[Hold]:
        """Return open holds (with `ended`: all), oldest first."""
        ...

    def rollout(self, app: str, environment: str) -> Rollout | None:
        """Return the newest rollout of an application in an environment."""
        ...

    def deployment(self, app: str, environment: str) -> Deployment | None:
        """Return the last observation."""
        ...

    def deployments(self) -> Sequence[Deployment]:
        """Return all last observations."""
        ...

    def drifts(self, app: str | None = None, environment: str | None = None, *, ended: bool = True, limit: int = 100) -> Sequence[Drift]:
        """Return cases of drift, newest first; without `ended` only those that are open."""
        ...
