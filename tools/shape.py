"""Prints the shape of src (sizes of files and functions, numbers of parameters) and fails when a hard limit is broken, or two
modules of tests have one name.

Called by tools/lint and by hand: `.venv/bin/python tools/shape.py`; `--worst N` lists the N largest of each kind. It reads, and changes
nothing. A limit only ever goes down: an exception is named here with its reason, or the code is cut.
"""

import argparse
import ast
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "src" / "setpoint"
TESTS: Final = ROOT / "tests"

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 70
PARAMETERS: Final = 6
LONG_FILES: Final[dict[str, str]] = {}
"""Path below src/setpoint -> why this file may be longer than FILE_LINES."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Shape:
    """Sizes by place, and what breaks a limit."""

    files: dict[str, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    """Lines from `def` to the last statement, docstring and decorators not counted."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Without `self` and `cls`."""
    faults: list[str] = field(default_factory=list)


def measure(root: Path) -> Shape:
    """Return the shape of every module below a folder."""
    shape = Shape()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        text = path.read_text()
        _module(shape, name, text.count("\n"), ast.parse(text))
    return shape


def _module(shape: Shape, name: str, lines: int, tree: ast.Module) -> None:
    shape.files[name] = lines
    if lines > FILE_LINES and name not in LONG_FILES:
        shape.faults.append(f"{name}: {lines} lines, more than {FILE_LINES}")
    if not ast.get_docstring(tree):
        shape.faults.append(f"{name}: no docstring says why this module exists")
    for owner, node in _definitions(tree.body):
        place = f"{name}:{node.lineno} {'.'.join((*owner, node.name))}"
        if isinstance(node, Function):
            _function(shape, place, node)
        public = not any(part.startswith("_") for part in (*owner, node.name))
        if public and not ast.get_docstring(node):
            shape.faults.append(f"{place}: public, without a docstring")


def _definitions(body: Sequence[ast.stmt], owner: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.ClassDef | Function]]:
    """Yield (names around it, definition) of classes, methods and functions; functions inside functions belong to these."""
    for node in body:
        if isinstance(node, ast.ClassDef | Function):
            yield owner, node
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, (*owner, node.name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _definitions(node.body, owner)


def _function(shape: Shape, place: str, node: Function) -> None:
    first = node.body[0]
    documented = bool(ast.get_docstring(node))
    text = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    lines = (node.end_lineno or node.lineno) - node.lineno + 1 - text
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    count = sum(1 for argument in named if argument.arg not in ("self", "cls"))
    shape.functions[place], shape.parameters[place] = lines, count
    if lines > FUNCTION_LINES:
        shape.faults.append(f"{place}: {lines} lines, more than {FUNCTION_LINES}")
    if count > PARAMETERS and not _outside(node):
        shape.faults.append(f"{place}: {count} parameters, more than {PARAMETERS}")


def _outside(node: Function) -> bool:
    """Say whether the signature is dictated: a click command's options, a route's query."""
    return any(word in ast.unparse(decorator) for decorator in node.decorator_list for word in ("click.", "router.", "_option", "_options"))


def same_names(folder: Path) -> list[str]:
    """Return test modules of one name: pytest imports them by it, and stops before the first test."""
    seen: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        seen.setdefault(path.name, []).append(str(path.relative_to(folder.parent)))
    return [f"{' and '.join(places)}: two modules of tests have one name" for places in seen.values() if len(places) > 1]


def percentile(values: Sequence[int], share: float) -> int:
    """Return the nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def main() -> int:
    """Print the table, then the faults; 1 when there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worst", type=int, default=0, metavar="N")
    worst = parser.parse_args().worst
    shape = measure(SOURCE)
    print(f"{'':<12}{'count':>7}{'p50':>6}{'p95':>6}{'max':>6}  limit")
    rows = (
        ("file lines", shape.files, FILE_LINES),
        ("function", shape.functions, FUNCTION_LINES),
        ("parameters", shape.parameters, PARAMETERS),
    )
    for name, values, limit in rows:
        sizes = list(values.values())
        print(f"{name:<12}{len(sizes):>7}{percentile(sizes, 0.5):>6}{percentile(sizes, 0.95):>6}{max(sizes, default=0):>6}  {limit}")
    for name, values, _ in rows:
        for place in sorted(values, key=lambda place: -values[place])[:worst]:
            print(f"  {name}: {values[place]:>4}  {place}")
    faults = [*shape.faults, *same_names(TESTS)]
    for fault in faults:
        print(f"fault: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
