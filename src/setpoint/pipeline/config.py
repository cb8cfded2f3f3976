"""The pipeline file `.setpoint/pipeline.yaml` and its lock: models, cross-checks with places, and what follows from them.

Called by the pipeline, artifact and evidence stages and by `setpoint check`; a pipeline that was parsed is sound: needs exist, nothing goes
round in circles, every copy has a source. Never reads a file or a repository.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from setpoint.core import digest, documents, suggest
from setpoint.core.documents import Document, FileModel, InvalidError, Loc
from setpoint.core.durations import Duration, to_text
from setpoint.core.errors import Finding, UserError
from setpoint.pipeline import patterns
from setpoint.source.model import TreeFile

MAX_TIMEOUT_S: Final = 24 * 3600
DELIVERY_FOLDERS: Final = ("apps/", "environments/", "pins/")
DELIVERY_FILE: Final = "setpoint.yaml"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_REFERENCE: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}(@sha256:[0-9a-f]{64})?")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise InvalidError(f"`{text}` is no name", "lower-case letters, digits and dashes, a letter first, at most 40", "SP220")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise InvalidError(f"`{text}` is no name of an environment variable", "letters, digits and underscores, no digit first", "SP220")
    return text


def _plain_text(text: str) -> str:
    if "\0" in text:
        raise InvalidError("a zero byte cannot be passed to a program", "remove it")
    return text


def _pattern(text: str) -> str:
    why = patterns.fault(text)
    if why:
        raise InvalidError(f"the pattern `{text}` is not accepted: {why}", "write a path, `folder/`, `src/**` or `*.py`", "SP221")
    return text


def _plain_path(text: str) -> str:
    why = patterns.fault(text) or ("it is a folder or a pattern" if text.endswith("/") or set("*?[") & set(text) else "")
    if why:
        raise InvalidError(f"the path `{text}` is not accepted: {why}", "write the path of one file inside the task's folder", "SP225")
    return text


def _target_path(text: str) -> str:
    parts = text.split("/")
    if not text.startswith("/") or ".." in parts or "." in parts or "" in parts[1:-1] or re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidError(f"`{text}` is no absolute path", "write where it goes in the image, such as /app/", "SP223")
    return text


def _timeout(seconds: int) -> int:
    if seconds > MAX_TIMEOUT_S:
        raise InvalidError(f"a timeout of {to_text(seconds)} is too long", f"at most {to_text(MAX_TIMEOUT_S)}", "SP226")
    return seconds


def _base(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        fix = "write `host`, or a reference such as registry.example/python@sha256:…"
        raise InvalidError(f"`{text}` is no base", fix, "SP227")
    return text


Name = Annotated[str, AfterValidator(_name)]
Variables = dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_plain_text)]]
Pattern = Annotated[str, AfterValidator(_pattern)]
PlainText = Annotated[str, AfterValidator(_plain_text)]


class Push(FileModel):
    """Which pushes start a run."""

    branches: tuple[Pattern, ...] = ("main",)


class On(FileModel):
    """What starts a run."""

    push: Push = Push()


class TaskConfig(FileModel):
    """One task: what it runs, what it reads, what it leaves."""

    run: Annotated[PlainText, StringConstraints(min_length=1, max_length=100_000)]
    needs: tuple[str, ...] = ()
    inputs: tuple[Pattern, ...] | None = None
    """Patterns; None is the whole tree except delivery files."""
    outputs: tuple[Pattern, ...] = ()
    env: Variables = Field(default_factory=dict)
    network: bool = False
    valid: Duration | None = None
    """Seconds for which a networked result may be reused; None is: in this run only."""
    timeout: Annotated[Duration, AfterValidator(_timeout)] = 1800
    """Seconds."""
    evidence: dict[Literal["tests"], Annotated[str, AfterValidator(_plain_path)]] = Field(default_factory=dict)
    """evidence type -> path of the report"""


class ImageConfig(FileModel):
    """How an image is assembled."""

    base: Annotated[str, AfterValidator(_base)]
    """`host`, or a reference that carries a digest or is locked."""
    copy_: dict[str, Annotated[str, AfterValidator(_target_path)]] = Field(alias="copy")
    """`path` of the source tree or `task:path` of an output -> absolute path in the image"""
    command: Annotated[tuple[PlainText, ...], Field(min_length=1)]
    env: Variables = Field(default_factory=dict)
    workdir: Annotated[str, AfterValidator(_target_path)] | None = None


class ArtifactConfig(FileModel):
    """One artifact: what must be green first, and what is in it."""

    needs: tuple[str, ...] = ()
    image: ImageConfig


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

    @property
    def tasks(self) -> dict[str, TaskConfig]:
        """The tasks by name, as written."""
        return self.document.model.tasks

    @property
    def artifacts(self) -> dict[str, ArtifactConfig]:
        """The artifacts by name."""
        return self.document.model.artifacts

    @property
    def order(self) -> list[str]:
        """The names of the tasks, needed ones first."""
        return order(self.tasks)

    def starts_for(self, branch: str) -> bool:
        """Say whether a push to a branch starts a run."""
        return any(patterns.matches(pattern, branch) for pattern in self.document.model.on.push.branches)

    def base(self, artifact: str) -> str:
        """Return an artifact's base: `host`, or its reference with a digest (from the lock when the file has none)."""
        reference = self.artifacts[artifact].image.base
        return reference if reference == "host" or "@" in reference else f"{reference.rstrip(':')}@{self.lock[reference]}"

    def closure(self, needs: Iterable[str]) -> frozenset[str]:
        """Return the tasks that are needed, directly or by others."""
        return closure(self.tasks, needs)


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
    findings = [*_needs(document), *_tasks(document), *_artifacts(document, lock or {})]
    if findings:
        documents.refuse(findings)
    return PipelineDocument(document, dict(lock or {}))


