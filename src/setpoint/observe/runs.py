"""A run as people see it: its tasks with their times, its artifacts and evidence; called by the API, reads only."""

from dataclasses import replace

from setpoint.core import clock
from setpoint.core.errors import ConfigError, NotFoundError
from setpoint.observe.model import RunReport, TaskRow
from setpoint.observe.ports import Facts
from setpoint.pipeline.model import Run, RunState, TaskResult, TaskState
from setpoint.pipeline.service import PipelineService, as_pending
from setpoint.pipeline.tasks import Task


class RunsView:
    """Answers `runs`, `watch` and the run page."""

    def __init__(self, facts: Facts, pipeline: PipelineService) -> None:
        self._facts = facts
        self._pipeline = pipeline

    def find(self, text: str) -> Run:
        """Return a run by id, unique beginning of an id, commit, or `latest`.

        Raises:
            NotFoundError: there is none (SP703).
        """
        exact = self._facts.run(text)
        if exact is not None:
            return exact
        runs = self._facts.runs(limit=1000)
        if text == "latest" and runs:
            return runs[0]
        found = [run for run in runs if run.run.startswith(text) or run.revision.startswith(text)]
        if len(found) != 1:
            what = (
                f"{len(found)} runs begin with `{text}`"
                if found
                else ("there is no run yet" if text == "latest" else f"there is no run `{text}`")
            )
            raise NotFoundError("SP703", what, fix="setpoint runs lists them")
        return found[0]

    def report(self, text: str) -> RunReport:
        """Return a run with everything about it (see `find`)."""
        run = self.find(text)
        rows = tuple(self._rows(run))
        return RunReport(run, rows, tuple(self._facts.artifacts(run=run.run)), tuple(self._facts.evidence(run=run.run)))

    def _rows(self, run: Run) -> list[TaskRow]:
        results = list(self._facts.results(run.run))
        try:
            document = self._pipeline.document(run.repository, run.revision)
        except ConfigError:
            return [_row(run, result, None) for result in results]
        every = as_pending(run, document, results, self._facts.started(run.run), self._pipeline.queued(run.run))
        rows = [_row(run, result, document.tasks[result.task]) for result in every]
        return [replace(row, place=self._pipeline.glance(run.run, row.task)) if row.state == "running" else row for row in rows]


def _row(run: Run, result: TaskResult, task: Task | None) -> TaskRow:
    seconds = clock.seconds_between(result.started_at, result.finished_at) if result.started_at and result.finished_at else None
    state = result.state
    if not state.ended and run.state is not RunState.RUNNING:
        state = TaskState.CANCELLED
    return TaskRow(
        task=result.task,
        state=state,
        needs=tuple(task.needs) if task is not None else (),
        started_at=result.started_at,
        finished_at=result.finished_at,
        seconds=seconds,
        exit_code=result.exit_code,
        origin_run=result.origin_run,
        reason=result.reason,
        networked=result.networked,
        key=result.key,
        family=task.family if task is not None else result.task,
        cell=dict(task.cell) if task is not None else {},
        sandbox=_sandbox(result, task),
        executor=(task.executor or "") if task is not None else "",
    )


def _sandbox(result: TaskResult, task: Task | None) -> str:
    if task is None:
        return result.manifest.sandbox or "bubblewrap"
    return task.sandbox if task.executor is None else "kubernetes"
