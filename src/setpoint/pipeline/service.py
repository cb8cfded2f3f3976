"""Begins runs and carries them to their end: load facts, decide, journal, act.

Called by the control loop; a run that a stopped server left behind is simply advanced again: tasks whose result is journalled are not run
twice. It never executes a process itself (the executor does) and never signs anything.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.core import clock, ids, records
from setpoint.core.documents import UNREADABLE
from setpoint.core.errors import ConfigError, ConflictError, Finding, SetpointError, UserError, WorldError
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline import decide
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline
from setpoint.pipeline.decide import cancelled_text, superseded
from setpoint.pipeline.model import Outcome, Run, RunState, TaskResult, TaskState
from setpoint.pipeline.ports import RunProducts, RunRecords
from setpoint.pipeline.prepared import PreparedTask
from setpoint.pipeline.slots import Places
from setpoint.pipeline.task import TaskRunner
from setpoint.pipeline.tasks import Task
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
        self._slots = Places(slots)
        self._active: dict[str, asyncio.Task[None]] = {}
        self._closing: dict[str, asyncio.Task[bool]] = {}
        """Runs that were cancelled and have not ended yet."""
        self._executing: dict[tuple[str, str], asyncio.Task[TaskResult]] = {}
        self._unwanted: dict[tuple[str, str], tuple[str, str]] = {}
        """Tasks that are being stopped by request -> (actor, the reason they end with)."""
        self._parked: set[str] = set()
        """Runs that only a person can move."""
        self._holding: set[str] = set()
        """Runs of which a task has had a slot since this server began."""
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
        """Start an asyncio task for every run that has not ended and has none; end those that were cancelled or are superseded.

        A run that waits for a person is left alone until the person has spoken: nothing else can move it.
        """
        runs = self._parts.records.open_runs()
        for run in runs:
            if run.cancelling or run.run in self._closing:
                self._close_later(run.run)
            elif run.run not in self._active and run.run not in self._parked:
                task = asyncio.create_task(self._advance(run), name=f"run {run.run}")
                self._active[run.run] = task
                task.add_done_callback(self._ended)
        for old, new in superseded(runs, self._began, self._supersedes):
            self._parts.recorder.record("run.cancelling", old.run, "setpoint", {"why": f"superseded by run {new.run}"})
            self._close_later(old.run)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.pop(task.get_name().removeprefix("run "), None)
        if not task.cancelled() and task.exception() is not None:
            log.error("run ended by a fault", exc_info=task.exception())

    def _began(self, run: Run) -> bool:
        """Say whether anything of a run was executed, or holds a slot to be."""
        records = self._parts.records
        return run.run in self._holding or bool(records.started(run.run)) or any(result.started_at for result in records.results(run.run))

    def _supersedes(self, run: Run) -> bool:
        try:
            return self.document(run.repository, run.revision).document.model.on.push.supersede
        except SetpointError:
            return False

    async def cancel(self, run: str, actor: str, why: str = "") -> RunState | None:
        """Stop a run: its tasks get TERM, then KILL; None when it is not running, or ended before it could be stopped.

        The wish is journalled first, so that a server that dies in between carries it out at its next start. RUNNING when the wish is
        there and its end cannot be written yet (a full disk): the loop goes on trying.
        """
        record = self._parts.records.run(run)
        if record is None or record.state is not RunState.RUNNING:
            return None
        if not record.cancelling:
            self._parts.recorder.record("run.cancelling", run, actor, {"why": why})
        try:
            return RunState.CANCELLED if await self._close_later(run) else None
        except WorldError as error:
            log.warning("run %s is cancelled, and its end waits: %s", run, error.render())
            return RunState.RUNNING

    async def cancel_task(self, run: str, task: str, actor: str, why: str = "") -> bool:
        """Stop one task that executes or waits for a slot; what needs it is skipped. False when it does neither."""
        executing = self._executing.get((run, task))
        if executing is None:
            return False
        self._unwanted[run, task] = (actor, cancelled_text(actor, why))
        executing.cancel()
        (ended,) = await asyncio.gather(executing, return_exceptions=True)
        self._unwanted.pop((run, task), None)
        return isinstance(ended, TaskResult) and ended.state is TaskState.CANCELLED

    async def resolve(self, run: str, task: str, outcome: Outcome, by: tuple[str, str]) -> TaskResult:
        """Journal what a person (actor, why) says of a lost task, and let the run go on.

        Raises:
            ConflictError: the task is not lost (SP239).
        """
        found = {result.task: result for result in self._parts.records.results(run)}.get(task)
        record = self._parts.records.run(run)
        if found is None or found.state is not TaskState.LOST or record is None or record.state is not RunState.RUNNING:
            state = found.state if found is not None else "not lost"
            raise ConflictError("SP239", f"the task is {state}: nobody has to say what became of it", where=f"{run}/{task}")
        result = await asyncio.to_thread(self._parts.tasks.resolve, found, outcome, *by)
        self._parked.discard(run)
        return result

    async def retry(self, run: str, actor: str, why: str = "") -> list[str]:
        """Let a run that failed or was cancelled go on, and return the tasks that are not green: they are prepared and executed anew.

        A task that must not run twice and was begun becomes lost: its probe or a person says first whether it happened.

        Raises:
            ConflictError: the run goes on, or passed (SP258).
            WorldError: which tasks must not run twice cannot be read just now (SP107); nothing is journalled.
        """
        found = self._parts.records.run(run)
        once = _once(await asyncio.to_thread(self._tasks, found)) if found is not None else set()
        record = self._parts.records.run(run)
        if record is None or record.state not in (RunState.FAILED, RunState.CANCELLED):
            state = record.state if record is not None else "unknown"
            what = f"the run is {state}: only one that failed or was cancelled can go on"
            raise ConflictError("SP258", what, where=run, fix=f"setpoint watch {run}")
        red = [result for result in self._parts.records.results(run) if not result.state.green]
        self._parts.recorder.record_all(decide.retried(record, red, once, (actor, why)))
        self._parked.discard(run)
        return [result.task for result in red]

    def _tasks(self, run: Run) -> Mapping[str, Task]:
        """Return the tasks of a run; none when its file holds faults, for then no task of it ever began.

        Raises:
            WorldError: the repository cannot be read just now (SP107): nobody knows what they are.
        """
        try:
            return self.document(run.repository, run.revision).tasks
        except UserError:
            return {}

    def queued(self, run: str) -> dict[str, int]:
        """Return {task: how many stand before it} of the tasks of a run that wait for a slot."""
        return self._slots.ahead(run)

    def glance(self, run: str, task: str) -> str:
        """Return where a task is just now, when it is elsewhere."""
        return self._parts.tasks.glance(run, task)

    async def stop(self) -> None:
        """Stop all work for a server that ends; the runs stay open and are taken up again at the next start."""
        self._parts.tasks.leave()
        active: list[asyncio.Task[Any]] = [*self._active.values(), *self._closing.values()]
        for task in active:
            task.cancel()
        await asyncio.gather(*active, return_exceptions=True)
        await self._parts.tasks.hang_up()

    def _close_later(self, run: str) -> asyncio.Task[bool]:
        """Return the asyncio task that ends a run and says whether it did, starting it if there is none."""
        if run not in self._closing:
            task = asyncio.create_task(self._close(run), name=run)
            self._closing[run] = task
            task.add_done_callback(self._closed)
        return self._closing[run]

    def _closed(self, task: asyncio.Task[bool]) -> None:
        self._closing.pop(task.get_name(), None)
        if not task.cancelled() and not isinstance(task.exception(), WorldError | None):
            log.error("run %s cannot be ended", task.get_name(), exc_info=task.exception())

    async def _close(self, run: str) -> bool:
        """End a cancelled run: stop what executes, then journal every task that was stopped and the run itself in one write."""
        task = self._active.get(run)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        record = self._parts.records.run(run)
        if record is None or record.state is not RunState.RUNNING:
            return False
        tasks = await asyncio.to_thread(self._tasks, record)
        started, results = self._parts.records.started(run), self._parts.records.results(run)
        lost = [result.task for result in results if result.state is TaskState.LOST]
        await self._parts.tasks.abandon(record, tasks, [*started, *lost])  # an earlier server may have ended before they did
        await asyncio.to_thread(self._parts.tasks.close, record, started, results, _once(tasks))
        self._parked.discard(run)
        return True

    async def _advance(self, run: Run) -> None:
        try:
            document = await asyncio.to_thread(self.document, run.repository, run.revision)
            results = await self._run_tasks(run, document)
            if any(result.state is TaskState.LOST for result in results.values()):
                self._park(run)
                return
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

    def _park(self, run: Run) -> None:
        """Leave a run alone until a person has said what became of its lost tasks, unless that happened in the meantime."""
        if any(result.state is TaskState.LOST for result in self._parts.records.results(run.run)):
            self._parked.add(run.run)

    async def _run_tasks(self, run: Run, document: PipelineDocument) -> dict[str, TaskResult]:
        """Run the graph: start what may start, settle what cannot, until nothing is left."""
        needs = {name: document.tasks[name].needs for name in document.order}
        results = {result.task: result for result in self._parts.records.results(run.run)}
        begun = self._parts.records.started(run.run)
        results.update({lost.task: lost for lost in self._parts.tasks.interrupted(run, document, begun)})
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
                    settled, left = await asyncio.to_thread(self._parts.tasks.settle, run, document, ready, results, begun)
                    results.update({result.task: result for result in settled})
                    running.update({asyncio.create_task(self._execute(task, begun=begun.get(task.name))): task.name for task in left})
                    await self._parts.tasks.abandon(run, document.tasks, [result.task for result in settled if result.task in begun])
                    if settled:
                        continue
                for name in decide.to_probe(document.tasks, results, set(running.values())):
                    prepared = await asyncio.to_thread(self._parts.tasks.prepare, run, document, name, results)
                    running[asyncio.create_task(self._execute(prepared, results[name]))] = name
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

    async def _execute(self, task: PreparedTask, lost: TaskResult | None = None, *, begun: str | None = None) -> TaskResult:
        """Execute a task, or ask whether a lost one happened, when it is its turn; begun is when an earlier server began it."""
        place = (task.run.run, task.name)
        current = asyncio.current_task()
        assert current is not None  # noqa: S101 - a coroutine runs in one
        self._executing[place] = current
        started_at, tasks = begun, self._parts.tasks
        try:
            async with self._slots.of(task.offer).one(task.run.created_at, *place):
                self._holding.add(task.run.run)
                started_at = clock.to_text(self._parts.clock.now())
                return await (tasks.execute(task, resumed=begun is not None) if lost is None else tasks.probe(task, lost))
        except asyncio.CancelledError:
            if place not in self._unwanted:
                raise
            current.uncancel()
            tasks.release(task)  # begun by an earlier server, it may run although it waits for a slot here
            return await asyncio.to_thread(tasks.cancelled, task, started_at, *self._unwanted.pop(place))
        finally:
            self._executing.pop(place, None)

    def _finish(self, run: Run, state: RunState, error: str) -> None:
        self._parts.recorder.record("run.finished", run.run, "setpoint", {"state": state.value, "error": error})


def _once(tasks: Mapping[str, Task]) -> set[str]:
    return {name for name, config in tasks.items() if config.once}


def as_pending(
    run: Run, document: PipelineDocument, results: list[TaskResult], started: Mapping[str, str], queued: Mapping[str, int]
) -> list[TaskResult]:
    """Return one result per task of the pipeline, in order, with what has not ended as pending or running (for people).

    `queued` says how many stand before a task that waits for a slot.
    """
    by_name = {result.task: result for result in results}
    empty = decide.empty_manifest()
    rows = []
    for name in document.order:
        state = TaskState.RUNNING if name in started else TaskState.PENDING
        why = f"waits for a slot, {queued[name]} ahead" if state is TaskState.PENDING and name in queued else ""
        rows.append(by_name.get(name) or TaskResult(run.run, name, state, "", empty, started_at=started.get(name), reason=why))
    return rows
