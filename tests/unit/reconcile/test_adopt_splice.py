"""One value changed in its place: what a file means differs there only, and its text in one run of letters, however it is written."""

import difflib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.reconcile.adopt import splice
from setpoint.reconcile.adopt.inserting import inserted
from setpoint.reconcile.adopt.search import _documents_about
from setpoint.reconcile.cluster.fields import FieldSet
from setpoint.reconcile.cluster.live_field import LiveField
from setpoint.reconcile.cluster.model import ObjectKey

WORDS = st.sampled_from(
    ["web", "a b", "on", "12", "0x1f", "1.5", "true", "null", "it's", 'say "x"', "a: b", "# no", "64Mi", "é€", "-x", "", "[a]"]
)
FRACTIONS = st.floats(0.25, 4, width=16).filter(lambda number: not number.is_integer())  # Kubernetes reads 1.0 as 1
VALUES = st.one_of(WORDS, st.integers(-5, 9_999_999_999), st.booleans(), FRACTIONS)
NAMES = st.sampled_from(["name", "image", "replicas", "data", "x-y", "app.kubernetes.io/name", "with space", "0"])


def written(value: Any, draw: Any) -> str:
    """Return a value in one of the ways in which people write it."""
    if not isinstance(value, str):
        return json.dumps(value)
    return str(draw(st.sampled_from([json.dumps(value, ensure_ascii=False), "'" + value.replace("'", "''") + "'"])))


@st.composite
def files(draw: Any) -> str:  # noqa: C901 - a grammar
    """Return a file of one or two documents: block and flow, comments, blank lines, anchors and aliases, odd indentation."""
    anchors: list[str] = []

    def scalar() -> str:
        if anchors and draw(st.integers(0, 9)) == 0:
            return f"*{draw(st.sampled_from(anchors))}"
        text = written(draw(VALUES), draw)
        if draw(st.integers(0, 9)) == 0:
            anchors.append(f"a{len(anchors)}")
            return f"&{anchors[-1]} {text}"
        return text

    def flow(depth: int) -> str:
        kind = draw(st.integers(0, 2)) if depth < 3 else 0
        if kind == 1:
            names = draw(st.lists(NAMES, max_size=3, unique=True))
            return "{" + ", ".join(f"{json.dumps(name)}: {flow(depth + 1)}" for name in names) + "}"
        if kind == 2:
            return "[" + ", ".join(flow(depth + 1) for _ in range(draw(st.integers(0, 3)))) + "]"
        return scalar().replace("*", "") if depth > 8 else (scalar() + " ")

    def block(indent: str, depth: int) -> list[str]:
        lines: list[str] = []
        for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
            if draw(st.booleans()):
                lines.append(draw(st.sampled_from(["", f"{indent}# {name}: 1", "   # odd"])))
            kind = draw(st.integers(0, 3)) if depth < 3 else 0
            key, note = json.dumps(name), draw(st.sampled_from(["", "   # note: x", "  #"]))
            if kind == 1:
                lines += [f"{indent}{key}:{note}", *block(indent + " " * draw(st.integers(1, 4)), depth + 1)]
            elif kind == 2:
                lines.append(f"{indent}{key}:{note}")
                for _ in range(draw(st.integers(1, 3))):
                    lines += [f"{indent}- {json.dumps('name')}: {scalar()}", f"{indent}  b: {scalar()} {note}"]
            elif kind == 3:
                lines.append(f"{indent}{key}: {flow(0)}{note}")
            else:
                lines.append(f"{indent}{key}: {scalar()}{note}")
        return lines

    documents = ["\n".join(block("", 0)) for _ in range(draw(st.integers(1, 2)))]
    anchors.clear()
    end = draw(st.sampled_from(["", "\n", "\n\n# the end\n", "\r\n"]))
    return str("\n---\n".join(documents) + end)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_splice_changes_one_place_and_one_run_of_letters(data: Any) -> None:
    """Read again the file differs exactly at the path, and its text has one hunk within one line."""
    text = data.draw(files())
    try:
        places = splice.scalars(text)
    except ValueError:
        return  # an alias across documents
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    value = data.draw(VALUES)
    before = splice.values(text)
    for found in splice.replaced(text, place, value):
        after = splice.values(found)
        spliced = found[place.start : len(found) - (len(text) - place.end)]
        assert found == text[: place.start] + spliced + text[place.end :]
        assert "\n" not in spliced
        at: Any = after[place.document]
        was: Any = before[place.document]
        for step in place.path[:-1]:
            at, was = at[step], was[step]
        assert at[place.path[-1]] in (value, json.dumps(value), str(value))
        was[place.path[-1]] = at[place.path[-1]]
        assert splice.same(before, after)
        break


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_insert_adds_lines_or_letters_and_nothing_else(data: Any) -> None:
    """Read again the file has one more value, and no letter of the old text is gone."""
    text = data.draw(files())
    value = data.draw(VALUES)
    path = tuple(f"f:{name}" for name in data.draw(st.lists(st.sampled_from(["data", "name", "new", "b"]), min_size=1, max_size=3)))
    try:
        before = splice.values(text)
        found = inserted(text, 0, path, value)
    except ValueError:
        return
    if found is None:
        return
    after: Any = splice.values(found)[0]
    for element in path:
        after = after[element[2:]]
    assert splice.same(after, value)
    changes = [op for op in difflib.SequenceMatcher(None, text, found, autojunk=False).get_opcodes() if op[0] != "equal"]
    assert {op[0] for op in changes} == {"insert"}
    assert len(splice.values(found)) == len(before)


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("a: 1  # note\n", ("a",), 2, "a: 2  # note\n"),
        ("a: 'x'\n", ("a",), "it's", "a: 'it''s'\n"),
        ('a: "x"  \n', ("a",), "y", 'a: "y"  \n'),
        ("a: x\n", ("a",), "12", 'a: "12"\n'),
        ("a: x\n", ("a",), "yes", 'a: "yes"\n'),
        ("{a: {b: [x, y]}, c: d}", ("a", "b", 1), "z w", "{a: {b: [x, z w]}, c: d}"),
        ("{a: {b: [x, y]}, c: d}", ("a", "b", 1), "z, w", '{a: {b: [x, "z, w"]}, c: d}'),
        ("a: 64Mi\n", ("a",), "128Mi", "a: 128Mi\n"),
        ("a: true\n", ("a",), False, "a: false\n"),
        ("a: &x 1\nb: 2\n", ("b",), 3, "a: &x 1\nb: 3\n"),
        ("# first\n---\n# second\na: 1\n", ("a",), 2, "# first\n---\n# second\na: 2\n"),
    ],
)
def test_quotes_comments_and_order_stay(text: str, path: tuple[Any, ...], value: Any, wanted: str) -> None:
    """The value is written as its neighbours are, and in quotes where it would mean something else without."""
    place = next(one for one in splice.scalars(text) if one.path == path)
    assert next(splice.replaced(text, place, value)) == wanted


