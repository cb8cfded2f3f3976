"""The pipeline file: what a sound one means, and every way it can be unsound, at its place."""

import random

import pytest

from setpoint.artifact.recipe import FileRecipe, recipe_of
from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.pipeline import config, patterns
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline, select_inputs
from setpoint.pipeline.graph import order
from setpoint.source.model import TreeFile

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n"
DESIGN = (
    HEAD
    + """on: {push: {branches: [main, "release/*"]}}
tasks:
  deps:
    inputs: [requirements.lock]
    network: true
    valid: 30d
    run: python3 -m pip install --no-compile --require-hashes -r requirements.lock --target vendor
    outputs: [vendor/]
  test:
    needs: [deps]
    inputs: [src/**, tests/**, pyproject.toml]
    run: PYTHONPATH=vendor:src python3 -m pytest -q --junitxml=report.xml
    timeout: 1h30m
    env: {MODE: "1"}
    evidence: {tests: report.xml}
artifacts:
  web:
    needs: [test]
    image:
      base: host
      copy: {"src/": /app/, "deps:vendor/": /app/vendor/}
      command: [python3, -m, hello]
"""
)
DIGEST = "sha256:" + "a" * 64


def parse(text: str, lock: dict[str, str] | None = None) -> PipelineDocument:
    """Parse a pipeline."""
    return parse_pipeline(text.encode(), ".setpoint/pipeline.yaml", lock)


def findings(text: str, lock: dict[str, str] | None = None) -> list[Finding]:
    """Return what is wrong with a pipeline that is given without its head."""
    with pytest.raises(ConfigError) as caught:
        parse(HEAD + text, lock)
    return list(caught.value.findings)


def files(*paths: str) -> list[TreeFile]:
    """Return tree entries."""
    return [TreeFile(path, 0o100644, "b") for path in paths]


def test_the_pipeline_of_the_design_page_is_sound() -> None:
    """The example of design.md parses, and its times are seconds."""
    document = parse(DESIGN)
    assert document.order == ["deps", "test"]
    assert document.tasks["deps"].valid == 30 * 86400
    assert (document.tasks["test"].timeout, document.tasks["deps"].timeout) == (5400, 1800)
    assert document.tasks["test"].evidence == {"tests": "report.xml"}
    image = document.artifacts["web"].image
    assert image is not None
    assert image.copy_ == {"src/": "/app/", "deps:vendor/": "/app/vendor/"}
    assert document.base("web") == "host"
    assert document.closure(["test"]) == {"deps", "test"}
    assert document.starts_for("main")
    assert document.starts_for("release/1")
    assert not document.starts_for("release/1/x")
    assert config.copy_source("deps:vendor/") == config.CopySource("deps", "vendor/")
    assert config.copy_source("src/") == config.CopySource("", "src/")


def test_defaults_push_main_and_the_whole_tree() -> None:
    """A pipeline of one task runs for pushes to main and reads everything but delivery files."""
    document = parse(HEAD + "tasks: {a: {run: make}}\n")
    assert document.starts_for("main")
    assert not document.starts_for("other")
    assert document.tasks["a"].inputs is None
    every = files(
        "src/a.py", "apps/web/x.yaml", "environments/p/environment.yaml", "pins/p/web.yaml", "setpoint.yaml", "docs/setpoint.yaml"
    )
    assert [file.path for file in select_inputs(None, every)] == ["docs/setpoint.yaml", "src/a.py"]


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "word"),
    [
        ("tasks:\n  test: {run: x, needs: [dep]}\n  deps: {run: x}\n", "SP222", 4, 26, "`dep`"),
        ("tasks:\n  a: {run: x, needs: [b]}\n  b: {run: x, needs: [c]}\n  c: {run: x, needs: [b]}\n", "SP229", 5, 23, "b -> c -> b"),
        ("tasks:\n  a: {run: x, needs: [a]}\n", "SP229", 4, 23, "a -> a"),
        ("tasks:\n  a: {run: x, valid: 3d}\n", "SP224", 4, 15, "network"),
        ("tasks:\n  a: {run: x, evidence: {tests: ../r.xml}}\n", "SP225", 4, 33, "inside"),
        ("tasks:\n  a: {run: x, evidence: {tests: out/*.xml}}\n", "SP225", 4, 33, "pattern"),
        ("tasks:\n  a: {run: x, evidence: {lint: r.xml}}\n", "SP015", 4, 26, "`tests`"),
        ("tasks:\n  a: {run: x, timeout: 25h}\n", "SP226", 4, 24, "too long"),
        ("tasks:\n  a: {run: x, inputs: [/etc/passwd]}\n", "SP221", 4, 24, "inside"),
        ("tasks:\n  a: {run: x, outputs: ['a\\b']}\n", "SP221", 4, 25, "character"),
        ("tasks:\n  Test_1: {run: x}\n", "SP220", 4, 3, "Test_1"),
        ("tasks:\n  a: {run: x, env: {A-B: x}}\n", "SP220", 4, 21, "A-B"),
        ("tasks:\n  a: {run: ' '}\n", "SP015", 4, 12, "nothing"),
        ('tasks:\n  a: {run: "x\\0y"}\n', "SP015", 4, 12, "zero byte"),
        ("tasks: {}\n", "SP015", 3, 8, "at least 1"),
        ("task: {a: {run: x}}\n", "SP013", 3, 1, "`task`"),
    ],
)
def test_unsound_tasks_have_a_place(text: str, code: str, line: int, column: int, word: str) -> None:
    """Every fault of a task names its place and what is wrong."""
    found = findings(text)[-1] if text.startswith("task:") else findings(text)[0]
    assert (found.code, found.line, found.column) == (code, line, column)
    assert word in found.what


