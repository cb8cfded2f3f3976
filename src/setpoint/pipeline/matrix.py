"""A task that is written once and run in several variants: the cells of a `matrix:`, their names, and `${matrix.x}` in a task's texts.

Called by the expansion of a pipeline file; pure. `exclude` and `include` mean what they mean in GitHub Actions' workflow syntax
(strategy.matrix): exclude first, then each include extends the combinations that it does not contradict, or stands for itself.
A value never becomes part of a shell's text: in `run` its place is taken by the name of an environment variable.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field

from setpoint.core import suggest
from setpoint.core.documents import FileModel, InvalidError

MAX_CELLS: Final = 256
MAX_COMBINATIONS: Final = 4096
"""Before `exclude`: nobody means more, and expanding it would cost memory."""
MAX_NAME: Final = 120
MARK: Final = "@"
"""Stands between a task's name and its cell's: `test@3.11,linux`. Neither file names, URLs, shells nor `task:path` give it a meaning."""
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
_AXIS: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_REFERENCE: Final = re.compile(r"\$\{matrix\.([^}]*)\}|\$\{\{\s*matrix\.([A-Za-z0-9_-]*)\s*\}\}")


def _value(text: str) -> str:
    if not _VALUE.fullmatch(text):
        fix = "letters, digits, `.`, `_`, `+` and `-`, at most 40: it stands in names of files and in URLs"
        raise InvalidError(f"`{text}` cannot be a value of a matrix", fix, "SP232")
    return text


Value = Annotated[str, AfterValidator(_value)]


class Matrix(FileModel):
    """The written matrix: every key but `include` and `exclude` is an axis with its values."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]] = Field(init=False)

    include: tuple[dict[str, Value], ...] = ()
    exclude: tuple[dict[str, Value], ...] = ()

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """The axes as written."""
        return dict(self.__pydantic_extra__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a matrix; `place` leads to it below `matrix`."""

    place: tuple[str | int, ...]
    what: str
    fix: str


def variable(axis: str) -> str:
    """Return the environment variable that carries a value: `python-version` -> MATRIX_PYTHON_VERSION."""
    return f"MATRIX_{axis.upper().replace('-', '_')}"


def cells(matrix: Matrix) -> tuple[dict[str, dict[str, str]], list[Fault]]:
    """Return ({cell name: values}, faults) in the order written, the last axis turning fastest; no cells when there is a fault."""
    faults = list(_faults(matrix))
    axes = matrix.axes
    count = math.prod(len(values) for values in axes.values()) if axes else 0
    if count > MAX_COMBINATIONS:
        faults.append(Fault((), f"the matrix has {count} combinations, more than {MAX_COMBINATIONS}", "list fewer values"))
    if faults:
        return {}, faults
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    for position, entry in enumerate(matrix.exclude):
        kept = [combination for combination in combinations if not _fits(combination, entry)]
        if len(kept) == len(combinations):
            faults.append(Fault(("exclude", position), "this excludes nothing", "write values that are in the matrix, or remove it"))
        combinations = kept
    named = _named(_included(combinations, matrix), tuple(axes), faults)
    if not faults and not named:
        faults.append(Fault((), "nothing is left of the matrix", "exclude less"))
    if len(named) > MAX_CELLS:
        faults.append(Fault((), f"the matrix has {len(named)} cells, more than {MAX_CELLS}", "list fewer values, or exclude some"))
    return ({} if faults else named), faults


def _fits(combination: Mapping[str, str], entry: Mapping[str, str]) -> bool:
    return all(combination.get(axis) == value for axis, value in entry.items())


def _included(combinations: list[dict[str, str]], matrix: Matrix) -> list[tuple[dict[str, str], bool]]:
    """Return (values, whether it stands for itself) after `include`."""
    extended = [dict(combination) for combination in combinations]
    alone: list[dict[str, str]] = []
    for entry in matrix.include:
        wanted = {axis: value for axis, value in entry.items() if axis in matrix.axes}
        hits = [cell for combination, cell in zip(combinations, extended, strict=True) if _fits(combination, wanted)]
        for cell in hits:
            cell.update(entry)
        alone += [] if hits else [dict(entry)]
    return [*((cell, False) for cell in extended), *((cell, True) for cell in alone)]


def _named(found: list[tuple[dict[str, str], bool]], axes: tuple[str, ...], faults: list[Fault]) -> dict[str, dict[str, str]]:
    """Return cells by name: the values along the axes; of one that stands for itself, all of its values."""
    named: dict[str, dict[str, str]] = {}
    for values, alone in found:
        along = [axis for axis in axes if axis in values]
        further = [axis for axis in values if axis not in axes] if alone else []
        name = ",".join(values[axis] for axis in (*along, *further))
        if name in named:
            faults.append(Fault(("include",), f"two cells would be named `{name}`", "give them values that differ"))
        if len(name) > MAX_NAME:
            faults.append(Fault((), f"the name of a cell is longer than {MAX_NAME} characters: `{name[:40]}…`", "use shorter values"))
        named[name] = values
    return named


def _faults(matrix: Matrix) -> Iterator[Fault]:
    """Yield what is wrong with the axes' names and values, before anything is combined."""
    if not matrix.axes and not matrix.include:
        yield Fault((), "the matrix has no axis", 'write one, such as `python: ["3.11", "3.12"]`')
    yield from _name_faults(matrix)
    for axis, values in matrix.axes.items():
        for position, value in enumerate(values):
            if value in values[:position]:
                yield Fault((axis, position), f"`{value}` is listed twice", "keep one of them")
    for position, entry in enumerate(matrix.exclude):
        for axis in entry:
            if axis not in matrix.axes:
                yield Fault(("exclude", position, axis), f"`{axis}` is no axis", suggest.help_text(axis, matrix.axes, "axes"))


def _name_faults(matrix: Matrix) -> Iterator[Fault]:
    names: list[tuple[str, tuple[str | int, ...]]] = [(axis, (axis,)) for axis in matrix.axes]
    names += [(axis, ("include", position, axis)) for position, entry in enumerate(matrix.include) for axis in entry]
    seen: dict[str, str] = {}
    for axis, place in names:
        if not _AXIS.fullmatch(axis):
            yield Fault(place, f"`{axis}` is no name of an axis", "lower-case letters, digits, `_` and `-`, a letter first")
        elif seen.setdefault(variable(axis), axis) != axis:
            yield Fault(place, f"`{axis}` and `{seen[variable(axis)]}` would share the variable {variable(axis)}", "rename one")


def unknown_references(text: str, cell: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (what, fix) of each `${matrix.x}` in a text that this cell has no value for, or that is written as in other systems."""
    for match in _REFERENCE.finditer(text):
        if match[1] is None:
            yield f"`{match[0]}` is not understood", f"write `${{matrix.{match[2]}}}`"
        elif match[1] not in cell:
            yield (
                f"there is no `{match[0]}`" + (" in every cell" if cell else ": the task has no matrix"),
                suggest.help_text(match[1], cell, "axes"),
            )


def in_path(text: str, cell: Mapping[str, str]) -> str:
    """Return a text with the values of `${matrix.x}` in their places; for paths, patterns, names and values of variables only."""
    return _replace(text, cell, lambda axis: cell[axis])


def in_shell(text: str, cell: Mapping[str, str]) -> str:
    """Return a shell's text with `${MATRIX_X}` for every `${matrix.x}`: the value stays outside of the text."""
    return _replace(text, cell, lambda axis: f"${{{variable(axis)}}}")


def _replace(text: str, cell: Mapping[str, str], value: Callable[[str], str]) -> str:
    return _REFERENCE.sub(lambda match: value(match[1]) if match[1] in cell else match[0], text)
