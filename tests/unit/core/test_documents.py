"""Files that people write: every fault at once, at its place, with a way out."""

from typing import Literal

import pytest
from pydantic import Field

from setpoint.core import documents, durations, suggest
from setpoint.core.documents import FileModel, InvalidError, load, read
from setpoint.core.errors import ConfigError, Finding
from setpoint.pipeline.config import parse_pipeline


class Step(FileModel):
    """A step."""

    run: str
    timeout: durations.Duration = 60
    env: dict[str, str] = Field(default_factory=dict)
    network: bool = False
    needs: tuple[str, ...] = ()
    from_: str | None = Field(default=None, alias="from")


class File(FileModel):
    """A file."""

    kind: Literal["Steps", "Stairs"]
    on: str = "push"
    count: int = 1
    steps: dict[str, Step] = Field(default_factory=dict)
    more: list[Step] | None = None


def findings(text: str | bytes) -> tuple[Finding, ...]:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load(text.encode() if isinstance(text, str) else text, "f.yaml", File)
    return caught.value.findings


def places(text: str | bytes) -> list[tuple[str, int, int, int]]:
    """Return (code, line, column, length) of every finding."""
    return [(found.code, found.line, found.column, found.length) for found in findings(text)]


def test_typing_is_yaml_1_2() -> None:
    """`on` is a key, and yes, no, dates and sexagesimal numbers are text; 012 is twelve, 0o14 too."""
    text = b"kind: Steps\non: yes\ncount: 0o14\nsteps:\n  a: {run: no, env: {A: 2024-01-01, B: 190:20:30, C: off}}\n"
    model = load(text, "f.yaml", File)
    assert (model.on, model.count, model.steps["a"].run) == ("yes", 12, "no")
    assert model.steps["a"].env == {"A": "2024-01-01", "B": "190:20:30", "C": "off"}
    assert load(b"kind: Steps\ncount: 012\n", "f.yaml", File).count == 12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("0x1F", 31),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("0b1", "0b1"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_core_schema_scalars(text: str, value: object) -> None:
    """A plain scalar is what the core schema says, and nothing else."""
    found = documents.core_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_all_findings_come_at_once_in_the_order_of_the_file() -> None:
    """Unknown keys, wrong types, missing keys and duplicates are reported together, each with its place and length."""
    text = (
        "kind: Step\n"
        "steps:\n"
        "  a:\n"
        "    run: x\n"
        "    timout: 5m\n"
        "    network: yes\n"
        "    run: y\n"
        "  b:\n"
        "    needs: a\n"
        "    env: {DEBUG: 1}\n"
        "    timeout: 5\n"
    )
    assert places(text) == [
        ("SP015", 1, 7, 4),
        ("SP013", 5, 5, 6),
        ("SP015", 6, 14, 3),
        ("SP012", 7, 5, 3),
        ("SP014", 8, 3, 1),
        ("SP015", 9, 12, 1),
        ("SP015", 10, 18, 1),
        ("SP015", 11, 14, 1),
    ]
    by_line = {found.line: found for found in findings(text)}
    assert by_line[1].fix == "did you mean `Steps`?"
    assert by_line[5].fix == "did you mean `timeout`?"
    assert by_line[8].what == "`steps.b` has no `run`"
    assert by_line[10].fix == 'put it in quotes: "1"'
    assert "no unit" in by_line[11].what


def test_a_finding_renders_as_a_caret_block() -> None:
    """The block is what ux.md shows: code, path:line:column, the line, carets, help."""
    with pytest.raises(ConfigError) as caught:
        load(b"kind: Steps\nsteps:\n  a:\n    run: x\n    timout: 300\n", "s.yaml", File)
    assert caught.value.render() == (
        "error[SP013]: unknown key `timout`\n --> s.yaml:5:5\n  |\n5 |     timout: 300\n  |     ^^^^^^\n  = help: did you mean `timeout`?"
    )


def test_the_caret_stands_under_wide_characters() -> None:
    """A wide character takes two columns of a terminal, before the caret and under it."""
    (found,) = findings("{kind: Steps, on: 日本, 日: x}\n")
    marker = found.render().splitlines()[4]
    assert found.column == 23
    assert marker == "  | " + " " * 24 + "^^"


def test_unknown_keys_list_what_is_known() -> None:
    """Without a near word the help lists the keys of exactly that place, by the names people write."""
    (found,) = findings("kind: Steps\nmore: [{run: x, zzzzz: 1}]\n")
    assert found.fix == "known keys here: env, from, needs, network, run, timeout"


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("kind: Steps\nsteps:\n\ta: {}\n", (3, 1), "tab"),
        ("kind: a: b\n", (1, 8), "mapping values"),
        ("kind: 'Steps\n", (2, 1), "quoted scalar"),
        ("kind: [a, b\n", (2, 1), "flow sequence"),
        ("kind: @x\n", (1, 7), "cannot start"),
        ("kind: *x\n", (1, 7), "undefined alias"),
        ("kind: a\x07b\n", (1, 8), "U+0007"),
        ("kind: Steps\n---\nkind: Steps\n", (3, 1), "second document"),
        ("- a\n", (1, 1), "mapping"),
        (b"kind: Steps\non: \xff\n", (2, 5), "UTF-8"),
    ],
)
def test_syntax_faults_have_a_place(text: str | bytes, place: tuple[int, int], word: str) -> None:
    """What is no YAML is one finding at the place where it stops being YAML."""
    (found,) = findings(text)
    assert (found.line, found.column) == place
    assert word in found.what


