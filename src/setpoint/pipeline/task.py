"""One task of a run: its key, its reuse, its execution, and what it leaves behind.

Called by the pipeline service; a task's facts are journalled here, and nowhere else.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock, records
from setpoint.core.errors import SetpointError, UserError, WorldError
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline import decide
from setpoint.pipeline.config import PipelineDocument, select_inputs
from setpoint.pipeline.model import Archive, KeyManifest, LogRecord, Run, StoredFile, Taken, TaskCommand, TaskExit, TaskResult, TaskState
from setpoint.pipeline.ports import ContentStore, Executor, OutputIndex, TaskCache, TaskLogs, Toolchain, Workspaces
from setpoint.pipeline.tasks import Task
from setpoint.source.model import TreeFile
from setpoint.source.ports import GitStore

REPORT_LIMIT_BYTES = 64 << 20
ATTEMPTS = 3
"""How often a task is begun when the runner dies under it; a task that takes its runner along must not do so for ever."""


@dataclass(frozen=True, slots=True)
class TaskParts:
    """What executing a task works with."""

    git: GitStore
    executor: Executor
    workspaces: Workspaces
    content: ContentStore
    index: OutputIndex
    cache: TaskCache
    logs: TaskLogs
    toolchain: Toolchain
    recorder: Recorder
    clock: clock.Clock


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task with everything its key covers."""

    run: Run
    name: str
    config: Task
    files: Sequence[TreeFile]
    upstream: Mapping[str, TaskResult]
    manifest: KeyManifest
    key: str


class _InputChoice:
    """The inputs of a wave of tasks; tasks that declare the same patterns share one choice and one root."""

    def __init__(self, files: Sequence[TreeFile]) -> None:
        self._files = files
        self._found: dict[tuple[str, ...] | None, tuple[list[TreeFile], str]] = {}

    def of(self, patterns: Sequence[str] | None) -> tuple[list[TreeFile], str]:
        """Return the files that the patterns choose and their input root; UserError SP230 when one matches nothing."""
        key = None if patterns is None else tuple(patterns)
        if key not in self._found:
            chosen = select_inputs(patterns, self._files)
            self._found[key] = chosen, decide.input_root(chosen)
        return self._found[key]


