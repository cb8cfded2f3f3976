"""Runs a pipeline on a working tree without a server: the same engine, sandbox, keys and cache, in a folder of the user's cache.

Called by `setpoint run`. Nothing it makes is signed or leaves the cache folder; its builder is LOCAL_BUILDER, which gates refuse.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.clock import SystemClock
from setpoint.adapters.content import ContentFolder
from setpoint.adapters.git.working_tree import WorkingTree
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.adapters.oci.pull import RegistryPull
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.output_index import OutputIndex
from setpoint.adapters.runner.client import RunnerClient, dedicated_uid
from setpoint.adapters.scans import ScanProcess
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.adapters.toolchain import HostToolchain
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.app.home import Home
from setpoint.app.secret_source import LocalSecrets
from setpoint.app.settings import Settings
from setpoint.artifact.recipe import recipe_of
from setpoint.artifact.service import ArtifactService, AssembleRequest
from setpoint.core import clock, ids, records, suggest
from setpoint.core.errors import BugError, NotFoundError, SetpointError, UserError
from setpoint.evidence.model import LOCAL_BUILDER
from setpoint.ground.journal.model import Entry, Fact
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline
from setpoint.pipeline.decide import UNKNOWN
from setpoint.pipeline.model import LogRecord, Run, RunState, TaskResult, TaskState
from setpoint.pipeline.prepared import TaskParts
from setpoint.pipeline.service import LOCK_PATH, PIPELINE_PATH, PipelineService, RunParts, as_pending
from setpoint.pipeline.task import TaskRunner
from setpoint.source.model import TreeFile

_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LocalArtifact:
    """An artifact that was assembled here."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LocalReport:
    """What a local run came to."""

    run: Run
    tasks: tuple[TaskResult, ...]
    artifacts: tuple[LocalArtifact, ...]
    logs: Mapping[str, tuple[LogRecord, ...]]
    """Failed task -> its log."""
    builder: str = LOCAL_BUILDER
    elsewhere: tuple[str, ...] = ()
    """Tasks that a server would run on a cluster; here they ran in the sandbox."""


