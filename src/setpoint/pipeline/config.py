"""The pipeline file `.setpoint/pipeline.yaml` and its lock: read, checked, expanded, and what follows from them.

Called by the pipeline, artifact and evidence stages and by `setpoint check`; a pipeline that was parsed is sound: needs exist, nothing goes
round in circles, every copy has a source. Never reads a file or a repository.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.core import digest, documents, suggest
from setpoint.core.documents import Document
from setpoint.core.errors import UserError
from setpoint.pipeline import checks, graph, patterns
from setpoint.pipeline.tasks import Task, expand
from setpoint.pipeline.written import ArtifactConfig, Lock, Pipeline
from setpoint.source.model import TreeFile

DELIVERY_FOLDERS: Final = ("apps/", "environments/", "pins/")
DELIVERY_FILE: Final = "setpoint.yaml"


@dataclass(frozen=True)
class CopySource:
    """The left side of a `copy` line, taken apart."""

    task: str
    """Task whose outputs hold it; empty for the source tree."""
    path: str
    """`src/` (a folder) or `app.py` (a file)."""


@dataclass(frozen=True)
class PipelineDocument:
    """A sound pipeline with its text."""

    document: Document[Pipeline]
    lock: Mapping[str, str]
    tasks: Mapping[str, Task]
    """The tasks of the graph by name, every matrix expanded."""
    artifacts: Mapping[str, ArtifactConfig]
    """The artifacts by name; their needs are tasks of the graph."""

    @property
    def order(self) -> list[str]:
        """The names of the tasks, needed ones first."""
        return graph.order(self.needs)

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """What must be green before each task starts."""
        return {name: task.needs for name, task in self.tasks.items()}

    def cells(self, task: str) -> tuple[str, ...]:
        """Return the tasks of the graph that were written together with this one, itself among them."""
        family = self.tasks[task].family
        return tuple(name for name, other in self.tasks.items() if other.family == family)

    def starts_for(self, branch: str) -> bool:
        """Say whether a push to a branch starts a run."""
        return any(patterns.matches(pattern, branch) for pattern in self.document.model.on.push.branches)

    def base(self, artifact: str) -> str:
        """Return an image's base: `host`, or its reference with a digest (from the lock when the file has none)."""
        image = self.artifacts[artifact].image
        reference = image.base if image is not None else "host"
        return reference if reference == "host" or "@" in reference else f"{reference.rstrip(':')}@{self.lock[reference]}"

    def closure(self, needs: Iterable[str]) -> frozenset[str]:
        """Return the tasks that are needed, directly or by others."""
        return graph.closure(self.needs, needs)


def parse_lock(data: bytes, path: str) -> dict[str, str]:
    """Return {reference: digest} of a lock file.

    Raises:
        ConfigError: with every finding.
    """
    document = documents.read(data, path, Lock)
    findings = [
        document.finding(("bases", name), "SP228", f"`{value}` is no digest", "write sha256: and 64 hex digits")
        for name, value in document.model.bases.items()
        if not digest.is_digest(value)
    ]
    if findings:
        documents.refuse(findings)
    return dict(document.model.bases)


def parse_pipeline(data: bytes, path: str, lock: Mapping[str, str] | None = None) -> PipelineDocument:
    """Return a sound pipeline.

    Raises:
        ConfigError: with every finding.
    """
    document = documents.read(data, path, Pipeline)
    expansion = expand(document)
    findings = checks.findings(document, expansion, lock or {})
    if findings:
        documents.refuse(findings)
    artifacts = {
        name: artifact.model_copy(
            update={"needs": tuple(dict.fromkeys(task for need in artifact.needs for task in expansion.members(need)))}
        )
        for name, artifact in document.model.artifacts.items()
    }
    return PipelineDocument(document, dict(lock or {}), expansion.tasks, artifacts)


def copy_source(text: str) -> CopySource:
    """Take the left side of a `copy` line apart: `deps:vendor/` -> task deps, path vendor/."""
    task, colon, path = text.partition(":")
    return CopySource(task, path) if colon else CopySource("", text)


def is_delivery_file(path: str) -> bool:
    """Say whether a path belongs to a delivery repository's side of a repository that plays both roles."""
    return path == DELIVERY_FILE or path.startswith(DELIVERY_FOLDERS)


def select_inputs(wanted: Sequence[str] | None, files: Iterable[TreeFile]) -> list[TreeFile]:
    """Return the files that a task reads, sorted by path; None is everything but delivery files.

    Raises:
        UserError: patterns that match nothing (SP230).
    """
    every = sorted(files, key=lambda file: file.path)
    if wanted is None:
        return [file for file in every if not is_delivery_file(file.path)]
    found: dict[str, TreeFile] = {}
    empty = []
    for pattern in wanted:
        matcher = patterns.compiled(pattern)
        hits = {file.path: file for file in every if matcher.fullmatch(file.path)}
        found.update(hits)
        empty += [] if hits else [pattern]
    if empty:
        folders = [pattern for pattern in empty if any(file.path.startswith(pattern + "/") for file in every)]
        near = suggest.nearest(empty[0], (file.path for file in every))
        fix = f"did you mean `{folders[0]}/`?" if folders else (f"did you mean `{near}`?" if near else "mend or remove the pattern")
        listed = ", ".join(f"`{pattern}`" for pattern in empty)
        raise UserError("SP230", f"no file of this revision matches {listed}", where="inputs", fix=fix)
    return [found[path] for path in sorted(found)]
