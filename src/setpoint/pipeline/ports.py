"""What the pipeline needs from outside: an executor, workspaces, a content store, a cache of claims, log files, records.

Adapters: `adapters.runner` (executor), `adapters.workspaces`, `adapters.content`, `adapters.task_cache`, `adapters.task_logs`,
`adapters.toolchain`; records are read from the database's projection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from setpoint.pipeline.config import PipelineDocument
from setpoint.pipeline.model import (
    Archive,
    LogRecord,
    Run,
    ScanFormat,
    ScanSummary,
    StoredFile,
    TaskCommand,
    TaskExit,
    TaskResult,
    ToolchainFacts,
)
from setpoint.pipeline.offers import Offer


class Executor(Protocol):
    """Runs a task's process tree in a sandbox, outside the server's own process tree of trust."""

    async def execute(self, command: TaskCommand, on_log: Callable[[Sequence[LogRecord]], None]) -> TaskExit:
        """Run to the end and return how it ended; cancelling the awaiting asyncio task stops the process tree (TERM, grace, KILL).

        Raises:
            NotStartedError: nothing was executed. WorldError: something may have been.
        """
        ...


class RemoteExecutor(Executor, Protocol):
    """An executor whose tasks outlive this server: what runs elsewhere is taken over by the next one."""

    def release(self, command: TaskCommand) -> None:
        """Let go of a task that ended or was cancelled: what is left of it elsewhere is deleted; nothing is once the server `leave`s."""
        ...

    def glance(self, task_id: str) -> str:
        """Return where a task is just now, for people; empty when it is nowhere. May be asked from any thread."""
        ...

    def leave(self) -> None:
        """The server ends: a task that is cancelled from now on goes on."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class Offers(Protocol):
    """Who may use which executor on a cluster (filled from the delivery repository in app wiring)."""

    def offer(self, run: Run, name: str) -> Offer:
        """Return an executor that a run may use.

        Raises:
            UserError: there is none of this name (SP270), or this run may not use it (SP271).
        """
        ...


class Workspaces(Protocol):
    """The folders tasks work in; as root they belong to the runner's uid."""

    def create(self, task_id: str, files: Iterable[tuple[str, int, bytes]], archives: Iterable[Archive]) -> Path:
        """Make a fresh workspace of (path, git mode, bytes) files and of unpacked output archives; hand it to the runner's uid."""
        ...

    def collect(self, task_id: str, patterns: Iterable[str], into: Path) -> list[str]:
        """Write a deterministic tar of what matches the patterns to `into`; returns the patterns that matched nothing.

        A symbolic link that leaves the workspace is UserError SP213.
        """
        ...

    def read(self, task_id: str, path: str, limit_bytes: int) -> bytes | None:
        """Return a file that the task left, following no link out of the workspace; None when it is not there."""
        ...

    def remove(self, task_id: str) -> None:
        """Delete the workspace; missing is fine."""
        ...

    def sweep(self) -> int:
        """Delete the workspaces that a killed server left behind; returns how many."""
        ...


class ReportCheck(Protocol):
    """Holds a JSON report against a JSON Schema (adapters.json_schema), within limits and away from everything that matters."""

    def fault(self, schema: bytes, report: bytes) -> str:
        """Return why the report cannot be used, with the place in it; empty when it keeps to the schema. WorldError SP414: busy."""
        ...


class ScanReader(Protocol):
    """Reads reports of scanners (adapters.scans), within limits and away from everything that matters."""

    def summary(self, format_: ScanFormat, report: bytes) -> ScanSummary:
        """Return what a report says; its `fault` when it cannot be used. WorldError SP414: busy."""
        ...


class ContentStore(Protocol):
    """Bytes by digest, on disk, durable when `put` returns."""

    def put(self, data: bytes) -> StoredFile:
        """Store bytes."""
        ...

    def put_file(self, path: Path) -> StoredFile:
        """Move a finished file in (same file system); it is gone from `path`."""
        ...

    def path(self, digest: str) -> Path | None:
        """Return where the bytes lie, None when they are not here."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes; NotFoundError SP214 when they are not here."""
        ...

    def scratch(self) -> Path:
        """Return a fresh file name in the store's own file system, for `put_file`."""
        ...


class OutputIndex(Protocol):
    """Looks into kept outputs without unpacking them."""

    def digest(self, outputs: str, path: str) -> str:
        """Return the digest over what `path` takes of an archive: equal when the same would be taken.

        Raises:
            UserError: it takes nothing (SP234). NotFoundError: the archive is not here (SP214).
        """
        ...


class SecretSource(Protocol):
    """Gives secrets to tasks of runs that may have them."""

    def version(self, run: Run, name: str) -> str:
        """Return the version in force of a secret of the run's repository.

        Raises:
            UserError: the run is given no secrets (SP238), or there is none of this name (SP252).
        """
        ...

    def value(self, run: Run, name: str, version: str) -> str:
        """Return the value of a version; UserError SP253 when it is not here."""
        ...


class TaskCache(Protocol):
    """Green results by (trust, key): claims with a writer; their content lies in the content store."""

    def get(self, trust: str, key: str) -> TaskResult | None:
        """Return the recorded result for this key in this trust domain, if there is one."""
        ...

    def put(self, trust: str, result: TaskResult) -> None:
        """Record a green result, replacing an older one."""
        ...


class TaskLogs(Protocol):
    """One log file per task of a run: JSON records, appended, never rewritten."""

    def append(self, run: str, task: str, records: Sequence[LogRecord]) -> None:
        """Append records; not fsynced, for logs may be lost (law 4)."""
        ...

    def read(self, run: str, task: str, after_seq: int = -1, limit: int = 10_000) -> list[LogRecord]:
        """Return records with seq > after_seq: at most limit, fewer when they are long, none only at the end of the log."""
        ...

    def truncate(self, run: str, task: str) -> None:
        """Start the log anew, when a task is run again after a crash."""
        ...


class Toolchain(Protocol):
    """Looks at /usr."""

    def facts(self) -> ToolchainFacts:
        """Return the fingerprint and what it was made of; cached while the package database has not changed."""
        ...


class RunRecords(Protocol):
    """Runs and task results as the journal tells them."""

    def run(self, run: str) -> Run | None:
        """Return a run by its id."""
        ...

    def runs(self, repository: str | None = None, limit: int = 100) -> list[Run]:
        """Return runs, newest first."""
        ...

    def open_runs(self) -> list[Run]:
        """Return the runs that have not ended, oldest first."""
        ...

    def run_for(self, repository: str, revision: str) -> Run | None:
        """Return the newest run of a revision."""
        ...

    def results(self, run: str) -> list[TaskResult]:
        """Return the results of a run, in the order they were journalled."""
        ...

    def started(self, run: str) -> Mapping[str, str]:
        """Return {task: started_at} of the tasks that were started and have not ended."""
        ...


class RunProducts(Protocol):
    """What a run leaves when its tasks have ended: artifacts and evidence (filled from the later stages in app wiring)."""

    async def produce(self, run: Run, document: PipelineDocument, results: Mapping[str, TaskResult]) -> list[str]:
        """Assemble the artifacts whose needs are green and attach all evidence; returns a sentence for each failure."""
        ...