class TaskRunner:
    """Prepares, reuses, executes and skips tasks."""

    def __init__(self, parts: TaskParts) -> None:
        self._parts = parts

    def settle(
        self, run: Run, document: PipelineDocument, names: Sequence[str], results: Mapping[str, TaskResult]
    ) -> tuple[list[TaskResult], list[PreparedTask]]:
        """Settle what an earlier green result proves, and prepare the rest: (journalled results, tasks to execute).

        A whole wave of startable tasks at once: one reading of the tree, one write to the journal. A task whose `inputs:` match nothing
        is settled as failed, with the reason.
        """
        chosen = _InputChoice(self._parts.git.files(run.repository, run.tree))
        toolchain = self._parts.toolchain.facts()
        settled: list[TaskResult] = []
        left: list[PreparedTask] = []
        for name in names:
            config = document.tasks[name]
            upstream = {need: results[need] for need in config.needs}
            try:
                inputs, root = chosen.of(config.inputs)
                takes = self._taken(config, upstream)
            except UserError as error:
                failed = TaskResult(run.run, name, TaskState.FAILED, "", decide.empty_manifest(), reason=f"{error.code}: {error.what}")
                settled.append(failed)
                continue
            whole = {need: upstream[need] for need in config.whole}
            manifest = decide.key_manifest(config, root, whole, toolchain, run.trust, takes)
            task = PreparedTask(run, name, config, inputs, upstream, manifest, decide.key_of(manifest))
            reused = self._reuse(task)
            settled += [reused] if reused is not None else []
            left += [task] if reused is None else []
        if settled:
            self._parts.recorder.record_all([_finished(result) for result in settled])
        return settled, left

    def _taken(self, config: Task, upstream: Mapping[str, TaskResult]) -> list[Taken]:
        """Return what `from:` takes, each with its digest."""
        found = []
        for take in config.takes:
            outputs = upstream[take.task].outputs
            digest = self._parts.index.digest(outputs.digest, take.path) if outputs is not None else ""
            found.append(Taken(take.task, take.path, take.place, digest))
        return found

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

    async def execute(self, task: PreparedTask) -> TaskResult:
        """Run the task in its sandbox and journal what came of it."""
        parts = self._parts
        started_at = clock.to_text(parts.clock.now())
        parts.recorder.record("task.started", task.run.run, "setpoint", {"task": task.name, "key": task.key})
        parts.logs.truncate(task.run.run, task.name)
        task_id = f"{task.run.run}-{task.name}"
        try:
            ended = await self._attempt(task, task_id)
            result = await asyncio.to_thread(self._conclude, task, ended, started_at)
        except SetpointError as error:
            self._note(task, error.render())
            result = replace(self._result(task, started_at), state=TaskState.FAILED, reason=f"{error.code}: {error.what}")
        finally:
            await asyncio.to_thread(parts.workspaces.remove, task_id)
        if result.state.green:
            await asyncio.to_thread(parts.cache.put, task.run.trust, result)
        return self._record(result)

    async def _attempt(self, task: PreparedTask, task_id: str) -> TaskExit:
        """Execute in a fresh workspace; again when the runner was lost, as after a crash of the server, but not for ever (law 5)."""
        parts = self._parts
        command = TaskCommand(task_id, decide.argv(task.config), dict(task.config.env), task.config.network, task.config.timeout)
        for attempt in range(1, ATTEMPTS + 1):
            await asyncio.to_thread(parts.workspaces.create, task_id, self._files(task), self._archives(task))
            try:
                ended = await parts.executor.execute(command, lambda line: parts.logs.append(task.run.run, task.name, line))
            except WorldError as error:
                if attempt == ATTEMPTS:
                    raise
                ended = TaskExit("lost", None, error.what)
            if ended.how != "lost" or attempt == ATTEMPTS:
                break
            self._note(task, f"{ended.detail or 'the task was lost'}; it is run again")
        return ended

    def skip(self, run: Run, reasons: Mapping[str, str]) -> list[TaskResult]:
        """Journal that tasks can never start, each with why: one write for all of them."""
        empty = decide.empty_manifest()
        skipped = [TaskResult(run.run, name, TaskState.SKIPPED, "", empty, reason=why) for name, why in reasons.items()]
        self._parts.recorder.record_all([_finished(result) for result in skipped])
        return skipped

    def _files(self, task: PreparedTask) -> Iterator[tuple[str, int, bytes]]:
        for file in task.files:
            yield file.path, file.mode, self._parts.git.blob(task.run.repository, file.blob)

    def _archives(self, task: PreparedTask) -> list[Archive]:
        """Return the outputs to be laid into the workspace: all that `needs` names, then what `from` takes."""
        found = []
        for name, take in task.config.laid:
            outputs = task.upstream[name].outputs
            path = self._parts.content.path(outputs.digest) if outputs is not None else None
            found += [Archive(path, take)] if path is not None else []
        return found

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
        if ended.how != "exited":
            state = {"timed-out": TaskState.TIMED_OUT, "cancelled": TaskState.CANCELLED}.get(ended.how, TaskState.FAILED)
            return replace(result, state=state, reason=ended.detail or f"the task was {ended.how}")
        if ended.exit_code != 0:
            return replace(result, reason=f"exit status {ended.exit_code}")
        missing = [path for kind, path in task.config.evidence.items() if kind not in result.reports]
        outputs, unmatched = self._outputs(task)
        missing += unmatched
        if missing:
            return replace(result, reason=f"declared but not made: {', '.join(missing)}")
        return replace(result, state=TaskState.PASSED, outputs=outputs, reason="")

    def _reports(self, task: PreparedTask) -> dict[str, StoredFile]:
        found: dict[str, StoredFile] = {}
        for kind, path in task.config.evidence.items():
            data = self._parts.workspaces.read(f"{task.run.run}-{task.name}", path, REPORT_LIMIT_BYTES)
            if data is not None:
                found[kind] = self._parts.content.put(data)
        return found

    def _outputs(self, task: PreparedTask) -> tuple[StoredFile | None, list[str]]:
        if not task.config.outputs:
            return None, []
        scratch = self._parts.content.scratch()
        unmatched = self._parts.workspaces.collect(f"{task.run.run}-{task.name}", task.config.outputs, scratch)
        if unmatched:
            scratch.unlink(missing_ok=True)
            return None, unmatched
        return self._parts.content.put_file(scratch), []

    def _note(self, task: PreparedTask, text: str) -> None:
        record = LogRecord(0, clock.to_text(self._parts.clock.now()), "note", text)
        self._parts.logs.append(task.run.run, task.name, record)

    def _record(self, result: TaskResult) -> TaskResult:
        self._parts.recorder.record_all([_finished(result)])
        return result


def _finished(result: TaskResult) -> Fact:
    return Fact("task.finished", result.run, "setpoint", records.encode(result))
