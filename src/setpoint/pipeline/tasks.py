"""The tasks of a pipeline's graph: what is written once under `tasks:`, with every matrix expanded and every need resolved.

Called by `config.parse_pipeline`, so by whoever reads a pipeline, the signer too: the same text gives the same tasks everywhere.
Pure; every fault is a finding at its place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from setpoint.core import suggest
from setpoint.core.documents import Document, Loc
from setpoint.core.errors import Finding
from setpoint.pipeline import matrix, patterns
from setpoint.pipeline.matrix import MARK
from setpoint.pipeline.placing import Take
from setpoint.pipeline.written import Pipeline, TaskConfig

MAX_TASKS: Final = 5000
Part = Literal["value", "key"]


class Task(TaskConfig):
    """One task of the graph: the written one, or one cell of its matrix, with `${matrix.x}` replaced and its values in `env`."""

    family: str
    """The name it is written under."""
    cell: dict[str, str]
    """Values of the matrix; empty without one."""
    needs: tuple[str, ...]
    """Tasks of the graph that must be green first, those that `from:` takes from among them."""
    whole: tuple[str, ...]
    """Those of them that are written under `needs:`: all their outputs are laid into the workspace."""
    takes: tuple[Take, ...]
    """What `from:` takes."""

    @property
    def laid(self) -> list[tuple[str, Take | None]]:
        """What is laid into the workspace, in this order: all outputs of a task (None), or what a line takes."""
        return [*((name, None) for name in self.whole), *((take.task, take) for take in self.takes)]

    @classmethod
    def of(cls, config: TaskConfig, **changed: Any) -> "Task":
        """Return the task of a config that was validated, with some fields set."""
        own: dict[str, Any] = {"family": "", "cell": {}, "whole": config.needs, "takes": ()}
        return cls.model_construct(**{**{name: getattr(config, name) for name in TaskConfig.model_fields}, **own, **changed})


@dataclass(slots=True)
class Expansion:
    """The graph and what is wrong with it."""

    tasks: dict[str, Task] = field(default_factory=dict)
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Written name -> the tasks of the graph it stands for."""
    findings: list[Finding] = field(default_factory=list)

    def members(self, name: str) -> tuple[str, ...]:
        """Return the tasks that a written need means: all cells of a matrix, one cell, or the task itself; none when it is unknown."""
        return self.families.get(name) or ((name,) if any(name in cells for cells in self.families.values()) else ())

    @property
    def known(self) -> list[str]:
        """What a need may be called."""
        return list(dict.fromkeys([*self.families, *(name for names in self.families.values() for name in names)]))


def expand(document: Document[Pipeline]) -> Expansion:
    """Return every task of the graph, in the order written."""
    made = Expansion()
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for name, config in document.model.tasks.items():
        found: dict[str, dict[str, str]] = {}
        if config.matrix is not None:
            found, faults = matrix.cells(config.matrix)
            for fault in faults:
                part: Part = "key" if not fault.place else "value"
                made.findings.append(document.finding(("tasks", name, "matrix", *fault.place), "SP232", fault.what, fault.fix, at=part))
        cells[name] = {f"{name}{MARK}{label}": values for label, values in found.items()} if config.matrix is not None else {name: {}}
        made.families[name] = tuple(cells[name])
    if sum(map(len, cells.values())) > MAX_TASKS:
        what = f"the pipeline has {sum(map(len, cells.values()))} tasks, more than {MAX_TASKS}"
        made.findings.append(document.finding(("tasks",), "SP232", what, "write shorter matrices", at="key"))
        return made
    for name, config in document.model.tasks.items():
        one = _Written(document, name, config, made)
        for task, values in cells[name].items():
            made.tasks[task] = one.task(values)
    made.findings = list(dict.fromkeys(made.findings))
    return made


