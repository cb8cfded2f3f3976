"""A task before it runs: its inputs, what it takes from others, the versions of its secrets, and the key over all of it.

Called by the task runner; reads the tree and kept outputs, journals nothing and executes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from setpoint.core import clock
from setpoint.core.errors import NotFoundError, UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline import decide, quantities
from setpoint.pipeline.config import PipelineDocument, select_inputs
from setpoint.pipeline.model import Archive, KeyManifest, LogRecord, Run, Taken, TaskCommand, TaskResult
from setpoint.pipeline.offers import Offer, Resources
from setpoint.pipeline.ports import (
    ContentStore,
    Executor,
    Offers,
    OutputIndex,
    RemoteExecutor,
    ReportCheck,
    ScanReader,
    SecretSource,
    TaskCache,
    TaskLogs,
    Toolchain,
    Workspaces,
)
from setpoint.pipeline.tasks import Task
from setpoint.source.model import TreeFile
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class TaskParts:
    """What executing a task works with."""

    git: GitStore
    executor: Executor
    workspaces: Workspaces
    content: ContentStore
    index: OutputIndex
    reports: ReportCheck
    scans: ScanReader
    cache: TaskCache
    logs: TaskLogs
    secrets: SecretSource
    toolchain: Toolchain
    recorder: Recorder
    clock: clock.Clock
    remote: RemoteExecutor | None = None
    """Runs the tasks that name an executor; None: this machine runs them all, as `setpoint run` does."""
    offers: Offers | None = None
    refused: str = ""
    """Why no task may run without a sandbox here; empty when one may."""


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
    offer: Offer | None = None
    """The executor on a cluster that it runs on; None: this machine."""

    @property
    def task_id(self) -> str:
        """Names its workspace here and its Job elsewhere."""
        return f"{self.run.run}-{self.name}"


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


def preparing(parts: TaskParts, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> Callable[[str], PreparedTask]:
    """Return what prepares tasks of a run; the tree is read once for all of them."""
    chosen = _InputChoice(parts.git.files(run.repository, run.tree))
    toolchain = parts.toolchain.facts()

    def prepare(name: str) -> PreparedTask:
        config = document.tasks[name]
        if config.sandbox == "none" and parts.refused:
            raise UserError(
                "SP247", f"`{name}` declares `sandbox: none`: {parts.refused}", where=name, fix="remove it, or ask the operator"
            )
        offer = parts.offers.offer(run, config.executor) if config.executor is not None and parts.offers is not None else None
        upstream = {need: results[need] for need in config.needs}
        inputs, root = chosen.of(config.reads)
        takes = _taken(parts, config, upstream)
        whole = {need: upstream[need] for need in config.whole}
        manifest = decide.key_manifest(config, root, whole, toolchain, run.trust, takes)
        if offer is not None:
            manifest = replace(manifest, toolchain=offer.digest, platform=offer.platform, sandbox="kubernetes")
        if config.secrets:
            manifest = replace(manifest, secrets=tuple(_versions(parts, run, config)))
        return PreparedTask(run, name, config, inputs, upstream, manifest, decide.key_of(manifest), offer)

    return prepare


def _versions(parts: TaskParts, run: Run, config: Task) -> Iterator[str]:
    """Yield `VARIABLE=NAME@version` of the secrets that a task asks for."""
    for variable, name in sorted(config.secrets.items()):
        yield f"{variable}={name}@{parts.secrets.version(run, name)}"


def secret_values(parts: TaskParts, task: PreparedTask) -> dict[str, str]:
    """Return {variable: value} of the very versions that the key names."""
    found = {}
    for text in task.manifest.secrets:
        variable, _, label = text.partition("=")
        name, _, version = label.rpartition("@")
        found[variable] = parts.secrets.value(task.run, name, version)
    return found


def _taken(parts: TaskParts, config: Task, upstream: Mapping[str, TaskResult]) -> list[Taken]:
    """Return what `from:` takes, each with its digest."""
    found = []
    for take in config.takes:
        outputs = upstream[take.task].outputs
        digest = parts.index.digest(outputs.digest, take.path) if outputs is not None else ""
        found.append(Taken(take.task, take.path, take.place, digest))
    return found


def command_of(parts: TaskParts, task: PreparedTask, task_id: str, argv: tuple[str, ...], *, resumed: bool = False) -> TaskCommand:
    """Return what an executor is asked to run; resumed says that an earlier server began it.

    Raises:
        UserError: the value of a secret is not here (SP253), or it asks for more than its executor gives (SP278).
    """
    config = task.config
    return TaskCommand(
        task_id,
        argv,
        dict(config.env),
        config.network,
        config.timeout,
        secrets=secret_values(parts, task) if config.secrets else {},
        sandbox=config.sandbox,
        keeps=(*config.outputs, *config.leaves.values()),
        offer=task.offer,
        resources=_resources(task),
        once=config.once,
        resumed=resumed,
        logged=sum(record.stream != "note" for record in all_records(parts.logs, task)) if resumed else 0,
    )


def _resources(task: PreparedTask) -> Resources | None:
    offer, wanted = task.offer, task.config.resources
    if offer is None or wanted is None:
        return None
    found = Resources(wanted.cpu or offer.resources.cpu, wanted.memory or offer.resources.memory)
    for what, asked, most in (("cpu", found.cpu, offer.resources.cpu), ("memory", found.memory, offer.resources.memory)):
        if quantities.amount(asked) > quantities.amount(most):
            fix = f"ask for less, or let its owners raise `limits:` of `{offer.name}` in setpoint.yaml"
            raise UserError("SP278", f"`{task.name}` asks for {asked} of {what}, and `{offer.name}` gives {most}", where=task.name, fix=fix)
    return found


def all_records(logs: TaskLogs, task: PreparedTask) -> Iterator[LogRecord]:
    """Yield every record of a task's log."""
    last = -1
    while found := logs.read(task.run.run, task.name, last):
        yield from found
        last = found[-1].seq


def inputs_of(parts: TaskParts, task: PreparedTask) -> Iterator[tuple[str, int, bytes]]:
    """Yield (path, mode, bytes) of a task's inputs."""
    for file in task.files:
        yield file.path, file.mode, parts.git.blob(task.run.repository, file.blob)


def archives_of(parts: TaskParts, task: PreparedTask) -> list[Archive]:
    """Return the outputs to be laid into the workspace: all that `needs` names, then what `from` takes.

    Raises:
        NotFoundError: outputs that a task left are not stored any more (SP214): without them it would do something else.
    """
    laid = [(task.upstream[name], take) for name, take in task.config.laid]
    return [Archive(stored_outputs(parts.content, result), take) for result, take in laid if result.outputs is not None]


def stored_outputs(content: ContentStore, result: TaskResult) -> Path:
    """Return where the outputs of a task lie.

    Raises:
        NotFoundError: they are not stored any more (SP214).
    """
    path = content.path(result.outputs.digest) if result.outputs is not None else None
    if path is None:
        what = f"the outputs of `{result.task}` are not stored any more: garbage was collected (docs/gc.md)"
        raise NotFoundError("SP214", what, where=f"{result.run}/{result.task}", fix="push a commit: its run makes them again")
    return path