def artifact(image: str, needs: str = "[t]", lock: dict[str, str] | None = None) -> list[Finding]:
    """Return the findings of an artifact whose image is given."""
    tasks = "tasks:\n  t: {run: x, outputs: [vendor/, app.bin]}\n  u: {run: x, outputs: [o/]}\n  n: {run: x}\n"
    return findings(f"{tasks}artifacts:\n  web:\n    needs: {needs}\n    image: {image}\n", lock)


@pytest.mark.parametrize(
    ("image", "code", "word"),
    [
        ("{base: host, copy: {'t:vendr/': /a/}, command: [x]}", "SP223", "no output of `t`"),
        ("{base: host, copy: {'u:o/': /a/}, command: [x]}", "SP223", "does not need `u`"),
        ("{base: host, copy: {'v:o/': /a/}, command: [x]}", "SP223", "`v` is no task"),
        ("{base: host, copy: {'../x': /a/}, command: [x]}", "SP223", "cannot be copied"),
        ("{base: host, copy: {'src/*': /a/}, command: [x]}", "SP223", "cannot be copied"),
        ("{base: host, copy: {'src/': a/}, command: [x]}", "SP223", "absolute"),
        ("{base: host, copy: {'src/': /a/../b}, command: [x]}", "SP223", "absolute"),
        ("{base: host, copy: {}, command: [x]}", "SP223", "nothing is copied"),
        ("{base: host, copy: {'src/': /a/}, command: []}", "SP015", "at least 1"),
        ("{base: python:3.11, copy: {'src/': /a/}, command: [x]}", "SP227", "no digest"),
        ("{base: --evil, copy: {'src/': /a/}, command: [x]}", "SP227", "no base"),
    ],
)
def test_unsound_artifacts_are_explained(image: str, code: str, word: str) -> None:
    """Copies, commands and bases that cannot work are found before anything runs."""
    (found,) = artifact(image)
    assert found.code == code
    assert word in found.what
    assert found.line == 10


def test_a_copy_from_a_task_without_outputs_is_explained() -> None:
    """A task without outputs has nothing to copy."""
    (found,) = artifact("{base: host, copy: {'n:o/': /a/}, command: [x]}", "[n]")
    assert "no outputs" in found.what
    assert found.fix == "add `outputs: [o/]` to it"


@pytest.mark.parametrize(
    ("artifact", "code", "word"),
    [
        ("{needs: [t]}", "SP260", "neither an image nor a file"),
        ('{needs: [t], image: {base: host, copy: {a: /app/}, command: [x]}, file: {from: "t:out/m"}}', "SP260", "at once"),
        ('{needs: [t], file: {from: "u:m"}}', "SP223", "`u` is no task"),
        ('{file: {from: "t:out/m"}}', "SP223", "does not need `t`"),
        ('{needs: [t], file: {from: "t:other"}}', "SP223", "no output of `t`"),
        ('{needs: [t], file: {from: "t:*.bin"}}', "SP223", "patterns are not supported"),
        ('{needs: [t], file: {from: ""}}', "SP015", "from"),
        ('{needs: [t], file: {form: "t:out/m"}}', "SP013", "form"),
    ],
)
def test_unsound_file_artifacts_are_explained(artifact: str, code: str, word: str) -> None:
    """An artifact is an image or a file, and what a file is taken from has to be there."""
    found = findings(f"tasks: {{t: {{run: x, outputs: [out/]}}}}\nartifacts:\n  model: {artifact}\n")
    assert any(finding.code == code and word in finding.what + finding.fix for finding in found), found