def cache_folder() -> Path:
    """Return `setpoint` under the user's cache folder (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "setpoint"


def find_root(path: Path) -> Path:
    """Return path when it holds a pipeline, else the nearest folder above that does.

    Raises:
        NotFoundError: none does (SP823).
    """
    here = path.resolve()
    for folder in (here, *here.parents):
        if (folder / PIPELINE_PATH).is_file():
            return folder
        if (folder / ".git").exists():
            break
    raise NotFoundError("SP823", f"there is no {PIPELINE_PATH}", where=str(path), fix="setpoint init writes one")


def run_locally(path: Path, wanted: Sequence[str], on_change: Callable[[Run, list[TaskResult]], None]) -> LocalReport:
    """Run tasks and artifacts of a working tree (all of them when none is named); on_change sees every change.

    Raises:
        ConfigError: the pipeline's findings. NotFoundError: no pipeline (SP823), or no task of this name (SP824).
        UserError: the cache folder cannot be used (SP825).
    """
    tree = WorkingTree(find_root(path))
    document = chosen(document_of(tree), wanted)
    home = local_home()
    with shared(home):
        return asyncio.run(_Local(home, tree, document, on_change).run())


def local_home() -> Home:
    """Return the prepared home of local runs.

    Raises:
        UserError: the cache folder cannot be used (SP825).
    """
    home = Home(cache_folder() / "local")
    try:
        home.prepare()
    except UserError as error:
        raise UserError("SP825", f"the cache folder cannot be used: {error.what}", where=error.where, fix="set XDG_CACHE_HOME") from error
    return home


def document_of(tree: WorkingTree) -> PipelineDocument:
    """Return the pipeline of a working tree; raises ConfigError with all its findings."""
    lock = tree.read(LOCK_PATH)
    return parse_pipeline(tree.read(PIPELINE_PATH) or b"", PIPELINE_PATH, parse_lock(lock, LOCK_PATH) if lock is not None else {})


def chosen(document: PipelineDocument, wanted: Sequence[str]) -> PipelineDocument:
    """Return the pipeline with only what is wanted and what that needs; without a wish everything but what must not run twice.

    Publishing from a working tree is nothing to do in passing: a task of `once`, and what needs it, runs here only when it is named.

    Raises:
        NotFoundError: no task or artifact has such a name (SP824).
    """
    if not wanted:
        once = {name for name, task in document.tasks.items() if task.once}
        tasks = {name: task for name, task in document.tasks.items() if not once & document.closure([name])}
        kept = {name: artifact for name, artifact in document.artifacts.items() if not once & document.closure(artifact.needs)}
        return replace(document, tasks=tasks, artifacts=kept) if once else document
    known = [*dict.fromkeys(name for task, config in document.tasks.items() for name in (config.family, task)), *document.artifacts]
    for name in wanted:
        if name not in known:
            fix = suggest.help_text(name, known, "tasks and artifacts")
            raise NotFoundError("SP824", f"there is no task or artifact `{name}`", fix=fix)
    artifacts = {name: artifact for name, artifact in document.artifacts.items() if name in wanted}
    needs = document.closure([name for name, task in document.tasks.items() if name in wanted or task.family in wanted])
    needs |= document.closure(need for artifact in artifacts.values() for need in artifact.needs)
    tasks = {name: task for name, task in document.tasks.items() if name in needs}
    return replace(document, tasks=tasks, artifacts=artifacts)


@contextmanager
def shared(home: Home) -> Iterator[None]:
    """Share the cache with other local runs; whoever is alone sweeps what killed ones left."""
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            WorkspaceFolder(home.workspaces, dedicated_uid()).sweep()
        except BlockingIOError:
            pass
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


class _Pipeline(PipelineService):
    """The service with a pipeline that was read from the working tree."""

    def __init__(self, parts: RunParts, slots: int, document: PipelineDocument) -> None:
        super().__init__(parts, slots)
        self._document = document

    def document(self, repository: str, commit: str) -> PipelineDocument:  # noqa: ARG002 - there is only one
        return self._document

    def _park(self, run: Run) -> None:
        """End a run that would wait for a person: it has no memory that outlives this process."""
        lost = [result.task for result in self._parts.records.results(run.run) if result.state is TaskState.LOST]
        self._finish(run, RunState.FAILED, f"{', '.join(lost)}: {UNKNOWN}; look, and run it again if it did not")

    def goes_on(self, run: str) -> bool:
        """Say whether somebody works on the run."""
        return run in self._active


class _Memory:
    """The journal and the records of one local run: in memory, gone with the process."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.runs_by_id: dict[str, Run] = {}
        self._results: dict[str, TaskResult] = {}
        self._started: dict[str, str] = {}
        self._count = 0

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Apply an entry to the records."""
        at = clock.to_text(SystemClock().now())
        if kind == "run.created":
            self.runs_by_id[subject] = records.decode(Run, body)
        elif kind == "task.started":
            self._started[body["task"]] = at
        elif kind in ("task.finished", "task.lost"):
            self._results[body["task"]] = records.decode(TaskResult, body)
            self._started.pop(body["task"], None)
        elif kind == "run.finished":
            run = self.runs_by_id[subject]
            self.runs_by_id[subject] = replace(run, state=RunState(body["state"]), error=body["error"], finished_at=at)
        self._count += 1
        self._changed()
        return Entry(index=self._count, at=at, kind=kind, subject=subject, actor=actor, body=body, prev="")

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Apply entries one after the other."""
        return [self.record(fact.kind, fact.subject, fact.actor, fact.body) for fact in facts]

    def run(self, run: str) -> Run | None:
        """Return the run."""
        return self.runs_by_id.get(run)

    def runs(self, repository: str | None = None, limit: int = 100) -> list[Run]:
        """Return the run."""
        return [run for run in self.runs_by_id.values() if repository in (None, run.repository)][:limit]

    def open_runs(self) -> list[Run]:
        """Return the run while it goes on."""
        return [run for run in self.runs_by_id.values() if run.state is RunState.RUNNING]

    def run_for(self, repository: str, revision: str) -> Run | None:
        """Return the run of this revision."""
        return next((run for run in self.runs(repository) if run.revision == revision), None)

    def results(self, run: str) -> list[TaskResult]:
        """Return what has ended."""
        return [result for result in self._results.values() if result.run == run]

    def started(self, run: str) -> Mapping[str, str]:
        """Return what was started and has not ended."""
        return dict(self._started) if run in self.runs_by_id else {}


class _TreeGit:
    """What a task needs of Git, from the working tree."""

    def __init__(self, tree: WorkingTree) -> None:
        self._tree = tree

    def files(self, name: str, tree: str) -> list[TreeFile]:  # noqa: ARG002 - there is only one
        return self._tree.listing

    def blob(self, name: str, blob_id: str, limit_bytes: int = 1 << 30) -> bytes:  # noqa: ARG002 - there is only one
        return self._tree.by_blob(blob_id)


