"""A matrix: which cells it has, what they are called, how values reach a task, and every way it can be wrong, at its place."""

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.pipeline.config import PipelineDocument, parse_pipeline

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n"


def parse(text: str) -> PipelineDocument:
    """Parse a pipeline that is given without its head."""
    return parse_pipeline((HEAD + text).encode(), ".setpoint/pipeline.yaml")


def findings(text: str) -> list[Finding]:
    """Return what is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return list(caught.value.findings)


def cells(matrix: str) -> list[str]:
    """Return the names of the cells of a matrix."""
    return [name.removeprefix("t@") for name in parse(f"tasks:\n  t: {{run: x, matrix: {matrix}}}\n").tasks]


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ('{python: ["3.11", "3.12"], os: [a, b]}', ["3.11,a", "3.11,b", "3.12,a", "3.12,b"]),
        ('{python: ["3.11", "3.12"], os: [a, b], exclude: [{os: b, python: "3.11"}]}', ["3.11,a", "3.12,a", "3.12,b"]),
        ('{python: ["3.11", "3.12"], os: [a, b], exclude: [{os: b}]}', ["3.11,a", "3.12,a"]),
        ('{python: ["3.11"], os: [a], include: [{python: "3.13", os: c}]}', ["3.11,a", "3.13,c"]),
        ('{python: ["3.11"], include: [{extra: "1"}]}', ["3.11"]),
        ('{include: [{site: berlin}, {site: oslo, extra: "2"}]}', ["berlin", "oslo,2"]),
        ("{os: [a, b], exclude: [{os: b}], include: [{os: b}]}", ["a", "b"]),
    ],
)
def test_the_cells_are_those_that_users_of_other_systems_expect(matrix: str, wanted: list[str]) -> None:
    """Products in the order written; exclude first, then include extends what it does not contradict or stands for itself."""
    assert cells(matrix) == wanted


def test_values_reach_the_shell_as_variables_and_paths_as_text() -> None:
    """`run` gets the name of a variable, never the value; outputs, evidence, inputs and env get the value."""
    text = """tasks:
  t:
    matrix: {python-version: ["3.11"], os: [a], include: [{os: a, extra: "7"}]}
    run: "make ${matrix.python-version} ${matrix.extra}"
    inputs: ["src/${matrix.os}/**"]
    outputs: ["out/${matrix.os}/"]
    env: {PLACE: "x-${matrix.os}"}
    evidence: {tests: "r-${matrix.python-version}.xml"}
"""
    task = parse(text).tasks["t@3.11,a"]
    assert task.run == "make ${MATRIX_PYTHON_VERSION} ${MATRIX_EXTRA}"
    assert task.env == {"PLACE": "x-a", "MATRIX_PYTHON_VERSION": "3.11", "MATRIX_OS": "a", "MATRIX_EXTRA": "7"}
    assert (task.inputs, task.outputs, task.evidence) == (("src/a/**",), ("out/a/",), {"tests": "r-3.11.xml"})
    assert (task.family, task.cell) == ("t", {"python-version": "3.11", "os": "a", "extra": "7"})


def test_a_need_means_every_cell_one_cell_or_the_same_cell() -> None:
    """`needs: [t]` is all cells, `t@a` one of them, `t@${matrix.os}` the one with the same value."""
    text = """tasks:
  all: {run: x, needs: [t]}
  one: {run: x, needs: [t@a]}
  same: {run: x, needs: ["t@${matrix.os}"], matrix: {os: [a, b]}}
  t: {run: x, matrix: {os: [a, b]}}
