"""The pipeline file and its lock as they are written: models only, every key of which works; the JSON Schema is made from them.

Called by `config` (which reads them), `tasks` and `checks` (which look at words together).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from setpoint.core.documents import FileModel
from setpoint.core.durations import Duration
from setpoint.pipeline.fields import (
    Base,
    Name,
    Pattern,
    Place,
    PlainPath,
    PlainText,
    PredicateType,
    Quantity,
    ReportName,
    Secrets,
    TargetPath,
    Timeout,
    Variables,
)
from setpoint.pipeline.matrix import Matrix
from setpoint.pipeline.model import JSON_REPORT_BYTES, SCAN_REPORT_BYTES, ScanFormat


class Push(FileModel):
    """Which pushes start a run."""

    branches: tuple[Pattern, ...] = ("main",)
    supersede: bool = False
    """A newer push ends the runs of its branch of which no task has begun."""


class On(FileModel):
    """What starts a run."""

    push: Push = Push()


class ReportConfig(FileModel):
    """A file that a task leaves, and what it is: JSON that keeps to a schema, or one of the formats that scanners write."""

    file: PlainPath
    format: ScanFormat | None = None
    """SARIF 2.1.0 or CycloneDX JSON, which are counted; no schema then."""
    schema_: PlainPath | None = Field(default=None, alias="schema")
    """JSON Schema in the source tree; it is an input of the task."""
    predicate: PredicateType | None = None
    """in-toto predicate type of the statement that carries it, with a schema only; None is Setpoint's own for reports."""

    @property
    def limit_bytes(self) -> int:
        """How large the file may be."""
        return SCAN_REPORT_BYTES[self.format] if self.format is not None else JSON_REPORT_BYTES


class ResourcesConfig(FileModel):
    """What a task's pod gets, as requests and as limits."""

    cpu: Quantity | None = None
    """`500m`, `2`; left out: the executor's."""
    memory: Quantity | None = None
    """`512Mi`; left out: the executor's. A task that needs more is killed, and says so."""


class TaskConfig(FileModel):
    """One task: what it runs, what it reads, what it leaves."""

    run: Annotated[PlainText, StringConstraints(min_length=1, max_length=100_000)]
    matrix: Matrix | None = None
    """The task is run once in every cell."""
    needs: tuple[str, ...] = ()
    """Tasks whose outputs are all laid into the workspace; of a matrix every cell, or one as `test@3.11`."""
    from_: dict[str, Place] = Field(default_factory=dict, alias="from")
    """`task:path` of an output -> its place in the workspace; implies the need, and only what is taken counts for the key."""
    inputs: tuple[Pattern, ...] | None = None
    """Patterns; None is the whole tree except delivery files."""
    outputs: tuple[Pattern, ...] = ()
    env: Variables = Field(default_factory=dict)
    secrets: Secrets = Field(default_factory=dict)
    """Environment variable -> name of a secret of the repository; a list gives each under its own name. Trusted runs only."""
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    """`none` isolates nothing: for what no sandbox can hold; needs `network: true`, and a server that allows it."""
    executor: Name | None = None
    """Where it runs: an executor of the delivery repository's `setpoint.yaml`; None is the sandbox of this machine."""
    resources: ResourcesConfig | None = None
    """What it gets there."""
    network: bool = False
    valid: Duration | None = None
    """Seconds for which a networked result may be reused; None is: in this run only."""
    timeout: Timeout = 1800
    """Seconds."""
    evidence: dict[Literal["tests"], PlainPath] = Field(default_factory=dict)
    """evidence type -> path of the report"""
    once: bool = False
    """It must not run twice: no result of it is reused, and when it is interrupted it waits for a probe or a person."""
    probe: Annotated[PlainText, StringConstraints(min_length=1, max_length=100_000)] | None = None
    """Asked when a `once` task was interrupted: status 0 is that it happened, 1 that it did not, anything else that it does not know."""
    reports: Annotated[dict[ReportName, ReportConfig], Field(max_length=16)] = Field(default_factory=dict)
    """What becomes evidence too; policies see it as `evidence.<name>`."""

    @property
    def reads(self) -> tuple[str, ...] | None:
        """The patterns of all that it is given: inputs and the schemas of its reports; None is the whole tree."""
        if self.inputs is None:
            return None
        schemas = (report.schema_ for report in self.reports.values() if report.schema_ is not None)
        return tuple(dict.fromkeys((*self.inputs, *schemas)))

    @property
    def leaves(self) -> dict[str, str]:
        """What it leaves as evidence: kind (`tests` or a report's name) -> path."""
        return dict([*self.evidence.items(), *((name, report.file) for name, report in self.reports.items())])


class ImageConfig(FileModel):
    """How an image is assembled."""

    base: Base
    """`host`, or a reference that carries a digest or is locked."""
    copy_: dict[str, TargetPath] = Field(alias="copy")
    """`path` of the source tree or `task:path` of an output -> absolute path in the image"""
    command: Annotated[tuple[PlainText, ...], Field(min_length=1)]
    env: Variables = Field(default_factory=dict)
    workdir: TargetPath | None = None


class FileConfig(FileModel):
    """An artifact that is no image: a file, or a folder with all that is in it."""

    from_: Annotated[PlainText, StringConstraints(min_length=1)] = Field(alias="from")
    """`path` of the source tree or `task:path` of an output; `models/` is a folder."""


class ArtifactConfig(FileModel):
    """One artifact: what must be green first, and what is in it: exactly one of image and file."""

    needs: tuple[str, ...] = ()
    image: ImageConfig | None = None
    file: FileConfig | None = None

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """What it takes from where -> the place of that line below the artifact."""
        copied: dict[str, tuple[str, ...]] = {self.file.from_: ("file", "from")} if self.file is not None else {}
        return copied | {text: ("image", "copy", text) for text in (self.image.copy_ if self.image is not None else ())}


class Pipeline(FileModel):
    """The whole file."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Pipeline"]
    on: On = On()
    tasks: Annotated[dict[Name, TaskConfig], Field(min_length=1, max_length=5000)]
    artifacts: Annotated[dict[Name, ArtifactConfig], Field(max_length=100)] = Field(default_factory=dict)


class Lock(FileModel):
    """`.setpoint/lock.yaml`: the digest of every base."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Lock"]
    bases: dict[str, str] = Field(default_factory=dict)
