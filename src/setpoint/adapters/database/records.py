"""Reads of the projection as the stages' own records; fills RunRecords, EvidenceRecords, PromotionRecords,
HoldRecords and DeploymentRecords.

Built by wiring; every answer is a frozen record decoded from the journalled JSON; it never writes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, Select, func, select

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.changes import GENERATORS, REPOSITORIES, Changes, place
from setpoint.adapters.database.changes import repository as of_repository
from setpoint.adapters.database.mirror import Mirror
from setpoint.artifact.model import ArtifactRecord
from setpoint.core import records
from setpoint.core.recent import Recent
from setpoint.evidence.model import EvidenceRecord
from setpoint.ground.clusters.model import Cluster
from setpoint.ground.hold.model import Hold
from setpoint.ground.registries.model import Registry
from setpoint.ground.secrets.model import Secret
from setpoint.pipeline.model import Run, RunState, TaskResult
from setpoint.promotion.checks.model import CommandRun, CommandState
from setpoint.promotion.generators.model import Expansion
from setpoint.promotion.model import Approval, Promotion, PromotionState, Quarantine
from setpoint.reconcile.adopt.model import Adoption
from setpoint.reconcile.cluster.hook_runs import HookSet
from setpoint.reconcile.drift.model import Drift, DriftState, DriftSum, DriftWriter
from setpoint.reconcile.model import Deployment, JobRun
from setpoint.reconcile.prune.model import Inventory
from setpoint.rollout.model import Rollout

T = TypeVar("T")
_PROMOTIONS: Final = 8192


class Records:
    """All reads of one database."""

    def __init__(self, engine: Engine, folded: Callable[[], int] | None = None) -> None:
        """Folded returns how many entries the tables have by now; without it the database is asked each time."""
        self.engine = self._engine = engine
        self._folded = folded if folded is not None else self._applied
        source = (engine, self._folded)
        self._changes = Changes(*source)
        self._deployments = Mirror(source, Deployment, t.deployments)
        self._rollouts = Mirror(source, Rollout, t.rollouts)
        self._holds = Mirror(source, Hold, t.holds, t.holds.c.open)
        self._adoptions = Mirror(source, Adoption, t.adoptions, t.adoptions.c.open)
        self._quarantines = Mirror(source, Quarantine, t.quarantines, t.quarantines.c.open)
        unfinished = t.promotions.c.state.in_((PromotionState.OPEN, PromotionState.DECIDED))
        self._unfinished = Mirror(source, Promotion, t.promotions, unfinished)
        self._repositories: tuple[int, Mapping[str, tuple[str | None, str | None, str | None]]] = (-2, {})
        self._expansions: tuple[int, tuple[Expansion, ...]] = (-2, ())
        self._promotions: Recent[str, tuple[int, Promotion]] = Recent(_PROMOTIONS)
        """promotion -> (the newest entry about its place when it was read, the promotion)"""

    def _applied(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(select(t.meta.c.value).where(t.meta.c.name == "applied")).scalar() or "0")

    def changed(self, app: str, environment: str) -> int:
        """Return the index of the newest entry about an application in an environment, or about all of that environment."""
        return max(self._changes.of(place(app, environment)), self._changes.of(place("", environment)))

    def repository_changed(self, repository: str) -> int:
        """Return the index of the newest entry about what was pushed, run or built of a repository."""
        return self._changes.of(of_repository(repository))

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
        kept = self._promotions.get(promotion)
        if kept is not None and kept[0] == self.changed(kept[1].candidate.app, kept[1].candidate.environment):
            return kept[1]
        folded = self._folded()
        found = self._one(Promotion, select(t.promotions.c.body).where(t.promotions.c.promotion == promotion))
        if found is not None:
            changed = self.changed(found.candidate.app, found.candidate.environment)
            if changed < folded:  # otherwise more was said of it while it was read
                self._promotions.put(promotion, (changed, found))
        return found

    def promotions(self, app: str | None = None, environment: str | None = None, limit: int = 100) -> list[Promotion]:
        """Return promotions, newest first."""
        statement = select(t.promotions.c.body).order_by(t.promotions.c.seq.desc()).limit(limit)
        if app is not None:
            statement = statement.where(t.promotions.c.app == app)
        if environment is not None:
            statement = statement.where(t.promotions.c.environment == environment)
        return self._all(Promotion, statement)

    def unfinished(self, app: str = "", environment: str = "") -> list[Promotion]:
        """Return promotions in state open or decided, oldest first: of a place, or all."""
        return list(self._unfinished.at(app, environment) if app else self._unfinished.all())

    def approvals(self, promotion: str) -> list[Approval]:
        """Return the approvals of a promotion, in journal order."""
        statement = select(t.approvals.c.body).where(t.approvals.c.promotion == promotion).order_by(t.approvals.c.seq)
        return self._all(Approval, statement)

    def command_run(self, check: str) -> CommandRun | None:
        """Return what became of a command of a gate the last time it was asked."""
        return self._one(CommandRun, select(t.command_runs.c.body).where(t.command_runs.c.check == check))

    def command_runs(self, promotion: str = "") -> list[CommandRun]:
        """Return the commands that were asked for a promotion (empty: those that are running), oldest first."""
        where = t.command_runs.c.promotion == promotion if promotion else t.command_runs.c.state == CommandState.RUNNING
        return self._all(CommandRun, select(t.command_runs.c.body).where(where).order_by(t.command_runs.c.seq))

    def quarantines(self, app: str, environment: str) -> list[Quarantine]:
        """Return the quarantines in force (not lifted)."""
        return list(self._quarantines.at(app, environment))

    def holds(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> list[Hold]:
        """Return open holds (with `ended`: all), oldest first; those of a whole environment belong to each of its applications."""
        every = self._all(Hold, select(t.holds.c.body).order_by(t.holds.c.seq)) if ended else self._holds.all()
        return [hold for hold in every if app in (None, hold.app) or not hold.app if environment in (None, hold.environment)]

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

    # Clusters

    def clusters(self) -> list[Cluster]:
        """Return the registered clusters, by name."""
        table = t.clusters
        columns = [column for column in table.columns if column.name != "removed"]
        with self._engine.connect() as connection:
            return [Cluster(*row) for row in connection.execute(select(*columns).where(table.c.removed.is_(False)).order_by(table.c.name))]

    def last_cluster(self, name: str) -> int:
        """Return the version of the last kubeconfig that a name had, also when it was removed; 0 when it never had one."""
        statement = select(t.clusters.c.version).where(t.clusters.c.name == name)
        with self._engine.connect() as connection:
            return connection.execute(statement).scalar() or 0

    def enforced(self) -> list[tuple[str, str]]:
        """Return (cluster, namespace) of every place where a cluster refuses images by itself."""
        columns = t.enforcements.c
        with self._engine.connect() as connection:
            rows = connection.execute(select(columns.cluster, columns.namespace).order_by(columns.cluster, columns.namespace))
            return [(cluster, namespace) for cluster, namespace in rows]

    # Repositories and pushes

    def accepted(self, repository: str) -> str | None:
        """Return the last accepted commit of a delivery repository (law 9)."""
        return self._hosted().get(repository, (None, None, None))[1]

    def first_accepted(self, repository: str) -> str | None:
        """Return the commit of a delivery repository that was accepted before every other."""
        return self._hosted().get(repository, (None, None, None))[2]

    def hosted(self) -> set[str]:
        """Return the repositories whose creation is journalled."""
        return set(self._hosted())

    def deliveries(self) -> dict[str, str]:
        """Return {delivery repository: branch}."""
        return {name: branch for name, (branch, _accepted, _first) in self._hosted().items() if branch is not None}

    def _hosted(self) -> Mapping[str, tuple[str | None, str | None, str | None]]:
        """Return {repository: (branch, accepted commit, first accepted one)}, read again once an entry was about repositories."""
        changed = self._changes.of(REPOSITORIES)
        if self._repositories[0] != changed:
            columns = t.repositories.c
            with self._engine.connect() as connection:
                rows = connection.execute(select(columns.repository, columns.delivery_branch, columns.accepted, columns.first_accepted))
                self._repositories = (changed, {name: (branch, accepted, first) for name, branch, accepted, first in rows})
        return self._repositories[1]

    def expansions(self) -> tuple[int, tuple[Expansion, ...]]:
        """Return (the newest entry about generators, what every one of them makes), read again when that entry changed."""
        changed = self._changes.of(GENERATORS)
        if self._expansions[0] != changed:
            self._expansions = (changed, tuple(self._all(Expansion, select(t.generators.c.body).order_by(t.generators.c.name))))
        return self._expansions

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
        return next(iter(self._deployments.at(app, environment)), None)

    def job_runs(self, app: str, environment: str) -> list[JobRun]:
        """Return the runs of an application's Jobs in an environment, oldest first."""
        where = (t.job_runs.c.app == app, t.job_runs.c.environment == environment)
        return self._all(
            JobRun, select(t.job_runs.c.body).where(*where).order_by(t.job_runs.c.body["started_at"].as_string(), t.job_runs.c.run)
        )

    def deployments(self) -> list[Deployment]:
        """Return all last observations."""
        return sorted(self._deployments.all(), key=lambda seen: (seen.app, seen.environment))

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

    def adoptions(self, app: str | None = None, environment: str | None = None, *, ended: bool = False) -> list[Adoption]:
        """Return adoptions that wait (with `ended`: all), oldest first."""
        every = self._all(Adoption, select(t.adoptions.c.body).order_by(t.adoptions.c.seq)) if ended else self._adoptions.all()
        return [one for one in every if app in (None, one.app) and environment in (None, one.environment)]

    def drift_sums(self) -> list[DriftSum]:
        """Return how many cases of drift there were, and how long they took, by place, kind and state."""
        columns = (t.drifts.c.app, t.drifts.c.environment, t.drifts.c.kind, t.drifts.c.state)
        statement = select(*columns, func.count(), func.sum(t.drifts.c.seconds)).group_by(*columns).order_by(*columns)
        with self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return [DriftSum(app, place, kind, DriftState(state), count, seconds) for app, place, kind, state, count, seconds in rows]

    def drift_writers(self) -> list[DriftWriter]:
        """Return how many cases each writer made of each field, by environment and kind, in the order in which they were first seen."""
        columns = (t.drifts.c.environment, t.drifts.c.kind, t.drifts.c.field, t.drifts.c.writer)
        statement = select(*columns, func.count()).group_by(*columns).order_by(func.min(t.drifts.c.seq))
        with self._engine.connect() as connection:
            return [DriftWriter(*row) for row in connection.execute(statement).all()]

    # Inventories

    def inventories(self) -> list[Inventory]:
        """Return what applications have made in environments."""
        return self._all(Inventory, select(t.inventories.c.body).order_by(t.inventories.c.app, t.inventories.c.environment))

    def hook_set(self, app: str, environment: str) -> HookSet | None:
        """Return the hooks of the version that came last to an environment."""
        where = (t.hook_sets.c.app == app, t.hook_sets.c.environment == environment)
        return next(iter(self._all(HookSet, select(t.hook_sets.c.body).where(*where))), None)

    def approved_losses(self, promotion: str) -> tuple[str, ...]:
        """Return the objects whose removal people approved with a promotion."""
        found = self.promotion(promotion)
        if found is None or found.verdict is None or not any(reason.code == "APPROVED" for reason in found.verdict.reasons):
            return ()
        return tuple(loss.partition(":")[0] for loss in found.losses)

    # Rollouts

    def rollout(self, app: str, environment: str) -> Rollout | None:
        """Return the newest rollout of an application in an environment."""
        return next(iter(self._rollouts.at(app, environment)), None)

    def rollouts(self) -> list[Rollout]:
        """Return the newest rollout of every place."""
        return sorted(self._rollouts.all(), key=lambda rollout: (rollout.app, rollout.environment))
