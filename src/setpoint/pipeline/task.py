"""One task of a run: its key, its reuse, its execution, and what it leaves behind.

Called by the pipeline service; a task's facts are journalled here, and nowhere else.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from setpoint.core import clock, records
from setpoint.core.errors import SetpointError, UserError, WorldError
from setpoint.ground.journal.model import Fact
from setpoint.pipeline import decide, elsewhere, threads
from setpoint.pipeline.config import PipelineDocument
from setpoint.pipeline.model import (
    LogRecord,
    NotStartedError,
    Outcome,
    Run,
    RunState,
    ScanFormat,
    StoredFile,
    TaskCommand,
    TaskExit,
    TaskResult,
    TaskState,
)
from setpoint.pipeline.offers import Offer
from setpoint.pipeline.prepared import PreparedTask, TaskParts, archives_of, command_of, inputs_of, preparing, secret_values
from setpoint.pipeline.redaction import holds, masked
from setpoint.pipeline.tasks import Task
from setpoint.pipeline.written import ReportConfig

REPORT_LIMIT_BYTES = 64 << 20
ATTEMPTS = 3
"""How often a task is begun when the runner dies under it; a task that takes its runner along must not do so for ever."""


class TaskRunner:
    """Prepares, reuses, executes and skips tasks."""

    def __init__(self, parts: TaskParts) -> None:
        self._parts = parts

    def settle(
        self, run: Run, document: PipelineDocument, names: Sequence[str], results: Mapping[str, TaskResult], begun: Mapping[str, str]
    ) -> tuple[list[TaskResult], list[PreparedTask]]:
        """Settle what an earlier green result proves, and prepare the rest: (journalled results, tasks to execute).

        A whole wave of startable tasks at once: one reading of the tree, one write to the journal. A task whose `inputs:` match nothing
        is settled as failed, with the reason. One of `once` that an earlier server began ({task: started_at}) is lost instead.
        """
        prepare = preparing(self._parts, run, document, results)
        settled: list[TaskResult] = []
        lost: list[TaskResult] = []
        left: list[PreparedTask] = []
        for name in names:
            try:
                task = prepare(name)
            except UserError as error:
                failed = decide.unprepared(run.run, name, f"{error.code}: {error.what}", begun.get(name), once=document.tasks[name].once)
                (lost if failed.state is TaskState.LOST else settled).append(failed)
                continue
            reused = self._reuse(task) if not task.config.once else None
            settled += [reused] if reused is not None else []
            left += [task] if reused is None else []
        if settled:
            self._parts.recorder.record_all([_finished(result) for result in settled])
        return [*settled, *(self.lose(result) for result in lost)], left

    def prepare(self, run: Run, document: PipelineDocument, name: str, results: Mapping[str, TaskResult]) -> PreparedTask:
        """Return a task with everything its key covers.

        Raises:
            UserError: its inputs match nothing (SP230), it takes what is not there (SP234), or is not given a secret (SP238, SP252).
        """
        return preparing(self._parts, run, document, results)(name)

    def _reuse(self, task: PreparedTask) -> TaskResult | None:
        """Return the result that an earlier green one under the same key proves, if its content is still here."""
        found = self._parts.cache.get(task.run.trust, task.key)
        if not decide.reusable(task.config, found, self._parts.clock.now()) or found is None:
            return None
        kept = [found.outputs, *found.reports.values()]
        if any(file is not None and self._parts.content.path(file.digest) is None for file in kept):
            return None
        if (found.run, found.task) == (task.run.run, task.name):
            # This very run made it, and the server ended before it could say so.
            return found
        origin = found.origin_run or found.run
        why = f"unchanged since run {origin}: the same key is green"
        return replace(found, run=task.run.run, task=task.name, state=TaskState.REUSED, origin_run=origin, reason=why)

    async def execute(self, task: PreparedTask, *, resumed: bool = False) -> TaskResult:
        """Run the task in its sandbox and journal what came of it; the entry that it starts is on the disk before anything is executed.

        Resumed says that an earlier server began it where it may still run: it is taken over, and its log goes on.
        Entries are written in threads, for a slow disk must not hold up the event loop. Who is cancelled meanwhile waits for them, and an
        end that was journalled stands.
        """
        started_at = clock.to_text(self._parts.clock.now())
        task_id, resumed = task.task_id, resumed and task.offer is not None
        if not resumed:
            _, cancelled = await threads.to_the_end(self._begin, task)
            if cancelled:
                raise asyncio.CancelledError
        try:
            ended: TaskExit | SetpointError = await self._attempt(task, task_id, decide.argv(task.config), _attempts(task), resumed=resumed)
        except SetpointError as error:
            ended = error
        except BaseException:
            self.release(task)  # also what an attempt before this one left
            await asyncio.to_thread(self._parts.workspaces.remove, task_id)
            raise
        result, cancelled = await threads.to_the_end(self._wind_up, task, task_id, ended, started_at)
        self.release(task)
        if cancelled and (current := asyncio.current_task()) is not None:
            current.uncancel()
        return result

    def _begin(self, task: PreparedTask) -> None:
        self._parts.recorder.record("task.started", task.run.run, "setpoint", {"task": task.name, "key": task.key})
        self._parts.logs.truncate(task.run.run, task.name)

    def _wind_up(self, task: PreparedTask, task_id: str, ended: TaskExit | SetpointError, started_at: str) -> TaskResult:
        """Turn an exit into a journalled result, keep it for reuse and delete the workspace: one way to a thread and back for all of it.

        A fault of the journal goes on to the caller: it is not the task's.
        """
        try:
            if isinstance(ended, SetpointError):
                raise ended
            result = self._conclude(task, ended, started_at)
            if result.state.green and not task.config.once:
                self._parts.cache.put(task.run.trust, result)
        except SetpointError as error:
            self._note(task, error.render())
            result = replace(self._result(task, started_at), state=TaskState.FAILED, reason=f"{error.code}: {error.what}")
        finally:
            self._parts.workspaces.remove(task_id)
        return self.lose(result) if result.state is TaskState.LOST else self._record(result)

    async def probe(self, task: PreparedTask, lost: TaskResult) -> TaskResult:
        """Ask the declared probe whether a lost task happened; a probe changes nothing, so it may be asked again after a crash."""
        parts = self._parts
        task_id = f"{task.task_id}-probe"
        self._note(task, "the probe is asked whether it happened")
        try:
            ended = await self._attempt(task, task_id, decide.shell(task.config.probe or "exit 2"), ATTEMPTS)
            status, said = (ended.exit_code, f"status {ended.exit_code}") if ended.how == "exited" else (None, ended.detail or ended.how)
        except SetpointError as error:
            status, said = None, f"{error.code}: {error.what}"
        finally:
            await asyncio.to_thread(parts.workspaces.remove, task_id)
            self._release(task_id, task.offer)
        if status == 0:
            return self.resolve(lost, Outcome.PASSED, "setpoint", "the probe says that it happened")
        if status == 1:
            self.resolve(lost, Outcome.AGAIN, "setpoint", "the probe says that it did not happen")
            return await self.execute(task)
        return self.lose(replace(lost, probed=True, reason=f"{lost.reason}; the probe does not know ({said})"))

    def lose(self, result: TaskResult) -> TaskResult:
        """Journal that whether a task happened is not known."""
        self._note_of(result, result.reason)
        self._parts.recorder.record("task.lost", result.run, "setpoint", records.encode(result))
        return result

    def resolve(self, lost: TaskResult, outcome: Outcome, actor: str, why: str) -> TaskResult:
        """Journal what a probe or a person says of a lost task, and the result that follows from it."""
        said = Fact("task.resolved", lost.run, actor, {"task": lost.task, "outcome": outcome.value, "why": why})
        self._note_of(lost, f"{outcome}: {why}")
        if outcome is Outcome.AGAIN:
            self._parts.recorder.record_all([said])
            return replace(lost, state=TaskState.PENDING, reason=why)
        state = TaskState.PASSED if outcome is Outcome.PASSED else TaskState.FAILED
        ended = replace(lost, state=state, finished_at=clock.to_text(self._parts.clock.now()), reason=why)
        self._parts.recorder.record_all([said, replace(_finished(ended), actor=actor)])
        return ended

    def cancelled(self, task: PreparedTask, started_at: str | None, actor: str, why: str) -> TaskResult:
        """Journal that a task was stopped by request."""
        unknown = "; whether it happened is not known" if task.config.once and started_at is not None else ""
        result = replace(self._result(task, started_at or ""), state=TaskState.CANCELLED, started_at=started_at, reason=why + unknown)
        self._note_of(result, result.reason)
        self._parts.recorder.record_all([replace(_finished(result), actor=actor)])
        return result

    def interrupted(self, run: Run, document: PipelineDocument, started: Mapping[str, str]) -> list[TaskResult]:
        """Journal as lost what must not run twice and was begun by a server that died: nothing of it runs now."""
        empty = decide.empty_manifest()
        why = f"the server ended while it ran: {decide.UNKNOWN}"
        return [
            self.lose(TaskResult(run.run, name, TaskState.LOST, "", empty, started_at=at, reason=why))
            for name, at in started.items()
            if name in document.tasks and document.tasks[name].once and not self.outlives(document.tasks[name])
        ]

    def outlives(self, config: Task) -> bool:
        """Say whether a task goes on where it runs when this server ends."""
        return config.executor is not None and self._parts.remote is not None

    def glance(self, run: str, name: str) -> str:
        """Return where a task is just now, when it is elsewhere."""
        return self._parts.remote.glance(f"{run}-{name}") if self._parts.remote is not None else ""

    def leave(self) -> None:
        """Let go of what runs elsewhere: the next server takes it over."""
        if self._parts.remote is not None:
            self._parts.remote.leave()

    async def hang_up(self) -> None:
        """End the connections to where tasks run."""
        if self._parts.remote is not None:
            await self._parts.remote.close()

    def release(self, task: PreparedTask) -> None:
        """Let go of what is left of a task elsewhere."""
        self._release(task.task_id, task.offer)

    async def abandon(self, run: Run, tasks: Mapping[str, Task], names: Iterable[str]) -> None:
        """Let go of tasks that were begun and that nobody follows; of one whose executor is not offered any more it is logged."""
        if self._parts.offers is not None:
            for task_id, offer in await asyncio.to_thread(elsewhere.left, self._parts.offers, run, tasks, names):
                self._release(task_id, offer)

    def _release(self, task_id: str, offer: Offer | None) -> None:
        if self._parts.remote is not None and offer is not None:
            self._parts.remote.release(TaskCommand(task_id, (), {}, network=True, timeout_s=0, offer=offer))

    def close(self, run: Run, started: Mapping[str, str], results: Sequence[TaskResult], once: set[str]) -> None:
        """Journal the end of a cancelled run, and of every task that was stopped or waited for a person, in one write.

        Of a stopped task of `once` it is said that nobody knows whether it happened.
        """
        now = clock.to_text(self._parts.clock.now())
        empty = decide.empty_manifest()
        stopped = [
            TaskResult(run.run, name, TaskState.CANCELLED, "", empty, started_at=at, reason=decide.UNKNOWN if name in once else "")
            for name, at in started.items()
        ]
        stopped += [result for result in results if result.state is TaskState.LOST]
        ended = [
            _finished(
                replace(one, state=TaskState.CANCELLED, finished_at=now, reason="; ".join(filter(None, (run.cancelling, one.reason))))
            )
            for one in stopped
        ]
        body = {"state": RunState.CANCELLED.value, "error": run.cancelling}
        self._parts.recorder.record_all([*ended, Fact("run.finished", run.run, "setpoint", body)])

    async def _attempt(self, task: PreparedTask, task_id: str, argv: tuple[str, ...], attempts: int, *, resumed: bool = False) -> TaskExit:
        """Execute in a fresh workspace; again when the runner was lost, as after a crash of the server, but not for ever (law 5)."""
        parts = self._parts
        command = await asyncio.to_thread(command_of, parts, task, task_id, argv, resumed=resumed)
        executor = parts.remote if task.offer is not None and parts.remote is not None else parts.executor
        for attempt in range(1, attempts + 1):
            command = replace(command, attempt=attempt, resumed=resumed and attempt == 1, logged=command.logged if attempt == 1 else 0)
            await asyncio.to_thread(parts.workspaces.create, task_id, inputs_of(parts, task), archives_of(parts, task))
            try:
                ended = await executor.execute(command, lambda lines: parts.logs.append(task.run.run, task.name, lines))
            except NotStartedError as error:
                if attempt == attempts:
                    raise
                ended = TaskExit("lost", None, error.what)
            except WorldError as error:
                if attempt == attempts and not task.config.once:
                    raise
                ended = TaskExit("lost", None, error.what)
            if ended.how != "lost" or attempt == attempts:
                break
            self._note(task, f"{ended.detail or 'the task was lost'}; it is run again")
        return ended

    def skip(self, run: Run, reasons: Mapping[str, str]) -> list[TaskResult]:
        """Journal that tasks can never start, each with why: one write for all of them."""
        empty = decide.empty_manifest()
        skipped = [TaskResult(run.run, name, TaskState.SKIPPED, "", empty, reason=why) for name, why in reasons.items()]
        self._parts.recorder.record_all([_finished(result) for result in skipped])
        return skipped

    def _result(self, task: PreparedTask, started_at: str) -> TaskResult:
        finished_at = clock.to_text(self._parts.clock.now())
        return TaskResult(
            run=task.run.run,
            task=task.name,
            state=TaskState.FAILED,
            key=task.key,
            manifest=task.manifest,
            started_at=started_at,
            finished_at=finished_at,
            networked=task.config.network or any(result.networked for result in task.upstream.values()),
        )

    def _conclude(self, task: PreparedTask, ended: TaskExit, started_at: str) -> TaskResult:
        """Turn an exit into a result: reports are kept even of a failed task, outputs only of a good one."""
        result = self._result(task, started_at)
        result = replace(result, exit_code=ended.exit_code, reports=self._reports(task))
        if ended.how == "lost" and task.config.once:
            why = f"{ended.detail or 'the task was lost'}: {decide.UNKNOWN}"
            return replace(result, state=TaskState.LOST, finished_at=None, reason=why)
        if ended.how != "exited":
            state = {"timed-out": TaskState.TIMED_OUT, "cancelled": TaskState.CANCELLED}.get(ended.how, TaskState.FAILED)
            return replace(result, state=state, reason=ended.detail or f"the task was {ended.how}")
        if ended.exit_code != 0:
            return replace(result, reason=": ".join(filter(None, (f"exit status {ended.exit_code}", ended.detail))))
        missing = [path for kind, path in task.config.leaves.items() if kind not in result.reports]
        outputs, unmatched = self._outputs(task)
        missing += unmatched
        if missing:
            return replace(result, reason=f"declared but not made: {', '.join(missing)}")
        fault = self._report_fault(task, result.reports)
        if fault:
            self._note(task, fault)
            return replace(result, reason=fault)
        return replace(result, state=TaskState.PASSED, outputs=outputs, reason="")

    def _reports(self, task: PreparedTask) -> dict[str, StoredFile]:
        found: dict[str, StoredFile] = {}
        for kind, path in task.config.leaves.items():
            report = task.config.reports.get(kind)
            limit = report.limit_bytes if report is not None else REPORT_LIMIT_BYTES
            data = self._parts.workspaces.read(task.task_id, path, limit)
            if data is not None:
                found[kind] = self._parts.content.put(
                    masked(data, secret_values(self._parts, task).values()) if task.config.secrets else data
                )
        return found

    def _report_fault(self, task: PreparedTask, reports: Mapping[str, StoredFile]) -> str:
        """Return why the first unusable report is unusable, with the place in it; empty when all can be used."""
        for name, report in task.config.reports.items():
            with self._parts.content.open(reports[name].digest) as file:
                data = file.read(report.limit_bytes + 1)
            if report.format is not None:
                fault = self._scan_fault(task, report.format, (name, report.file), data)
            else:
                fault = self._schema_fault(task, report, data)
            if fault:
                return fault
        return ""

    def _scan_fault(self, task: PreparedTask, format_: ScanFormat, called: tuple[str, str], data: bytes) -> str:
        """Return why a scanner's report cannot be used; what it says is noted in the log."""
        name, path = called
        found = self._parts.scans.summary(format_, data)
        if found.fault:
            return f"{path} cannot be used as {format_}: {found.fault}"
        self._note(task, f"{name}: {found.says}")
        if found.incomplete:
            self._note(task, f"{name} does not count as passed: {found.incomplete}")
        return ""

    def _schema_fault(self, task: PreparedTask, report: ReportConfig, data: bytes) -> str:
        blob = next((file.blob for file in task.files if file.path == report.schema_), None)
        if blob is None:
            return f"{report.file}: the schema {report.schema_} is no file of this revision"
        fault = self._parts.reports.fault(self._parts.git.blob(task.run.repository, blob), data)
        return f"{report.file} does not keep to {report.schema_}: {fault}" if fault else ""

    def _outputs(self, task: PreparedTask) -> tuple[StoredFile | None, list[str]]:
        if not task.config.outputs:
            return None, []
        scratch = self._parts.content.scratch()
        unmatched = self._parts.workspaces.collect(task.task_id, task.config.outputs, scratch)
        told = (
            sorted(name for name, value in secret_values(self._parts, task).items() if holds(scratch, value)) if task.config.secrets else []
        )
        if unmatched or told:
            scratch.unlink(missing_ok=True)
        if told:
            fix = "leave the secret out of what the task writes"
            raise UserError(
                "SP255", f"the outputs hold the value of the secret in {', '.join(told)}: nothing is kept", where=task.name, fix=fix
            )
        if unmatched:
            return None, unmatched
        return self._parts.content.put_file(scratch), []

    def _note(self, task: PreparedTask, text: str) -> None:
        self._write_note(task.run.run, task.name, text)

    def _note_of(self, result: TaskResult, text: str) -> None:
        self._write_note(result.run, result.task, text)

    def _write_note(self, run: str, task: str, text: str) -> None:
        self._parts.logs.append(run, task, [LogRecord(0, clock.to_text(self._parts.clock.now()), "note", text)])

    def _record(self, result: TaskResult) -> TaskResult:
        self._parts.recorder.record_all([_finished(result)])
        return result


def _attempts(task: PreparedTask) -> int:
    return 1 if task.config.once else ATTEMPTS


def _finished(result: TaskResult) -> Fact:
    return Fact("task.finished", result.run, "setpoint", records.encode(result))