class _Written:
    """One written task on its way to its cells; a fault that all cells share is found once."""

    def __init__(self, document: Document[Pipeline], name: str, config: TaskConfig, made: Expansion) -> None:
        self._document = document
        self._name = name
        self._config = config
        self._made = made

    def _fault(self, loc: Loc, code: str, what: str, fix: str, at: Part = "value") -> None:
        self._made.findings.append(self._document.finding(("tasks", self._name, *loc), code, what, fix, at=at))

    def task(self, cell: Mapping[str, str]) -> Task:
        """Return the task of one cell."""
        config = self._config
        changed: dict[str, Any] = {"family": self._name, "cell": dict(cell)}
        if cell or self._mentions_matrix():
            changed |= self._texts(cell)
        whole = self._whole(cell)
        takes = tuple(self._takes(cell))
        needs = tuple(dict.fromkeys((*whole, *(take.task for take in takes))))
        return Task.of(config, **changed, needs=needs, whole=whole, takes=takes)

    def _mentions_matrix(self) -> bool:
        config = self._config
        texts = (config.run, config.probe or "", *(config.inputs or ()), *config.outputs, *config.env.values(), *config.leaves.values())
        return any("matrix." in text for text in texts)

    def _texts(self, cell: Mapping[str, str]) -> dict[str, Any]:
        """Return the fields whose texts name values of the matrix, and the environment that carries them."""
        config = self._config
        values = {matrix.variable(axis): value for axis, value in cell.items()}
        for name in config.env:
            if name in values:
                self._fault(("env", name), "SP232", f"`{name}` is set by the matrix", "rename one of them", at="key")
        if config.inputs is not None:
            inputs: tuple[str, ...] | None = tuple(self._path(text, cell, ("inputs", index)) for index, text in enumerate(config.inputs))
        else:
            inputs = None
        self._known(config.run, cell, ("run",))
        if config.probe is not None:
            self._known(config.probe, cell, ("probe",))
        return {
            "run": matrix.in_shell(config.run, cell),
            "probe": matrix.in_shell(config.probe, cell) if config.probe is not None else None,
            "inputs": inputs,
            "outputs": tuple(self._path(text, cell, ("outputs", index)) for index, text in enumerate(config.outputs)),
            "env": {**{name: self._path(text, cell, ("env", name)) for name, text in config.env.items()}, **values},
            "evidence": {kind: self._path(text, cell, ("evidence", kind)) for kind, text in config.evidence.items()},
            "reports": {
                name: report.model_copy(update={"file": self._path(report.file, cell, ("reports", name, "file"))})
                for name, report in config.reports.items()
            },
        }

    def _known(self, text: str, cell: Mapping[str, str], loc: Loc, at: Part = "value") -> bool:
        sound = True
        for what, fix in matrix.unknown_references(text, cell):
            self._fault(loc, "SP233", what, fix, at)
            sound = False
        return sound

    def _path(self, text: str, cell: Mapping[str, str], loc: Loc) -> str:
        self._known(text, cell, loc)
        return matrix.in_path(text, cell)

    def _whole(self, cell: Mapping[str, str]) -> tuple[str, ...]:
        found: list[str] = []
        for index, written in enumerate(self._config.needs):
            if not self._known(written, cell, ("needs", index)):
                continue
            need = matrix.in_path(written, cell)
            members = self._made.members(need)
            if not members:
                what = f"`{self._name}` needs `{need}`, which is no task"
                self._fault(("needs", index), "SP222", what, suggest.help_text(need, self._made.known, "tasks"))
            found += members
        return tuple(dict.fromkeys(found))

    def _takes(self, cell: Mapping[str, str]) -> Iterator[Take]:
        places: dict[str, str] = {}
        for written, place in self._config.from_.items():
            loc = ("from", written)
            if not (self._known(written, cell, loc, "key") and self._known(place, cell, loc)):
                continue
            source, colon, path = matrix.in_path(written, cell).partition(":")
            target = matrix.in_path(place, cell)
            members = self._made.members(source)
            fault = _source_fault(source, colon, path, members, self._made)
            if fault:
                self._fault(loc, "SP234", *fault, at="key")
                continue
            family = len(members) > 1 or self._made.families.get(source) != members
            if len(members) > 1 and not target.endswith("/"):
                self._fault(loc, "SP234", f"`{source}` has {len(members)} cells: they need a folder each", f"write `{target}/`")
                continue
            other = places.setdefault(target.rstrip("/"), written)
            if other != written:
                self._fault(loc, "SP235", f"`{target}` is where `{other}` goes too", "give each source a place of its own")
            for member in members:
                own = f"{member.partition(MARK)[2]}/" if family and source in self._made.families else ""
                yield Take(member, path, target + own)


def _source_fault(source: str, colon: str, path: str, members: tuple[str, ...], made: Expansion) -> tuple[str, str] | None:
    """Return (what, fix) of a left side that cannot be taken, before outputs are compared."""
    if not colon:
        return f"`{source}` names no task", f"write `TASK:{source}`; files of the source tree are `inputs`"
    if not members:
        return f"`{source}` is no task", suggest.help_text(source, made.known, "tasks")
    why = patterns.fault(path) if path else ""
    if why or set("*?[") & set(path):
        return f"`{path}` cannot be taken: {why or 'patterns are not supported here'}", "write a file, or a folder with a slash: vendor/"
    return None


def within(path: str, output: str) -> bool:
    """Say whether a path is, lies in, or holds a declared output without stars."""
    bare, declared = path.rstrip("/"), output.rstrip("/")
    return not bare or bare == declared or bare.startswith(declared + "/") or declared.startswith(bare + "/")


def output_fault(task: TaskConfig, name: str, path: str) -> tuple[str, str]:
    """Return (what, fix) when a path is none of a task's declared outputs, else two empty texts."""
    if not task.outputs:
        return f"`{name}` has no outputs", f"add `outputs: [{path or 'FOLDER/'}]` to it"
    literal = all(not set("*?[") & set(output) for output in task.outputs)
    if literal and not any(within(path, output) for output in task.outputs):
        return f"`{path}` is no output of `{name}`", suggest.help_text(path, task.outputs, "outputs")
    return "", ""