def _needs(document: Document[Pipeline]) -> Iterator[Finding]:
    tasks = document.model.tasks
    wanted: list[tuple[Loc, str]] = [(("tasks", n, "needs", i), need) for n, t in tasks.items() for i, need in enumerate(t.needs)]
    wanted += [(("artifacts", n, "needs", i), need) for n, a in document.model.artifacts.items() for i, need in enumerate(a.needs)]
    unknown = False
    for loc, need in wanted:
        if need not in tasks:
            unknown = True
            yield document.finding(loc, "SP222", f"`{loc[1]}` needs `{need}`, which is no task", suggest.help_text(need, tasks, "tasks"))
    circle = () if unknown else find_cycle({name: task.needs for name, task in tasks.items()})
    if circle:
        path = " -> ".join((*circle, circle[0]))
        first = circle[0]
        index = tasks[first].needs.index(circle[1 % len(circle)])
        yield document.finding(
            ("tasks", first, "needs", index), "SP229", f"tasks need each other in a circle: {path}", "remove one of the needs"
        )


def _tasks(document: Document[Pipeline]) -> Iterator[Finding]:
    for name, task in document.model.tasks.items():
        if task.valid is not None and not task.network:
            fix = "remove it: a task without network is reused as long as its key is the same"
            yield document.finding(("tasks", name, "valid"), "SP224", "`valid` is for tasks with `network: true`", fix, at="key")
        if not task.run.strip():
            yield document.finding(("tasks", name, "run"), documents.BAD_VALUE, f"`{name}` runs nothing", "write a command")


def _artifacts(document: Document[Pipeline], lock: Mapping[str, str]) -> Iterator[Finding]:
    tasks = document.model.tasks
    for name, artifact in document.model.artifacts.items():
        at: Loc = ("artifacts", name, "image")
        base = artifact.image.base
        if base != "host" and "@" not in base and base not in lock:
            fix = f"add its digest (`{base}@sha256:…`), or lock it in .setpoint/lock.yaml under `bases:`"
            yield document.finding((*at, "base"), "SP227", f"the base `{base}` has no digest", fix)
        if not artifact.image.copy_:
            yield document.finding((*at, "copy"), "SP223", "nothing is copied into the image", "add a line such as `src/: /app/`", at="key")
        reach = closure(tasks, (need for need in artifact.needs if need in tasks))
        for text in artifact.image.copy_:
            what, fix = _copy_fault(copy_source(text), tasks, reach)
            if what:
                yield document.finding((*at, "copy", text), "SP223", what, fix, at="key")


