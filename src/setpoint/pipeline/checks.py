"""What can be wrong with a pipeline file although every word of it is sound: needs, sources, bases; every finding with its place.

Called by `config.parse_pipeline`; pure.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from setpoint.core import documents, suggest
from setpoint.core.documents import Document, Loc
from setpoint.core.errors import Finding
from setpoint.pipeline import graph, matrix, patterns
from setpoint.pipeline.tasks import Expansion, output_fault
from setpoint.pipeline.written import ImageConfig, Pipeline

_PATTERN: Final = frozenset("*?[")


def findings(document: Document[Pipeline], expansion: Expansion, lock: Mapping[str, str]) -> list[Finding]:
    """Return everything that is wrong, in the order it is looked for."""
    found = [*expansion.findings, *_artifact_needs(document, expansion)]
    if not found:
        found += _circle(document, expansion)
    return [
        *found,
        *_takes(document, expansion),
        *_one_place(document, expansion),
        *_tasks(document),
        *_artifacts(document, expansion, lock),
    ]


def _artifact_needs(document: Document[Pipeline], expansion: Expansion) -> Iterator[Finding]:
    for name, artifact in document.model.artifacts.items():
        for index, need in enumerate(artifact.needs):
            if not expansion.members(need):
                what = f"`{name}` needs `{need}`, which is no task"
                fix = suggest.help_text(need, expansion.known, "tasks")
                yield document.finding(("artifacts", name, "needs", index), "SP222", what, fix)


def _circle(document: Document[Pipeline], expansion: Expansion) -> Iterator[Finding]:
    circle = graph.find_cycle({name: task.needs for name, task in expansion.tasks.items()})
    if not circle:
        return
    family, wanted = expansion.tasks[circle[0]].family, circle[1 % len(circle)]
    written = document.model.tasks[family]
    path = " -> ".join((*circle, circle[0]))
    index = next((index for index, need in enumerate(written.needs) if wanted in expansion.members(need)), None)
    loc: Loc = ("tasks", family, "needs", index) if index is not None else ("tasks", family, "from" if written.from_ else "needs")
    yield document.finding(loc, "SP229", f"tasks need each other in a circle: {path}", "remove one of the needs")


def _takes(document: Document[Pipeline], expansion: Expansion) -> Iterator[Finding]:
    """Yield each `from:` line that takes what its task does not leave; a fault that all cells share is found once."""
    seen: set[tuple[str, str]] = set()
    for task in expansion.tasks.values():
        for take in task.takes:
            what, fix = output_fault(expansion.tasks[take.task], take.task, take.path) if take.task in expansion.tasks else ("", "")
            if what and (task.family, what) not in seen:
                seen.add((task.family, what))
                written = document.model.tasks[task.family].from_
                key = next((text for text in written if text == take.label), next(iter(written)))
                source = expansion.tasks[take.task].family
                key = next((text for text in written if text.partition(":")[0] in (source, take.task) and text.endswith(take.path)), key)
                yield document.finding(("tasks", task.family, "from", key), "SP234", what, fix, at="key")


def _one_place(document: Document[Pipeline], expansion: Expansion) -> Iterator[Finding]:
    """Yield each need of a matrix whose cells leave their outputs at the same place: laid side by side, one would cover the other."""
    for name, written in document.model.tasks.items():
        for index, need in enumerate(written.needs):
            cells = expansion.families.get(need, ())
            places = [output for cell in cells if cell in expansion.tasks for output in expansion.tasks[cell].outputs]
            twice = next((place for place in places if places.count(place) > 1), "")
            if twice:
                what = f"the {len(cells)} cells of `{need}` all leave `{twice}`, and `needs` lays them into one folder"
                fix = f'take them by `from: {{"{need}:": {need}/}}`, or put a value of the matrix into the path'
                yield document.finding(("tasks", name, "needs", index), "SP235", what, fix)


def _tasks(document: Document[Pipeline]) -> Iterator[Finding]:
    for name, task in document.model.tasks.items():
        if task.valid is not None and not task.network:
            fix = "remove it: a task without network is reused as long as its key is the same"
            yield document.finding(("tasks", name, "valid"), "SP224", "`valid` is for tasks with `network: true`", fix, at="key")
        yield from _once(document, name)
        yield from _reports(document, name)
        yield from _executor(document, name)
        if task.sandbox == "none" and not task.network:
            what = "nothing keeps a task without a sandbox from the network"
            yield document.finding(("tasks", name, "sandbox"), "SP248", what, "add `network: true`, so that its results count as networked")
        for variable in task.secrets:
            if variable in task.env or (task.matrix is not None and variable in map(matrix.variable, task.matrix.axes)):
                what = f"`{variable}` is set by the task's `env` or matrix too"
                yield document.finding(("tasks", name, "secrets", variable), "SP237", what, "give one of them another name", at="key")
        if not task.run.strip():
            yield document.finding(("tasks", name, "run"), documents.BAD_VALUE, f"`{name}` runs nothing", "write a command")


def _executor(document: Document[Pipeline], name: str) -> Iterator[Finding]:
    """Yield what does not go with a pod: nothing keeps it from the network, and only a pod has resources."""
    task = document.model.tasks[name]
    at: Loc = ("tasks", name)
    if task.executor is not None and task.sandbox == "none":
        fix = "remove one of them"
        yield document.finding((*at, "sandbox"), "SP277", "`sandbox: none` is for this machine, `executor` is elsewhere", fix, at="key")
    if task.executor is not None and not task.network:
        what = "a pod has the network, and no cluster promises otherwise"
        yield document.finding((*at, "executor"), "SP277", what, "add `network: true`, so that its results count as networked")
    if task.executor is None and task.resources is not None:
        yield document.finding((*at, "resources"), "SP277", "`resources` are for tasks with an `executor`", "remove it", at="key")


def _once(document: Document[Pipeline], name: str) -> Iterator[Finding]:
    """Yield what contradicts `once`: an outcome that a probe or a person tells leaves no files behind, and nothing is reused."""
    task = document.model.tasks[name]
    if task.probe is not None and not task.once:
        yield document.finding(("tasks", name, "probe"), "SP236", "`probe` is for tasks with `once: true`", "remove it", at="key")
    for key, written in (("outputs", task.outputs), ("evidence", task.evidence), ("reports", task.reports), ("valid", task.valid)):
        if task.once and written:
            why = "a result of it is never reused" if key == "valid" else "what a person or a probe says of it leaves no files"
            fix = "remove it" if key == "valid" else "let a task without `once` leave them"
            yield document.finding(("tasks", name, key), "SP236", f"`{key}` does not go with `once: true`: {why}", fix, at="key")


def _reports(document: Document[Pipeline], name: str) -> Iterator[Finding]:
    """Yield each report that does not say what it is, or says it twice."""
    for report, config in document.model.tasks[name].reports.items():
        at = ("tasks", name, "reports", report)
        if (config.format is None) == (config.schema_ is None):
            both = config.format is not None
            what = f"`{report}` has a format and a schema" if both else f"it is not said what `{report}` is"
            fix = "write `format: sarif`, `format: cyclonedx`, or for JSON of your own `schema: FILE`"
            yield document.finding((*at, "schema") if both else at, "SP262", what, fix, at="key")
        if config.format is not None and config.predicate is not None:
            fix = "remove it: the format says under which type it is signed"
            yield document.finding((*at, "predicate"), "SP262", "`predicate` is for reports with a schema", fix, at="key")


def _artifacts(document: Document[Pipeline], expansion: Expansion, lock: Mapping[str, str]) -> Iterator[Finding]:
    needs = {name: task.needs for name, task in expansion.tasks.items()}
    for name, artifact in document.model.artifacts.items():
        at: Loc = ("artifacts", name)
        if (artifact.image is None) == (artifact.file is None):
            what = f"`{name}` is neither an image nor a file" if artifact.image is None else f"`{name}` is an image and a file at once"
            yield document.finding(at, "SP260", what, "write `image:`, or `file: {from: task:path}`", at="key")
        if artifact.image is not None:
            yield from _image(document, (*at, "image"), artifact.image, lock)
        reach = graph.closure(needs, (member for need in artifact.needs for member in expansion.members(need)))
        for text, place in artifact.sources.items():
            what, fix = _copy_fault(text, expansion, reach)
            if what:
                yield document.finding((*at, *place), "SP223", what, fix, at="value" if place[0] == "file" else "key")


def _image(document: Document[Pipeline], at: Loc, image: ImageConfig, lock: Mapping[str, str]) -> Iterator[Finding]:
    base = image.base
    if base != "host" and "@" not in base and base not in lock:
        fix = f"add its digest (`{base}@sha256:…`), or lock it in .setpoint/lock.yaml under `bases:`"
        yield document.finding((*at, "base"), "SP227", f"the base `{base}` has no digest", fix)
    if not image.copy_:
        yield document.finding((*at, "copy"), "SP223", "nothing is copied into the image", "add a line such as `src/: /app/`", at="key")


def _copy_fault(text: str, expansion: Expansion, reach: frozenset[str]) -> tuple[str, str]:
    """Return (what, fix) of a copy line that cannot work."""
    task, colon, path = text.partition(":") if ":" in text else ("", "", text)
    why = patterns.fault(path)
    if why or _PATTERN & set(path):
        return f"`{path}` cannot be copied: {why or 'patterns are not supported here'}", "write a file, or a folder with a slash: src/"
    if not colon:
        return "", ""
    members = expansion.members(task)
    if not members:
        return f"`{task}` is no task", suggest.help_text(task, expansion.known, "tasks")
    if task not in members:
        return f"`{task}` has {len(members)} cells", f"name one of them: `{members[0]}:{path}`"
    if task not in reach:
        return f"the artifact does not need `{task}`", f"add `{task}` to its `needs`"
    return output_fault(expansion.tasks[task], task, path)
