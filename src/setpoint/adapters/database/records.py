"""Reads of the projection as the stages' own records; fills RunRecords, EvidenceRecords, PromotionRecords,
HoldRecords and DeploymentRecords.

Built by wiring; every answer is a frozen record decoded from the journalled JSON; it never writes.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Engine, Select, func, select

from setpoint.adapters.database import tables as t
from setpoint.artifact.model import ArtifactRecord
from setpoint.core import records
from setpoint.evidence.model import EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.ground.registries.model import Registry
from setpoint.ground.secrets.model import Secret
from setpoint.pipeline.model import Run, RunState, TaskResult
from setpoint.promotion.model import Approval, Promotion, PromotionState, Quarantine
from setpoint.reconcile.drift.model import Drift, DriftState, DriftSum
from setpoint.reconcile.model import Deployment, JobRun
from setpoint.reconcile.prune.model import Inventory
from setpoint.rollout.model import Rollout

T = TypeVar("T")


class Records:
    """All reads of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = self._engine = engine

    def _all(self, cls: type[T], statement: Select[Any]) -> list[T]:
        with self._engine.connect() as connection:
            return [records.decode(cls, body) for (body,) in connection.execute(statement) if body is not None]

    def _one(self, cls: type[T], statement: Select[Any]) -> T | None:
        found = self._all(cls, statement.limit(1))
        return found[0] if found else None

    # Runs and tasks

    def run(self, run: str) -> Run | None:
        """Return a run by its id."""
        return self._one(Run, select(t.runs.c.body).where(t.runs.c.run == run))

    def runs(self, repository: str | None = None, limit: int = 100) -> list[Run]:
        """Return runs, newest first."""
        statement = select(t.runs.c.body).order_by(t.runs.c.seq.desc()).limit(limit)
        if repository is not None:
            statement = statement.where(t.runs.c.repository == repository)
        return self._all(Run, statement)

    def open_runs(self) -> list[Run]:
        """Return the runs that have not ended, oldest first."""
        return self._all(Run, select(t.runs.c.body).where(t.runs.c.state == RunState.RUNNING).order_by(t.runs.c.seq))

    def run_for(self, repository: str, revision: str) -> Run | None:
        """Return the newest run of a revision."""
        where = (t.runs.c.repository == repository, t.runs.c.revision == revision)
        return self._one(Run, select(t.runs.c.body).where(*where).order_by(t.runs.c.seq.desc()))

    def results(self, run: str) -> list[TaskResult]:
        """Return the results of a run, in the order they were journalled."""
        return self._all(TaskResult, select(t.tasks.c.body).where(t.tasks.c.run == run).order_by(t.tasks.c.seq))

    def started(self, run: str) -> Mapping[str, str]:
        """Return {task: started_at} of the tasks that were started and have not ended."""
        statement = select(t.tasks.c.task, t.tasks.c.started_at, t.tasks.c.body).where(t.tasks.c.run == run)
        with self._engine.connect() as connection:
            return {task: started or "" for task, started, body in connection.execute(statement) if body is None}

    # Artifacts and evidence

    def artifacts(self, *, run: str | None = None, digest: str | None = None, repository: str | None = None) -> list[ArtifactRecord]:
        """Return artifacts by run, digest or source repository, newest first."""
        statement = select(t.artifacts.c.body).order_by(t.artifacts.c.seq.desc())
        for column, value in ((t.artifacts.c.run, run), (t.artifacts.c.digest, digest), (t.artifacts.c.repository, repository)):
            if value is not None:
                statement = statement.where(column == value)
        return self._all(ArtifactRecord, statement)

    def evidence(self, *, subject: str | None = None, run: str | None = None, promotion: str | None = None) -> list[EvidenceRecord]:
        """Return evidence by subject, run or promotion, in journal order."""
        statement = select(t.evidence.c.body).order_by(t.evidence.c.seq)
        for column, value in ((t.evidence.c.subject, subject), (t.evidence.c.run, run), (t.evidence.c.promotion, promotion)):
            if value is not None:
                statement = statement.where(column == value)
        return self._all(EvidenceRecord, statement)

    # Promotions

    def promotion(self, promotion: str) -> Promotion | None:
        """Return one promotion."""
        return self._one(Promotion, select(t.promotions.c.body).where(t.promotions.c.promotion == promotion))

    def promotions(self, app: str | None = None, environment: str | None = None, limit: int = 100) -> list[Promotion]:
        """Return promotions, newest first."""
        statement = select(t.promotions.c.body).order_by(t.promotions.c.seq.desc()).limit(limit)
        if app is not None:
            statement = statement.where(t.promotions.c.app == app)
        if environment is not None:
            statement = statement.where(t.promotions.c.environment == environment)
        return self._all(Promotion, statement)

    def unfinished(self) -> list[Promotion]:
        """Return promotions in state open or decided, oldest first."""
        states = (PromotionState.OPEN, PromotionState.DECIDED)
        statement = select(t.promotions.c.body).where(t.promotions.c.state.in_(states)).order_by(t.promotions.c.seq)
        return self._all(Promotion, statement)

    def approvals(self, promotion: str) -> list[Approval]:
        """Return the approvals of a promotion, in journal order."""
        statement = select(t.approvals.c.body).where(t.approvals.c.promotion == promotion).order_by(t.approvals.c.seq)
        return self._all(Approval, statement)

    def quarantines(self, app: str, environment: str) -> list[Quarantine]:
        """Return the quarantines in force (not lifted)."""
        table = t.quarantines
        where = (table.c.app == app, table.c.environment == environment, table.c.open.is_(True))
        return self._all(Quarantine, select(table.c.body).where(*where).order_by(table.c.seq))

    def holds(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> list[Hold]:
        """Return open holds (with `ended`: all), oldest first; those of a whole environment belong to each of its applications."""
        table = t.holds
        statement = select(table.c.body).order_by(table.c.seq)
        if not ended:
            statement = statement.where(table.c.open.is_(True))
        if app is not None:
            statement = statement.where(table.c.app.in_((app, "")))
        if environment is not None:
            statement = statement.where(table.c.environment == environment)
        return self._all(Hold, statement)

    # Secrets

    def secrets(self, repository: str | None = None) -> list[Secret]:
        """Return the secrets in force, of one repository or of all, by repository and name."""
        columns = t.secrets.c
        statement = select(columns.repository, columns.name, columns.version, columns.set_at, columns.set_by)
        statement = statement.where(columns.removed.is_(False)).order_by(columns.repository, columns.name)
        if repository is not None:
            statement = statement.where(columns.repository == repository)
        with self._engine.connect() as connection:
            return [Secret(*row) for row in connection.execute(statement)]

    def last_version(self, repository: str, name: str) -> int:
        """Return the last version that a name had, also when it was removed; 0 when it never had a value."""
        columns = t.secrets.c
        statement = select(columns.version).where(columns.repository == repository, columns.name == name)
        with self._engine.connect() as connection:
            return connection.execute(statement).scalar() or 0

    # Logins to other registries

    def registries(self) -> list[Registry]:
        """Return the logins in force, by host."""
        table = t.registry_logins
        columns = [column for column in table.columns if column.name != "removed"]
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).where(table.c.removed.is_(False)).order_by(table.c.host))
            return [Registry(*row) for row in rows]

    def last_login(self, host: str) -> int:
        """Return the version of the last login that a host had, also when it was ended; 0 when it never had one."""
        statement = select(t.registry_logins.c.version).where(t.registry_logins.c.host == host)
        with self._engine.connect() as connection:
            return connection.execute(statement).scalar() or 0

    # Repositories and pushes

    def accepted(self, repository: str) -> str | None:
        """Return the last accepted commit of a delivery repository (law 9)."""
        statement = select(t.repositories.c.accepted).where(t.repositories.c.repository == repository)
        with self._engine.connect() as connection:
            value: str | None = connection.execute(statement).scalar()
            return value

    def hosted(self) -> set[str]:
        """Return the repositories whose creation is journalled."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(t.repositories.c.repository)).scalars())

    def deliveries(self) -> dict[str, str]:
        """Return {delivery repository: branch}."""
        statement = select(t.repositories.c.repository, t.repositories.c.delivery_branch)
        with self._engine.connect() as connection:
            return {name: branch for name, branch in connection.execute(statement) if branch is not None}

    def pushers(self, repository: str, commits: list[str]) -> dict[str, str]:
        """Return {pushed head: pusher} for those of commits that were pushed as a head."""
        table = t.pushes
        statement = (
            select(table.c.new, table.c.pusher).where(table.c.repository == repository, table.c.new.in_(commits)).order_by(table.c.seq)
        )
        with self._engine.connect() as connection:
            return {new: pusher for new, pusher in connection.execute(statement)}  # noqa: C416 - rows are not pairs to mypy

    def pushes(self, repository: str, ref: str) -> list[tuple[str, str, str, str]]:
        """Return (old, new, pusher, at) of every push to a ref, oldest first."""
        table = t.pushes
        statement = select(table.c.old, table.c.new, table.c.pusher, table.c.at)
        statement = statement.where(table.c.repository == repository, table.c.ref == ref).order_by(table.c.seq)
        with self._engine.connect() as connection:
            return [(old, new, pusher, at) for old, new, pusher, at in connection.execute(statement)]

    # Deployments

    def restarts_told(self, replica: str) -> int:
        """Return how many restarts of a replica are journalled."""
        with self._engine.connect() as connection:
            return connection.execute(select(t.exits.c.restarts).where(t.exits.c.replica == replica)).scalar() or 0

    def deployment(self, app: str, environment: str) -> Deployment | None:
        """Return the last observation."""
        where = (t.deployments.c.app == app, t.deployments.c.environment == environment)
        return self._one(Deployment, select(t.deployments.c.body).where(*where))

    def job_runs(self, app: str, environment: str) -> list[JobRun]:
        """Return the runs of an application's Jobs in an environment, oldest first."""
        where = (t.job_runs.c.app == app, t.job_runs.c.environment == environment)
        return self._all(
            JobRun, select(t.job_runs.c.body).where(*where).order_by(t.job_runs.c.body["started_at"].as_string(), t.job_runs.c.run)
        )

    def deployments(self) -> list[Deployment]:
        """Return all last observations."""
        return self._all(Deployment, select(t.deployments.c.body).order_by(t.deployments.c.app, t.deployments.c.environment))

    # Drift

    def drifts(self, app: str | None = None, environment: str | None = None, *, ended: bool = True, limit: int = 100) -> list[Drift]:
        """Return cases of drift, newest first; without `ended` only those that are open. An environment's own belong to every app."""
        statement = select(t.drifts.c.body).order_by(t.drifts.c.seq.desc()).limit(limit)
        if app is not None:
            statement = statement.where(t.drifts.c.app.in_((app, "")))
        if environment is not None:
            statement = statement.where(t.drifts.c.environment == environment)
        if not ended:
            statement = statement.where(t.drifts.c.open.is_(True))
        return self._all(Drift, statement)

    def drift_sums(self) -> list[DriftSum]:
        """Return how many cases of drift there were, and how long they took, by place, kind and state."""
        columns = (t.drifts.c.app, t.drifts.c.environment, t.drifts.c.kind, t.drifts.c.state)
        statement = select(*columns, func.count(), func.sum(t.drifts.c.seconds)).group_by(*columns).order_by(*columns)
        with self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return [DriftSum(app, place, kind, DriftState(state), count, seconds) for app, place, kind, state, count, seconds in rows]

    # Inventories

    def inventories(self) -> list[Inventory]:
        """Return what applications have made in environments."""
        return self._all(Inventory, select(t.inventories.c.body).order_by(t.inventories.c.app, t.inventories.c.environment))

    def approved_losses(self, promotion: str) -> tuple[str, ...]:
        """Return the objects whose removal people approved with a promotion."""
        found = self.promotion(promotion)
        if found is None or found.verdict is None or not any(reason.code == "APPROVED" for reason in found.verdict.reasons):
            return ()
        return tuple(loss.partition(":")[0] for loss in found.losses)

    # Rollouts

    def rollout(self, app: str, environment: str) -> Rollout | None:
        """Return the newest rollout of an application in an environment."""
        where = (t.rollouts.c.app == app, t.rollouts.c.environment == environment)
        return self._one(Rollout, select(t.rollouts.c.body).where(*where))

    def rollouts(self) -> list[Rollout]:
        """Return the newest rollout of every place."""
        return self._all(Rollout, select(t.rollouts.c.body).order_by(t.rollouts.c.app, t.rollouts.c.environment))