def copy_source(text: str) -> CopySource:
    """Take the left side of a `copy` line apart: `deps:vendor/` -> task deps, path vendor/."""
    task, colon, path = text.partition(":")
    return CopySource(task, path) if colon else CopySource("", text)


def _copy_fault(source: CopySource, tasks: Mapping[str, TaskConfig], reach: frozenset[str]) -> tuple[str, str]:
    """Return (what, fix) of a copy line that cannot work."""
    why = patterns.fault(source.path)
    if why or set("*?[") & set(source.path):
        return (
            f"`{source.path}` cannot be copied: {why or 'patterns are not supported here'}",
            "write a file, or a folder with a slash: src/",
        )
    if not source.task:
        return "", ""
    if source.task not in tasks:
        return f"`{source.task}` is no task", suggest.help_text(source.task, tasks, "tasks")
    if source.task not in reach:
        return f"the artifact does not need `{source.task}`", f"add `{source.task}` to its `needs`"
    outputs = tasks[source.task].outputs
    if not outputs:
        return f"`{source.task}` has no outputs", f"add `outputs: [{source.path}]` to it"
    literal = all(not set("*?[") & set(output) for output in outputs)
    if literal and not any(_within(source.path, output) for output in outputs):
        return f"`{source.path}` is no output of `{source.task}`", suggest.help_text(source.path, outputs, "outputs")
    return "", ""


def _within(path: str, output: str) -> bool:
    """Say whether a path is, lies in, or holds a declared output without stars."""
    return path.rstrip("/") == output.rstrip("/") or path.startswith(output.rstrip("/") + "/") or output.startswith(path.rstrip("/") + "/")


def closure(tasks: Mapping[str, TaskConfig], needs: Iterable[str]) -> frozenset[str]:
    """Return the tasks in `needs` and all that they need."""
    found: set[str] = set()
    todo = list(needs)
    while todo:
        name = todo.pop()
        if name not in found and name in tasks:
            found.add(name)
            todo.extend(tasks[name].needs)
    return frozenset(found)


def find_cycle(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return one circle of names, each needing the next, the last needing the first; empty when there is none."""
    left = {name: set(wanted) & set(needs) for name, wanted in needs.items()}
    while True:
        free = {name for name, wanted in left.items() if not wanted}
        if not free:
            break
        left = {name: wanted - free for name, wanted in left.items() if name not in free}
    if not left:
        return ()
    trail = [next(iter(left))]
    while trail.count(trail[-1]) == 1:
        trail.append(next(name for name in needs[trail[-1]] if name in left))
    return tuple(trail[trail.index(trail[-1]) : -1])


def order(tasks: Mapping[str, TaskConfig]) -> list[str]:
    """Return the tasks so that needed ones come first, otherwise as written: always the first that may come (Kahn 1962, with a heap)."""
    names = list(tasks)
    missing = {name: len(set(task.needs)) for name, task in tasks.items()}
    dependents: dict[str, list[int]] = {name: [] for name in names}
    for position, task in enumerate(tasks.values()):
        for need in set(task.needs):
            dependents.setdefault(need, []).append(position)
    ready = [position for position, name in enumerate(names) if not missing[name]]
    done: list[str] = []
    while ready:
        done.append(names[heapq.heappop(ready)])
        for position in dependents[done[-1]]:
            missing[names[position]] -= 1
            if not missing[names[position]]:
                heapq.heappush(ready, position)
    if len(done) < len(names):
        raise ValueError("the tasks need each other in a circle")
    return done


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