def test_empty_values_are_faults() -> None:
    """A key whose value was forgotten is said to have none, at the key."""
    assert places("kind: Steps\nsteps:\n  a:\n    run: x\n    from:\n    needs: [~]\n") == [("SP016", 5, 5, 4), ("SP016", 6, 13, 1)]
    assert findings("# nothing\n")[0].code == "SP016"


def test_alias_bombs_deep_nesting_and_large_files_are_refused() -> None:
    """No file makes the reader expand, recurse or read without a bound; a hundred thousand brackets do not end the process."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
    )
    assert findings(bomb)[0].code == "SP017"
    assert findings("kind: &a [*a]\n")[0].code == "SP017"
    assert findings("kind: " + "[" * 100_000)[0].code == "SP011"
    assert findings("kind: " + "[" * 200 + "]" * 200)[0].code == "SP017"
    assert findings("- " * 50_000)[0].code == "SP011"
    assert findings(b"#" * (documents.LIMIT_BYTES + 1))[0].code == "SP010"


def test_anchors_and_string_tags_work_within_bounds() -> None:
    """An alias means its anchor's value; `!!str` makes text; any other tag is a fault."""
    model = load(b"kind: Steps\nsteps:\n  a: &s {run: !!str 1}\n  b: *s\n", "f.yaml", File)
    assert model.steps["b"].run == "1"
    assert places("kind: !!binary aGk=\n")[0][:3] == ("SP015", 1, 7)


def test_later_checks_point_into_the_file() -> None:
    """A document gives places for its locations: value, key, an offset in a text, and the nearest parent of what is not written."""
    document = read(b"kind: Steps\nsteps:\n  a: {run: one two, needs: [b]}\n", "f.yaml", File)
    found = document.finding(("steps", "a", "needs", 0), "SP999", "x")
    assert (found.line, found.column, found.length) == (3, 29, 1)
    found = document.finding(("steps", "a", "needs", 0), "SP999", "x", at="key")
    assert (found.line, found.column) == (3, 29)
    found = document.finding(("steps", "a"), "SP999", "x", at="key")
    assert (found.line, found.column, found.length) == (3, 3, 1)
    found = document.finding(("steps", "a", "timeout"), "SP999", "x", "fix")
    assert (found.line, found.column) == (3, 6)
    assert document.text_finding(("steps", "a", "run"), 4, "SP999", "x").column == 16


def test_control_characters_never_reach_the_terminal() -> None:
    """A source line is shown without what could steer a terminal, and a long one is clipped."""
    (found,) = findings('kind: Steps\nnope: "\u202e\u200f"\n')
    assert "\u202e" not in found.source
    (found,) = findings("kind: Steps\n" + '"' + "k" * 500 + '": 1\n')
    assert len(found.source) <= 200
    assert len(found.render()) < 1200


@pytest.mark.parametrize(
    "text",
    [
        "tasks: {}",
        "tasks: []",
        "tasks: 5",
        "tasks: " + "[" * 600 + "]" * 600,
        "tasks: " + "{a: " * 120 + "1" + "}" * 120,
        "tasks: &a {x: *a}",
        "? [a]\n: b\ntasks: {}",
        "tasks: {a: {run: ''}}",
        "tasks: {a: {run: x, timeout: 5, needs: b, network: 3, inputs: [], env: [], matrix: {a: []}, once: [x]}}",
        "tasks: {a: {run: [x], timeout: -1, inputs: {}, reports: {a: 1}}}",
        "tasks:",
        "\ttasks: 1",
        "tasks: [1",
        "tasks: {a: {run: x, secrets: [1], secret: x}}",
    ],
)
def test_every_fault_of_a_file_has_a_way_out(text: str) -> None:
    """Whatever is wrong with a file, each finding says what to write instead, in our words and not in the parser's."""
    head = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\non: {push: {branches: [main]}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_pipeline((head + text).encode(), "pipeline.yaml", {})
    assert [finding for finding in caught.value.findings if not finding.fix] == []
    assert [finding.what for finding in caught.value.findings if "validation" in finding.what or "dictionary" in finding.what] == []


def test_own_validation_errors_keep_code_and_fix() -> None:
    """A validator that raises InvalidError decides code, text and fix."""
    error = InvalidError("what", "fix", "SP998")
    assert (error.code, error.what, error.fix) == ("SP998", "what", "fix")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("12h", 43200), ("30d", 2592000)])
def test_durations_go_both_ways(text: str, seconds: int) -> None:
    """What people write is read as seconds and can be written back."""
    assert durations.parse(text) == seconds
    assert durations.parse(durations.to_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "30m1h", "-1h", "0s", "1 h", "9999999999d", "\u0661h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Units are needed, in their order, and nothing lasts no time."""
    with pytest.raises(ValueError, match="no duration"):
        durations.parse(text)


def test_suggestions() -> None:
    """The nearest word is found whatever its case, and nothing is suggested for something else."""
    assert suggest.nearest("Timout", ["timeout", "run"]) == "timeout"
    assert suggest.nearest("xyz", ["timeout", "run"]) == ""
    assert suggest.help_text("x", [], "tasks") == "there are no tasks yet"
