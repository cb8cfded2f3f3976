"""Begins runs and carries them to their end: load facts, decide, journal, act.

Called by the control loop; a run that a stopped server left behind is simply advanced again: tasks whose result is journalled are not run
twice. It never executes a process itself (the executor does) and never signs anything.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from setpoint.core import clock, ids, records
from setpoint.core.documents import UNREADABLE
from setpoint.core.errors import ConfigError, Finding, SetpointError, UserError, WorldError
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline import decide
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline
from setpoint.pipeline.model import Run, RunState, TaskResult, TaskState
from setpoint.pipeline.ports import RunProducts, RunRecords
from setpoint.pipeline.task import PreparedTask, TaskRunner
from setpoint.source.model import Revision
from setpoint.source.ports import GitStore

log = logging.getLogger(__name__)

PIPELINE_PATH = ".setpoint/pipeline.yaml"
LOCK_PATH = ".setpoint/lock.yaml"
_DOCUMENTS = 16


@dataclass(frozen=True, slots=True)
class RunParts:
    """What the service works with; one frozen bundle instead of a row of parameters."""

    git: GitStore
    tasks: TaskRunner
    records: RunRecords
    recorder: Recorder
    products: RunProducts
    clock: clock.Clock


class PipelineService:
    """Runs of this home; `slots` tasks execute at the same time over all runs."""

    def __init__(self, parts: RunParts, slots: int) -> None:
        self._parts = parts
        self._slots = asyncio.Semaphore(slots)
        self._active: dict[str, asyncio.Task[None]] = {}
        self._documents: dict[tuple[bytes, bytes | None], PipelineDocument] = {}
        """The last pipeline files and what they mean: most revisions have the file of the one before."""

    def begin(self, branch: str, revision: Revision, pusher: str) -> Run | None:
        """Journal a new run for a head whose pipeline wants this branch; None when there is no pipeline or a run already.

        A pipeline file with faults still gets a run, which fails with every finding as its error: a push must never vanish.
        """
        parts = self._parts
        blob = parts.git.tree_id(revision.repository, revision.commit, PIPELINE_PATH)
        if blob is None or parts.records.run_for(revision.repository, revision.commit) is not None:
            return None
        error = ""
        try:
            document = self.document(revision.repository, revision.commit)
            if not document.starts_for(branch):
                return None
        except UserError as fault:
            error = fault.render()
        run = Run(
            run=ids.identifier("r", revision.repository, revision.commit),
            repository=revision.repository,
            ref=f"refs/heads/{branch}",
            revision=revision.commit,
            tree=revision.tree,
            title=revision.title,
            author=revision.author_email,
            pusher=pusher,
            state=RunState.RUNNING,
            created_at=clock.to_text(parts.clock.now()),
            pipeline=blob,
        )
        parts.recorder.record("run.created", run.run, "setpoint", records.encode(run))
        if error:
            self._finish(run, RunState.FAILED, error)
        return run

    def document(self, repository: str, commit: str) -> PipelineDocument:
        """Return the pipeline of a revision.

        Raises:
            ConfigError: with every finding in the file.
        """
        git = self._parts.git
        lock_data = git.read(repository, commit, LOCK_PATH)
        data = git.read(repository, commit, PIPELINE_PATH)
        if data is None:
            raise ConfigError([Finding(UNREADABLE, "it is a folder or a link, not a file", PIPELINE_PATH, fix="commit it as a plain file")])
        known = self._documents.get((data, lock_data))
        if known is None:
            lock = parse_lock(lock_data, LOCK_PATH) if lock_data is not None else {}
            known = parse_pipeline(data, PIPELINE_PATH, lock)
            while len(self._documents) >= _DOCUMENTS:
                self._documents.pop(next(iter(self._documents)), None)
            self._documents[data, lock_data] = known
        return known

    def resume(self) -> None:
        """Start an asyncio task for every run that has not ended and has none."""
        for run in self._parts.records.open_runs():
            if run.run not in self._active:
                task = asyncio.create_task(self._advance(run), name=f"run {run.run}")
                self._active[run.run] = task
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.pop(task.get_name().removeprefix("run "), None)
        if not task.cancelled() and task.exception() is not None:
            log.error("run ended by a fault", exc_info=task.exception())

    async def cancel(self, run: str) -> bool:
        """Stop a run: its tasks get TERM, then KILL; False when it is not running, or ended before it could be stopped."""
        task = self._active.get(run)
        if task is None:
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        record = self._parts.records.run(run)
        if record is None or record.state is not RunState.RUNNING:
            return False
        self._finish(record, RunState.CANCELLED, "cancelled by request")
        return True

    async def stop(self) -> None:
        """Stop all work for a server that ends; the runs stay open and are taken up again at the next start."""
        active = list(self._active.values())
        for task in active:
            task.cancel()
        await asyncio.gather(*active, return_exceptions=True)

    async def _advance(self, run: Run) -> None:
        try:
            document = await asyncio.to_thread(self.document, run.repository, run.revision)
            results = await self._run_tasks(run, document)
            faults = await self._parts.products.produce(run, document, results)
        except WorldError as error:
            # The run stays open: the next pass takes it up again, and what is journalled is not done twice.
            log.warning("run %s waits: %s", run.run, error.render())
            await asyncio.sleep(error.retry_after_s)
            return
        except SetpointError as error:
            self._finish(run, RunState.FAILED, error.render())
            return
        state = decide.conclusion(result.state for result in results.values()) or RunState.FAILED
        self._finish(run, RunState.FAILED if faults else state, "\n".join(faults))

    async def _run_tasks(self, run: Run, document: PipelineDocument) -> dict[str, TaskResult]:
        """Run the graph: start what may start, settle what cannot, until nothing is left."""
        needs = {name: document.tasks[name].needs for name in document.order}
        results = {result.task: result for result in self._parts.records.results(run.run)}
        running: dict[asyncio.Task[TaskResult], str] = {}
        try:
            while True:
                states = self._states(needs, results, running)
                skipped = decide.skipped(needs, states)
                if skipped:
                    results.update({result.task: result for result in self._parts.tasks.skip(run, skipped)})
                    states.update(dict.fromkeys(skipped, TaskState.SKIPPED))
                ready = decide.startable(needs, states)
                if ready:
                    settled, left = await asyncio.to_thread(self._parts.tasks.settle, run, document, ready, results)
                    results.update({result.task: result for result in settled})
                    running.update({asyncio.create_task(self._execute(task)): task.name for task in left})
                    if settled:
                        continue
                if not running:
                    return results
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    results[running.pop(task)] = task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @staticmethod
    def _states(
        needs: Mapping[str, object], results: Mapping[str, TaskResult], running: Mapping[asyncio.Task[TaskResult], str]
    ) -> dict[str, TaskState]:
        states = {name: results[name].state if name in results else TaskState.PENDING for name in needs}
        states.update(dict.fromkeys(running.values(), TaskState.RUNNING))
        return states

    async def _execute(self, task: PreparedTask) -> TaskResult:
        async with self._slots:
            return await self._parts.tasks.execute(task)

    def _finish(self, run: Run, state: RunState, error: str) -> None:
        self._parts.recorder.record("run.finished", run.run, "setpoint", {"state": state.value, "error": error})


def as_pending(run: Run, document: PipelineDocument, results: list[TaskResult], started: Mapping[str, str]) -> list[TaskResult]:
    """Return one result per task of the pipeline, in order, with what has not ended as pending or running (for people)."""
    by_name = {result.task: result for result in results}
    empty = decide.empty_manifest()
    rows = []
    for name in document.order:
        state = TaskState.RUNNING if name in started else TaskState.PENDING
        rows.append(by_name.get(name) or TaskResult(run.run, name, state, "", empty, started_at=started.get(name)))
    return rows
