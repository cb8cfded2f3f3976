"""Runs, tasks, keys and results; the words of the pipeline.

The pipeline file itself (`.setpoint/pipeline.yaml`) is `pipeline/config.py`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from setpoint.core.errors import WorldError
from setpoint.pipeline.offers import Offer, Resources
from setpoint.pipeline.placing import Take


class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    """Where a task is; `reused` is a pass that an earlier run proved under the same key."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    REUSED = "reused"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    LOST = "lost"
    """A task that must not run twice was interrupted: whether it happened is not known, and it waits for a person (law 5)."""

    @property
    def green(self) -> bool:
        """Whether what needs this task may go on."""
        return self in (TaskState.PASSED, TaskState.REUSED)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to this task."""
        return self not in (TaskState.PENDING, TaskState.RUNNING, TaskState.LOST)


class Outcome(StrEnum):
    """What a probe or a person says of a task that was lost."""

    PASSED = "passed"
    FAILED = "failed"
    AGAIN = "again"
    """It did not happen: run it again."""


@dataclass(frozen=True, slots=True)
class Run:
    """One pass of a revision through its pipeline."""

    run: str
    """The run id, `r-<8>`."""
    repository: str
    ref: str
    revision: str
    tree: str
    title: str
    author: str
    """Author's email."""
    pusher: str
    """Email of the person who pushed, `operator`, or empty when it was pushed by path."""
    state: RunState
    created_at: str
    finished_at: str | None = None
    error: str = ""
    """Why the run failed before any task could (a faulty pipeline file), as text."""
    trust: Literal["trusted", "untrusted"] = "trusted"
    pipeline: str = ""
    """Blob id of the pipeline file."""
    lost: tuple[str, ...] = ()
    """Tasks that wait for a person to say whether they happened."""
    cancelling: str = ""
    """Who cancelled the run and why; it ends as soon as its tasks have."""
    retried_at: str | None = None
    """When somebody last let it go on after it had ended."""

    @property
    def begun_at(self) -> str:
        """When what it does now, or did last, began."""
        return self.retried_at or self.created_at


@dataclass(frozen=True, slots=True)
class Taken:
    """What `from:` takes of one task's outputs, and its digest."""

    task: str
    path: str
    place: str
    digest: str
    """Over (path below what is taken, mode, content) of everything that is taken; the rest of the outputs does not count."""


@dataclass(frozen=True, slots=True)
class KeyManifest:
    """Everything a task's result may depend on; the task key is the digest of its canonical JSON."""

    version: int
    argv: tuple[str, ...]
    environment: dict[str, str]
    inputs: str
    """Digest over (path, mode, blob id) of the declared inputs: the input root."""
    needs: dict[str, str]
    """needed task -> digest of its outputs"""
    outputs: tuple[str, ...]
    toolchain: str
    platform: str
    network: bool
    trust: str
    takes: tuple[Taken, ...] = ()
    secrets: tuple[str, ...] = ()
    """`VARIABLE=NAME@version` of each secret: the version, never the value."""
    sandbox: str = "bubblewrap"
    """`none`: nothing kept the task from anything that its user reaches; `kubernetes`: it ran in a pod of its own, and the toolchain is
    the digest of the pod's image."""

    @property
    def upstream(self) -> tuple[str, ...]:
        """The tasks that the result rests on."""
        return tuple(dict.fromkeys((*self.needs, *(taken.task for taken in self.takes))))


JSON_REPORT_BYTES: Final = 4 << 20
"""A JSON report larger than this is no evidence: it becomes the predicate of a statement, which others have to read whole."""


ScanFormat = Literal["sarif", "cyclonedx"]
"""Formats of reports that Setpoint counts by itself, and that need no schema."""
SCAN_REPORT_BYTES: Final[dict[ScanFormat, int]] = {"sarif": 16 << 20, "cyclonedx": 8 << 20}
"""How large a report of such a format may be. CycloneDX becomes a predicate as it is, of SARIF only the summary does."""


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a scanner's report says, made small."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What policies see of it."""
    says: str = ""
    """For people: `3 errors, 12 warnings by semgrep 1.2; 2 suppressed`."""
    incomplete: str = ""
    """What the scanner says that it did not get done; empty when it says nothing."""
    fault: str = ""
    """Why the report cannot be used, with the place in it; nothing else is known then."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file kept by digest in the home's content store."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task did, or what an earlier run proved for the same key; journalled as `task.finished`."""

    run: str
    task: str
    state: TaskState
    key: str
    manifest: KeyManifest
    exit_code: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    outputs: StoredFile | None = None
    """A deterministic tar of the declared outputs; None when the task declares none."""
    reports: dict[str, StoredFile] = field(default_factory=dict)
    """evidence type -> the report file the task left (`tests` -> JUnit XML, a report's name -> JSON)"""
    origin_run: str | None = None
    """The run that really executed a reused result."""
    networked: bool = False
    probed: bool = False
    """Whether the declared probe was asked after the task was lost, and did not know."""
    reason: str = ""
    """One sentence for a person: `exit status 1`, `no green record for this key`, `needs test, which failed`."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Outputs of a needed task, to be laid into a workspace: all of them, or what one line of `from:` takes."""

    path: Path
    """Where the tar lies."""
    take: Take | None = None


@dataclass(frozen=True, slots=True)
class ToolchainFacts:
    """What stands under /usr: what a task is executed with, and what a `base: host` image needs."""

    fingerprint: str
    """sha256 over interpreter and package versions."""
    python: str
    """For example `3.11.2`."""
    platform: str
    """For example `linux/amd64`."""
    packages: int


@dataclass(frozen=True, slots=True)
class TaskCommand:
    """What the executor is asked to run."""

    task_id: str
    """Unique for this attempt; names the workspace."""
    argv: tuple[str, ...]
    environment: dict[str, str]
    network: bool
    timeout_s: float
    log_quota_bytes: int = 64 << 20
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Environment variable -> value; masked in what the task prints, and never written down."""
    processes: int | None = None
    """How many processes and threads it may have at once; None: as many as its user."""
    keeps: tuple[str, ...] = ()
    """Patterns of what the task leaves; nothing else has to come back from elsewhere."""
    offer: Offer | None = None
    """The executor on a cluster that it was declared for; None: this machine."""
    resources: Resources | None = None
    attempt: int = 1
    once: bool = False
    """It must not run twice."""
    resumed: bool = False
    """An earlier server began it: what still runs of it elsewhere is taken over."""
    logged: int = 0
    """How many records of the task's own its log has already."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A piece of output; the log file holds one JSON object a line."""

    seq: int
    at: str
    stream: Literal["out", "err", "note"]
    """`note` is a sentence of Setpoint's own (truncation, timeout)."""
    text: str


class NotStartedError(WorldError):
    """The executor is sure that nothing of the task was executed."""


@dataclass(frozen=True, slots=True)
class TaskExit:
    """How an execution ended."""

    how: Literal["exited", "timed-out", "cancelled", "lost"]
    exit_code: int | None
    """128 + signal when a signal ended it."""
    detail: str = ""
