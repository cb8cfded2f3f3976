"""An executor, workspaces and products in memory, and a pipeline service over them: for tests of runs."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.output_index import OutputIndex
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.core.errors import NotFoundError
from setpoint.evidence.scans.summary import summarize
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline.config import PipelineDocument
from setpoint.pipeline.model import (
    Archive,
    LogRecord,
    Run,
    RunState,
    ScanFormat,
    ScanSummary,
    TaskCommand,
    TaskExit,
    TaskResult,
    TaskState,
    ToolchainFacts,
)
from setpoint.pipeline.prepared import TaskParts
from setpoint.pipeline.service import PipelineService, RunParts
from setpoint.pipeline.task import TaskRunner
from unit.builders_home import World

PIPELINE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  deps: {run: deps, inputs: [lock], outputs: [vendor/]}
  test: {run: test, needs: [deps], inputs: ["src/**"], evidence: {tests: report.xml}}
  lint: {run: lint, inputs: ["src/**"]}
  pack: {run: pack, needs: [test], inputs: ["src/**"]}
  ship: {run: ship, needs: [pack], inputs: ["src/**"]}
"""
SOURCE = {".setpoint/pipeline.yaml": PIPELINE, "lock": b"1", "src/a.py": b"1"}


class Machine:
    """Executor, workspaces, toolchain and products in memory."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.secrets: dict[str, tuple[str, str]] = {}
        self.given: dict[str, dict[str, str]] = {}
        self.exits: dict[str, TaskExit] = {}
        self.waiting = asyncio.Event()
        self.blocked: str = ""
        self.left: set[str] = set()
        self.reports = True
        self.report = b"<testsuite/>"
        self.outputs = b"vendored"
        self.faults: list[str] = []
        self.produced: list[dict[str, TaskState]] = []
        self.at_once = self.most_at_once = 0

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Run a task; the blocked one runs until it is cancelled."""
        name = command.argv[-1]
        self.ran.append(name)
        self.given[name] = command.secrets
        on_log([LogRecord(0, "2026-11-23T06:00:00.000Z", "out", f"this is {name}")])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if name == self.blocked:
                self.waiting.set()
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        return self.exits.get(name, TaskExit("exited", 0))

    def create(self, task_id: str, files: Iterable[tuple[str, int, bytes]], archives: Iterable[Archive]) -> Path:
        """Make a workspace."""
        self.left.add(task_id)
        assert [path for path, _, _ in files]
        assert all(archive.path.exists() for archive in archives)
        return Path(task_id)

    def collect(self, task_id: str, patterns: Iterable[str], into: Path) -> list[str]:
        """Collect the outputs."""
        into.write_bytes(self.outputs)
        return [] if self.outputs else list(patterns)

    def read(self, task_id: str, path: str, limit_bytes: int) -> bytes | None:
        """Return the report."""
        return self.report if self.reports else None

    def fault(self, schema: bytes, report: bytes) -> str:
        """Hold a JSON report against its schema: here it has to be the very same bytes."""
        return "" if report == schema else "at /errors: 3 is not 0"

    def summary(self, format_: ScanFormat, report: bytes) -> ScanSummary:
        """Read a scanner's report, in this process."""
        return summarize(format_, report)

    def remove(self, task_id: str) -> None:
        """Delete a workspace."""
        self.left.discard(task_id)

    def sweep(self) -> int:
        """Delete nothing."""
        return 0

    def version(self, run: Run, name: str) -> str:
        """Return the version of a secret."""
        if name not in self.secrets:
            raise NotFoundError("SP252", f"no secret {name}")
        return self.secrets[name][0]

    def value(self, run: Run, name: str, version: str) -> str:
        """Return the value of a secret."""
        return self.secrets[name][1]

    def facts(self) -> ToolchainFacts:
        """Return the tools."""
        return ToolchainFacts("sha256:" + "e" * 64, "3.11.2", "linux/amd64", 3)

    async def produce(self, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> list[str]:
        """Note what the run came to."""
        self.produced.append({name: result.state for name, result in results.items()})
        return self.faults


def make_service(world: World, machine: Machine, root: Path, slots: int = 2, recorder: Recorder | None = None) -> PipelineService:
    """Return a pipeline service that knows nothing but what is on disk."""
    recorder = recorder or world.recorder
    parts = TaskParts(
        git=world.git,
        executor=machine,
        workspaces=machine,
        content=(content := ContentFolder(root / "content")),
        index=OutputIndex(content),
        reports=machine,
        scans=machine,
        cache=TaskCacheFolder(root / "cache"),
        logs=TaskLogFolder(root / "logs"),
        secrets=machine,
        toolchain=machine,
        recorder=recorder,
        clock=world.clock,
    )
    return PipelineService(RunParts(world.git, TaskRunner(parts), world.records, recorder, machine, world.clock), slots)


def begin(world: World, service: PipelineService, files: dict[str, bytes] | None = None, branch: str = "main") -> Run | None:
    """Commit files and begin a run of them."""
    commit = world.commit("hello", {**SOURCE, **(files or {})})
    return service.begin(branch, world.git.revision("hello", commit), "ada@example.com")


async def stuck(
    world: World, machine: Machine, root: Path, task: str, files: dict[str, bytes] | None = None
) -> tuple[Run, PipelineService]:
    """Begin a run that stops in a task, and return it with its service once that task executes."""
    machine.blocked = task
    service = make_service(world, machine, root)
    run = begin(world, service, files)
    assert run is not None
    service.resume()
    async with asyncio.timeout(5):
        await machine.waiting.wait()
    return run, service


async def ended(world: World, service: PipelineService, run: Run) -> Run:
    """Wait until a run has ended, at most five seconds."""
    service.resume()
    async with asyncio.timeout(5):
        while True:
            found = world.records.run(run.run)
            assert found is not None
            if found.state is not RunState.RUNNING and run.run not in service._active:
                return found
            await asyncio.sleep(0.002)


def run_story(story: Coroutine[Any, Any, None]) -> None:
    """Run a test that awaits."""
    asyncio.run(story)


def states(world: World, run: Run) -> dict[str, str]:
    """Return {task: state} as journalled."""
    return {result.task: result.state.value for result in world.records.results(run.run)}