class _Local:
    """One local run."""

    def __init__(
        self, home: Home, tree: WorkingTree, document: PipelineDocument, on_change: Callable[[Run, list[TaskResult]], None]
    ) -> None:
        self._home = home
        self._tree = tree
        self._document = document
        self._on_change = on_change
        self._memory = _Memory(self._wake)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._content = ContentFolder(home.content)
        self._logs = TaskLogFolder(home.logs)
        self._toolchain = HostToolchain()
        self._made: list[LocalArtifact] = []
        self._queued: Callable[[str], Mapping[str, int]] = lambda _run: {}

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self) -> LocalReport:
        """Run to the end."""
        self._loop = asyncio.get_running_loop()
        runner = RunnerClient.spawn(self._home.workspaces, dedicated_uid())
        try:
            return await self._advance(runner)
        finally:
            runner.close()
            self._logs.close()

    async def _advance(self, runner: RunnerClient) -> LocalReport:
        run = self._new_run()
        service = self._service(runner)
        self._queued = service.queued
        self._memory.record("run.created", run.run, "local", records.encode(run))
        service.resume()
        try:
            while self._memory.runs_by_id[run.run].state is RunState.RUNNING:
                self._show(run.run)
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), _LOOK_S)
                except TimeoutError:
                    if not service.goes_on(run.run) and self._memory.open_runs():
                        raise BugError("SP826", "the run was ended by a fault", where=run.run, fix="its traceback is above") from None
        finally:
            await service.stop()
        tasks = self._show(run.run)
        failed = [task.task for task in tasks if task.state.ended and not task.state.green and task.started_at]
        logs = {name: tuple(self._logs.read(run.run, name)) for name in failed}
        elsewhere = tuple(name for name, task in self._document.tasks.items() if task.executor is not None)
        return LocalReport(self._memory.runs_by_id[run.run], tuple(tasks), tuple(self._made), logs, elsewhere=elsewhere)

    def _show(self, run: str) -> list[TaskResult]:
        record = self._memory.runs_by_id[run]
        rows = as_pending(record, self._document, self._memory.results(run), self._memory.started(run), self._queued(run))
        self._on_change(record, rows)
        return rows

    def _new_run(self) -> Run:
        now = clock.to_text(SystemClock().now())
        name = self._tree.root.name
        return Run(
            run=ids.identifier("l", name, now, os.getpid(), time.monotonic_ns()),
            repository=name,
            ref="",
            revision=self._tree.head(),
            tree="",
            title="the working tree",
            author="",
            pusher="",
            state=RunState.RUNNING,
            created_at=now,
            trust="untrusted",
        )

    def _service(self, runner: RunnerClient) -> _Pipeline:
        git: Any = _TreeGit(self._tree)
        workspaces = WorkspaceFolder(self._home.workspaces, dedicated_uid())
        cache = TaskCacheFolder(self._home.task_cache)
        index = OutputIndex(self._content)
        parts = TaskParts(
            git=git,
            executor=runner,
            workspaces=workspaces,
            content=self._content,
            index=index,
            reports=JsonSchemaProcess(),
            scans=ScanProcess(),
            cache=cache,
            logs=self._logs,
            secrets=LocalSecrets(),
            refused=Settings(allow_unsandboxed=True).unsandboxed_refused,
            toolchain=self._toolchain,
            recorder=self._memory,
            clock=SystemClock(),
        )
        products = _Products(self)
        service = RunParts(git, TaskRunner(parts), self._memory, self._memory, products, SystemClock())
        return _Pipeline(service, Settings().task_slots, self._document)

    def assemble(self, results: Mapping[str, TaskResult]) -> list[str]:
        """Assemble what is green into the cache's own registry; returns a sentence for each failure."""
        faults = []
        for name, artifact in self._document.artifacts.items():
            if not all(task in results and results[task].state.green for task in self._document.closure(artifact.needs)):
                continue
            try:
                self._made.append(self._assemble(name, results))
            except SetpointError as error:
                faults.append(f"artifact {name}: {error.render()}")
        return faults

    def _assemble(self, name: str, results: Mapping[str, TaskResult]) -> LocalArtifact:
        recipe = recipe_of(self._document, name)
        stored = {task: results[task].outputs for task in recipe.tasks}
        found = {task: self._content.path(file.digest) for task, file in stored.items() if file is not None}
        outputs = {task: path for task, path in found.items() if path is not None}
        store = OciStoreFolder(self._home.registry)
        scratch = self._home.registry / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        source = ((file.path, file.mode, self._tree.unchanged(file)) for file in self._tree.listing if recipe.wants_source(file.path))
        request = AssembleRequest(f"local/{name}", recipe, source, outputs, self._toolchain.facts(), scratch)
        made = ArtifactService(store, RegistryPull(store)).assemble(request)
        return LocalArtifact(name, made.descriptor.digest, sum(layer.size_bytes for layer in made.layers))


class _Products:
    """Fills the pipeline's `RunProducts`: images, and no evidence, for nothing local is signed."""

    def __init__(self, local: _Local) -> None:
        self._local = local

    async def produce(self, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> list[str]:  # noqa: ARG002 - the local run knows them
        """Assemble what is green."""
        return await asyncio.to_thread(self._local.assemble, results)