def test_a_file_artifact_is_named_after_what_it_holds() -> None:
    """A file by its name, a folder by its last part; a slash at the end says which it is."""
    text = HEAD + "tasks: {t: {run: x, outputs: [out/]}}\nartifacts:\n  m: {needs: [t], file: {from: 'FROM'}}\n"
    for source, title, is_folder in (("t:out/model.bin", "model.bin", False), ("t:out/", "out", True), ("data/x.csv", "x.csv", False)):
        recipe = recipe_of(parse(text.replace("FROM", source)), "m")
        assert isinstance(recipe, FileRecipe)
        assert (recipe.title, recipe.is_folder, recipe.base) == (title, is_folder, "")


def test_a_base_is_locked_by_digest() -> None:
    """A reference gets its digest from the lock, and one with a digest needs no lock."""
    text = HEAD + "tasks: {t: {run: x}}\nartifacts: {web: {image: {base: %s, copy: {a: /a}, command: [x]}}}\n"
    lock = parse_lock(
        f"apiVersion: setpoint.dev/v1alpha1\nkind: Lock\nbases: {{'r.example/py:3': '{DIGEST}'}}\n".encode(), ".setpoint/lock.yaml"
    )
    assert parse(text % "r.example/py:3", lock).base("web") == f"r.example/py:3@{DIGEST}"
    assert parse(text % f"r.example/py@{DIGEST}").base("web") == f"r.example/py@{DIGEST}"
    with pytest.raises(ConfigError, match="SP228"):
        parse_lock(b"apiVersion: setpoint.dev/v1alpha1\nkind: Lock\nbases: {a: latest}\n", "l")


def test_every_finding_comes_at_once() -> None:
    """Faults of several kinds in several places are one error."""
    found = findings(
        "tasks:\n  a: {run: x, needs: [z], valid: 1d}\nartifacts:\n  w: {needs: [q], image: {base: x:1, copy: {'a:b': /b}, command: [c]}}\n"
    )
    assert [finding.code for finding in found] == ["SP222", "SP224", "SP222", "SP227", "SP223"]


def test_order_is_topological_and_stable() -> None:
    """Needed tasks come first; otherwise the order is the file's."""
    document = parse(HEAD + "tasks:\n  d: {run: x, needs: [b]}\n  c: {run: x}\n  b: {run: x, needs: [a]}\n  a: {run: x}\n")
    assert document.order == ["c", "a", "b", "d"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/**", "src/a.py", True),
        ("src/**", "srcs/a.py", False),
        ("src/**/x.py", "src/x.py", True),
        ("src/**/x.py", "src/a/b/x.py", True),
        ("src/**/x.py", "src/a/bx.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b.py", True),
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("tests/", "tests/a/b", True),
        ("tests/", "tests", False),
        ("tests", "tests/a", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[!a]b", "/b", False),
        ("a[", "a[", True),
        ("a+b.(c)", "a+b.(c)", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Stars stay in one folder, two stars cross folders, a slash means everything below, and nothing else is special."""
    assert patterns.fault(pattern) == ""
    assert patterns.matches(pattern, path) is expected


@pytest.mark.parametrize("pattern", ["", "/a", "~/a", "../a", "a/../b", "./a", "a//b", "!a", "a**", "a\nb", "a\\b", "**/**/**/**/**/a"])
def test_patterns_that_leave_the_tree_or_explode_are_refused(pattern: str) -> None:
    """A pattern stays inside the tree and cheap to match."""
    assert patterns.fault(pattern)


def test_inputs_are_selected_sorted_and_a_pattern_without_a_file_is_an_error() -> None:
    """What no file matches is named together with what was meant."""
    every = files("tests/a.py", "src/b.py", "src/a.py", "pyproject.toml")
    assert [file.path for file in select_inputs(["src/**", "pyproject.toml", "src/a.py"], every)] == [
        "pyproject.toml",
        "src/a.py",
        "src/b.py",
    ]
    with pytest.raises(UserError, match="SP230") as caught:
        select_inputs(["src/**", "tests", "pyprojekt.toml"], every)
    assert "`tests`, `pyprojekt.toml`" in caught.value.what
    assert caught.value.fix == "did you mean `tests/`?"


def test_the_order_of_tasks_is_the_first_that_may_come() -> None:
    """Needed tasks come first, the rest as written; a thousand of them cost milliseconds, not their square."""
    rng = random.Random(4)  # noqa: S311 - a seeded draw of examples
    for _ in range(50):
        names = [f"t{number}" for number in range(rng.randrange(1, 12))]
        rng.shuffle(names)
        needs = {name: rng.sample(names[:position], rng.randrange(position + 1)) for position, name in enumerate(names)}
        written = sorted(names, key=lambda _name: rng.random())
        tasks = {name: tuple(needs[name]) for name in written}
        wanted: list[str] = []
        while len(wanted) < len(written):
            wanted.append(next(name for name in written if name not in wanted and all(need in wanted for need in needs[name])))
        assert order(tasks) == wanted
    with pytest.raises(ValueError, match="circle"):
        order({"a": ("b",), "b": ("a",)})