def test_what_an_alias_repeats_is_not_changed_for_one_place() -> None:
    """The value behind an anchor means two places, so there is no splice."""
    text = "a: &x 1\nb: *x\n"
    (place,) = splice.scalars(text)
    assert list(splice.replaced(text, place, 2)) == []


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("a: 1  # note\n# end\n", ("f:b",), 2, "a: 1  # note\nb: 2\n# end\n"),
        ("a: 1", ("f:b",), 2, "a: 1\nb: 2\n"),
        ("s:\n    t: 1\nz: 2\n", ("f:s", "f:u", "f:v"), "x", "s:\n    t: 1\n    u:\n      v: x\nz: 2\n"),
        ("s: {t: 1}\n", ("f:s", "f:u"), "x y", "s: {t: 1, u: x y}\n"),
        ("s: {}\n", ("f:s", "f:u", "f:v"), 1, "s: {u: {v: 1}}\n"),
        ("c:\n- name: web\n  i: x\n", ("f:c", 'k:{"name":"web"}', "f:w"), "/s", "c:\n- name: web\n  i: x\n  w: /s\n"),
        ("c:\n  - name: web\n", ("f:c", 'k:{"name":"db"}', "f:w"), "/s", "c:\n  - name: web\n  - name: db\n    w: /s\n"),
        ("a: 1\n", ("f:c", 'k:{"name":"db"}', "f:w"), "/s", "a: 1\nc:\n  - name: db\n    w: /s\n"),
    ],
)
def test_a_new_value_stands_below_its_neighbours(text: str, path: tuple[str, ...], value: Any, wanted: str) -> None:
    """Mappings and lists, in blocks and in one line, keep their indentation."""
    assert inserted(text, 0, path, value) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\nb: x\n",
        "a: &a {b: *a}\nb: x\n",
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)) + "b: x\n",
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)) + "? *a29\n: x\nb: x\n",
        "a: " + "[" * 150 + "x" + "]" * 150 + "\nb: x\n",
    ],
    ids=["itself in a list", "itself in a mapping", "a bomb", "a bomb as a key", "deep"],
)
def test_a_file_that_aliases_make_endless_is_no_place(text: str) -> None:
    """It is refused as one that cannot be read, by a bound and not by the memory; no value of it is replaced, and nothing put in."""
    with pytest.raises(ValueError, match=r"too many values|a key must be text"):
        splice.values(text)
    place = next(place for place in splice.scalars(text) if place.path == ("b",))
    assert list(splice.replaced(text, place, "y")) == []
    assert inserted(text, 0, ("f:c",), "y") is None
    wish = LiveField(ObjectKey("", "ConfigMap", "", "web"), "b", ("f:b",), "y", "x", secret=False, guide=FieldSet())
    assert list(_documents_about(text, wish)) == []