artifacts: {web: {needs: [t], image: {base: host, copy: {src/: /app/}, command: [x]}}}
"""
    document = parse(text)
    assert document.needs == {
        "all": ("t@a", "t@b"),
        "one": ("t@a",),
        "same@a": ("t@a",),
        "same@b": ("t@b",),
        "t@a": (),
        "t@b": (),
    }
    assert document.order[:2] == ["t@a", "all"] or document.order.index("t@a") < document.order.index("all")
    assert document.artifacts["web"].needs == ("t@a", "t@b")
    assert document.cells("t@a") == ("t@a", "t@b")


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "word"),
    [
        ("tasks:\n  t: {run: x, matrix: {os: [3.11]}}\n", "SP015", 4, 29, "text, not a number"),
        ("tasks:\n  t: {run: x, matrix: {os: ['a b']}}\n", "SP232", 4, 29, "`a b` cannot be a value"),
        ("tasks:\n  t: {run: x, matrix: {os: ['$(x)']}}\n", "SP232", 4, 29, "cannot be a value"),
        ("tasks:\n  t: {run: x, matrix: {os: [../x]}}\n", "SP232", 4, 29, "cannot be a value"),
        ("tasks:\n  t: {run: x, matrix: {os: [a, a]}}\n", "SP232", 4, 32, "twice"),
        ("tasks:\n  t: {run: x, matrix: {OS: [a]}}\n", "SP232", 4, 28, "no name of an axis"),
        ("tasks:\n  t: {run: x, matrix: {a-b: [a], a_b: [b]}}\n", "SP232", 4, 39, "share the variable MATRIX_A_B"),
        ("tasks:\n  t: {run: x, matrix: {os: [a], exclude: [{os: b}]}}\n", "SP232", 4, 43, "excludes nothing"),
        ("tasks:\n  t: {run: x, matrix: {os: [a], exclude: [{so: a}]}}\n", "SP232", 4, 48, "`so` is no axis"),
        ("tasks:\n  t: {run: x, matrix: {os: [a], exclude: [{os: a}]}}\n", "SP232", 4, 15, "nothing is left"),
        ("tasks:\n  t: {run: x, matrix: {}}\n", "SP232", 4, 15, "no axis"),
        ("tasks:\n  t: {run: x, matrix: {os: []}}\n", "SP015", 4, 28, "at least 1"),
        ("tasks:\n  t: {run: x, matrix: {os: [a]}, env: {MATRIX_OS: b}}\n", "SP232", 4, 40, "is set by the matrix"),
        ("tasks:\n  t: {run: 'echo ${matrix.so}', matrix: {os: [a]}}\n", "SP233", 4, 12, "`${matrix.so}`"),
        ("tasks:\n  t: {run: 'echo ${matrix.os}'}\n", "SP233", 4, 12, "the task has no matrix"),
        ("tasks:\n  t: {run: 'echo ${{ matrix.os }}', matrix: {os: [a]}}\n", "SP233", 4, 12, "not understood"),
        ("tasks:\n  t: {run: x, matrix: {os: [a]}, outputs: ['${matrix.x}/']}\n", "SP233", 4, 44, "`${matrix.x}`"),
        ("tasks:\n  t: {run: x, matrix: {os: [a]}}\n  u: {run: x, needs: [t@b]}\n", "SP222", 5, 23, "`t@b`, which is no task"),
        (
            "tasks:\n  t: {run: x, matrix: {os: [a, b]}, outputs: [o/]}\n  u: {run: x, needs: [t]}\n",
            "SP235",
            5,
            23,
            "2 cells of `t` all leave",
        ),
        ("tasks:\n  t: {run: x, matrix: {os: [a]}, needs: [u]}\n  u: {run: x, needs: [t]}\n", "SP229", 4, 42, "t@a -> u -> t@a"),
    ],
)
def test_an_unsound_matrix_has_a_place(text: str, code: str, line: int, column: int, word: str) -> None:
    """Every fault names its place and what is wrong."""
    found = next(finding for finding in findings(text) if finding.code == code)
    assert (found.line, found.column) == (line, column)
    assert word in found.what


def test_too_many_cells_are_refused_with_their_number() -> None:
    """A bound that says how many there were, also when expanding them would cost memory."""
    seven = "[a, b, c, d, e, f, g]"
    (found,) = findings(f"tasks:\n  t: {{run: x, matrix: {{a: {seven}, b: {seven}, c: {seven}}}}}\n")
    assert found.what == "the matrix has 343 cells, more than 256"
    axes = ", ".join(f"a{number}: {seven}" for number in range(30))
    (found,) = findings(f"tasks:\n  t: {{run: x, matrix: {{{axes}}}}}\n")
    assert f"{7**30} combinations" in found.what


def test_a_fault_that_all_cells_share_is_found_once() -> None:
    """Four cells with one mistake are one finding."""
    found = findings("tasks:\n  t: {run: x, needs: [q], matrix: {a: [a, b], b: [a, b]}}\n")
    assert [finding.code for finding in found] == ["SP222"]
