"""`from:`: what a line takes and where it goes, what it means for the key, and every way it can be wrong, at its place."""

import io
import tarfile
from pathlib import Path

import pytest

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.output_index import OutputIndex
from setpoint.core.errors import ConfigError, UserError
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.placing import Take, covers, placed

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n  deps: {run: x, outputs: [vendor/, tool]}\n"


@pytest.mark.parametrize(
    ("path", "place", "entry", "wanted"),
    [
        ("vendor/", "lib/", "vendor/a/b.py", "lib/a/b.py"),
        ("vendor/", "lib/", "vendor", None),
        ("vendor/", "lib/", "vendors/x", None),
        ("vendor/", "./", "vendor/a", "a"),
        ("vendor/", "lib", "vendor/a", "lib/a"),
        ("vendor", "lib/", "vendor/a", "lib/vendor/a"),
        ("tool", "bin/", "tool", "bin/tool"),
        ("tool", "bin/t", "tool", "bin/t"),
        ("tool", "./", "tool", "tool"),
        ("out/tool", "bin/", "out/tool", "bin/tool"),
        ("", "all/", "vendor/a", "all/vendor/a"),
        ("", "./", "vendor/a", "vendor/a"),
    ],
)
def test_slashes_mean_what_they_mean_in_copy(path: str, place: str, entry: str, wanted: str | None) -> None:
    """A folder with a slash is what is inside of it; a place with a slash is a folder to put things into."""
    assert placed(Take("deps", path, place), entry) == wanted


def test_what_was_taken_covers_what_lies_in_it() -> None:
    """Everything covers all, a folder what is below, a file itself; nothing covers nothing but nothing."""
    assert covers([""], ["vendor/", "tool"])
    assert covers(["vendor/"], ["vendor/a/", "vendor/b"])
    assert covers(["vendor/", "tool"], ["vendor/", "tool"])
    assert not covers(["vendor/"], ["vendor/a", "tool"])
    assert not covers(["vendor/a"], ["vendor/"])
    assert not covers(["vend"], ["vendor/"])
    assert not covers([], ["vendor/"])


def test_from_implies_the_need_and_needs_go_on_taking_everything() -> None:
    """The graph has both edges; only `needs` lays everything into the workspace."""
    text = HEAD + '  gen: {run: x, outputs: [o/]}\n  t: {run: x, needs: [gen], from: {"deps:vendor/": lib/, "gen:o/": other/}}\n'
    task = parse_pipeline(text.encode(), "p").tasks["t"]
    assert (task.needs, task.whole) == (("gen", "deps"), ("gen",))
    assert task.takes == (Take("deps", "vendor/", "lib/"), Take("gen", "o/", "other/"))


def test_each_cell_of_a_matrix_gets_a_folder_of_its_own() -> None:
    """`test:` takes from all cells, each below its own name; one cell is taken like any task."""
    text = HEAD + '  m: {run: x, outputs: [r.xml], matrix: {a: ["1", "2"]}}\n'
    text += '  t: {run: x, from: {"m:": all/, "m:r.xml": r/, "m@1:r.xml": one.xml}}\n'
    assert parse_pipeline(text.encode(), "p").tasks["t"].takes == (
        Take("m@1", "", "all/1/"),
        Take("m@2", "", "all/2/"),
        Take("m@1", "r.xml", "r/1/"),
        Take("m@2", "r.xml", "r/2/"),
        Take("m@1", "r.xml", "one.xml"),
    )


@pytest.mark.parametrize(
    ("line", "code", "word", "fix"),
    [
        ('"deps:vendr/": lib/', "SP234", "`vendr/` is no output of `deps`", "did you mean `vendor/`?"),
        ('"dep:vendor/": lib/', "SP234", "`dep` is no task", "did you mean `deps`?"),
        ('"vendor/": lib/', "SP234", "names no task", "write `TASK:vendor/`"),
        ('"deps:ven*/": lib/', "SP234", "patterns are not supported", "write a file"),
        ('"deps:../x": lib/', "SP234", "cannot be taken", "write a file"),
        ('"deps:vendor/": /lib/', "SP234", "no place in the workspace", "`./` for the workspace"),
        ('"deps:vendor/": ../lib/', "SP234", "no place in the workspace", "`./` for the workspace"),
        ('"deps:vendor/": "l*b/"', "SP234", "it is a pattern", "write a folder"),
        ('"deps:vendor/": lib/, "deps:tool": lib', "SP235", "`lib` is where `deps:vendor/` goes too", "a place of its own"),
        ('"plain:o": lib/', "SP234", "`plain` has no outputs", "add `outputs: [o]` to it"),
        ('"m:o": lib', "SP234", "2 cells", "write `lib/`"),
    ],
)
def test_an_unsound_line_has_a_place(line: str, code: str, word: str, fix: str) -> None:
    """Every fault of a line is found at the line, with a way out."""
    text = HEAD + f"  plain: {{run: x}}\n  m: {{run: x, outputs: [o], matrix: {{a: [a, b]}}}}\n  t:\n    run: x\n    from: {{{line}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(text.encode(), "p")
    (found,) = caught.value.findings
    assert (found.code, found.line) == (code, 9)
    assert word in found.what
    assert fix in found.fix


def test_a_circle_through_from_is_found() -> None:
    """Taking is needing: two tasks cannot take from each other."""
    text = HEAD + "  a: {run: x, outputs: [o], from: {'b:o': o2}}\n  b: {run: x, outputs: [o], from: {'a:o': o2}}\n"
    with pytest.raises(ConfigError, match="a -> b -> a"):
        parse_pipeline(text.encode(), "p")


def _stored(content: ContentFolder, files: dict[str, bytes], modes: dict[str, int] | None = None) -> str:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text), (modes or {}).get(path, 0o644)
            tar.addfile(member, io.BytesIO(text))
    return content.put(data.getvalue()).digest


def test_the_digest_of_a_part_changes_with_that_part_only(tmp_path: Path) -> None:
    """Another file beside it leaves the digest alone; content, mode or name of what is taken do not."""
    content = ContentFolder(tmp_path)
    index = OutputIndex(content)
    before = index.digest(_stored(content, {"vendor/a": b"1", "tool": b"t"}), "vendor/")
    assert index.digest(_stored(content, {"vendor/a": b"1", "tool": b"other"}), "vendor/") == before
    assert index.digest(_stored(content, {"vendor/a": b"2", "tool": b"t"}), "vendor/") != before
    assert index.digest(_stored(content, {"vendor/b": b"1", "tool": b"t"}), "vendor/") != before
    assert index.digest(_stored(content, {"vendor/a": b"1"}, {"vendor/a": 0o755}), "vendor/") != before
    with pytest.raises(UserError, match="SP234"):
        index.digest(_stored(content, {"vendor/a": b"1"}), "tool")
