"""Secrets of tasks: who is given them, what the key says, and that a value is nowhere where it does not belong."""

import re
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.secret_files import SecretFolder
from setpoint.app.secret_source import LocalSecrets, ServerSecrets
from setpoint.core.errors import ConfigError, NotFoundError, UserError
from setpoint.ground.secrets.service import Secrets
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.model import Run, RunState, TaskCommand, TaskState
from setpoint.pipeline.redaction import holds, masked
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story, states

VALUE = "s3cr3t-value-0001"
PIPELINE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  push: {run: push, inputs: ["src/**"], secrets: {TOKEN: INDEX_TOKEN}, outputs: [o/], evidence: {tests: r.xml}}
"""


@pytest.fixture
def kept(world: World, tmp_path: Path) -> Secrets:
    """The secrets of a home with a repository `hello`."""
    world.commit("hello", {"a": b"1"})
    return Secrets(world.records, SecretFolder(tmp_path / "secrets"), world.recorder)


def test_a_list_gives_each_under_its_own_name() -> None:
    """`secrets: [A]` and `{A: A}` are the same; a mapping renames."""
    head = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n"
    document = parse_pipeline(f"{head}  a: {{run: x, secrets: [ONE, TWO]}}\n  b: {{run: x, secrets: {{X: ONE}}}}\n".encode(), "p")
    assert document.tasks["a"].secrets == {"ONE": "ONE", "TWO": "TWO"}
    assert document.tasks["b"].secrets == {"X": "ONE"}


@pytest.mark.parametrize(
    ("task", "code", "word"),
    [
        ("{run: x, secrets: [a-b]}", "SP220", "a-b"),
        ("{run: x, secrets: {A: a/b}}", "SP220", "no name of a secret"),
        ("{run: x, secrets: [A], env: {A: x}}", "SP237", "`A` is set by"),
        ("{run: x, secrets: {MATRIX_OS: A}, matrix: {os: [a]}}", "SP237", "`MATRIX_OS` is set by"),
    ],
)
def test_unsound_secrets_have_a_place(task: str, code: str, word: str) -> None:
    """Names that cannot be, and variables that two would set, are findings."""
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(f"apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n  a: {task}\n".encode(), "p")
    (found,) = {finding.code: finding for finding in caught.value.findings}.values()
    assert (found.code, found.line) == (code, 4)
    assert word in found.what


def test_versions_count_on_and_values_lie_in_files_of_the_owner_only(world: World, kept: Secrets, tmp_path: Path) -> None:
    """A new value is a new version, also after a removal; the last two values stay, 0600 in 0700."""
    assert kept.set("hello", "TOKEN", VALUE, "operator").label == "TOKEN@1"
    kept.set("hello", "TOKEN", VALUE + "2", "operator")
    kept.set("hello", "TOKEN", VALUE + "3", "person:sam@example.com")
    folder = tmp_path / "secrets" / "hello" / "TOKEN"
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {place.stat().st_mode & 0o777 for place in (folder, folder.parent)} == {0o700}
    (listed,) = kept.listed()
    assert (listed.label, listed.set_by) == ("TOKEN@3", "person:sam@example.com")
    assert kept.value("hello", "TOKEN", 2) == VALUE + "2"
    kept.remove("hello", "TOKEN", "operator")
    assert (kept.listed(), folder.exists()) == ([], False)
    with pytest.raises(NotFoundError, match="SP252"):
        kept.remove("hello", "TOKEN", "operator")
    assert kept.set("hello", "TOKEN", VALUE, "operator").version == 4
    written = [entry for entry in world.journal.entries() if entry.kind.startswith("secret.")]
    assert [entry.body["version"] for entry in written] == [1, 2, 3, 3, 4]
    assert VALUE not in str([entry.body for entry in written])


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("q7x-9", "fewer than 8"),
        (" " * 20, "fewer than 8"),
        ("x" * 70_000, "more than 65536"),
        ("with\0zero bytes", "no environment variable"),
    ],
)
def test_a_value_that_cannot_be_kept_secret_is_refused_with_the_reason_and_without_the_value(kept: Secrets, value: str, word: str) -> None:
    """Too short, too long, or nothing that a variable can hold."""
    with pytest.raises(UserError, match="SP251") as caught:
        kept.set("hello", "TOKEN", value, "operator")
    assert word in caught.value.what
    assert value.strip() == "" or value not in caught.value.render()


@pytest.mark.parametrize(
    ("repository", "name"),
    [("../x", "TOKEN"), ("A b", "TOKEN"), ("x.git", "TOKEN"), ("", "TOKEN"), ("hello", "../x"), ("hello", "A-B"), ("hello", "")],
)
def test_a_secret_belongs_to_a_repository_and_has_a_name(kept: Secrets, repository: str, name: str) -> None:
    """Nothing is written for what can be no repository, or under a name that is no variable's."""
    with pytest.raises(UserError, match="SP250"):
        kept.set(repository, name, VALUE, "operator")


def test_a_secret_may_come_before_the_first_push(kept: Secrets) -> None:
    """A source without a commit yet is no fault: the secret waits for its first push, and that is said."""
    assert kept.set("coming", "TOKEN", VALUE, "operator").version == 1
    assert (kept.waits("coming"), kept.waits("hello")) == (True, False)
    assert kept.value("coming", "TOKEN", 1) == VALUE


def test_only_trusted_runs_are_given_secrets(world: World, kept: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted run is refused; a local one takes the person's own, and reuses nothing made with them."""
    kept.set("hello", "TOKEN", VALUE, "operator")
    run = Run("r-1", "hello", "", "c", "t", "t", "", "", RunState.RUNNING, "2026-11-23T06:00:00.000Z")
    source = ServerSecrets(kept)
    assert source.value(run, "TOKEN", source.version(run, "TOKEN")) == VALUE
    untrusted = Run("r-1", "hello", "", "c", "t", "t", "", "", RunState.RUNNING, "2026-11-23T06:00:00.000Z", trust="untrusted")
    with pytest.raises(UserError, match="SP238"):
        source.version(untrusted, "TOKEN")
    with pytest.raises(UserError, match="SP238"):
        LocalSecrets().version(untrusted, "TOKEN")
    monkeypatch.setenv("SETPOINT_SECRET_TOKEN", VALUE)
    assert LocalSecrets().value(untrusted, "TOKEN", "x") == VALUE
    assert LocalSecrets().version(untrusted, "TOKEN") != LocalSecrets().version(untrusted, "TOKEN")


def test_the_key_covers_name_and_version_and_a_new_value_runs_the_task_again(world: World, tmp_path: Path) -> None:
    """The command gets the value, the manifest the version; the same version is reused, another one is not; without one it fails."""

    async def story() -> None:
        machine = Machine()
        service = make_service(world, machine, tmp_path)
        runs: list[Any] = []
        for number, version in enumerate(["", "1", "1", "2"]):
            machine.secrets = {"INDEX_TOKEN": (version, VALUE)} if version else {}
            run = begin(world, service, {".setpoint/pipeline.yaml": PIPELINE, "n": str(number).encode()})
            assert run is not None
            await ended(world, service, run)
            runs.append(run)
        assert [states(world, run)["push"] for run in runs] == ["failed", "passed", "reused", "passed"]
        assert world.records.results(runs[0].run)[0].reason == "SP252: no secret INDEX_TOKEN"
        assert machine.given["push"] == {"TOKEN": VALUE}
        manifests = [world.records.results(run.run)[0].manifest.secrets for run in runs[1:]]
        assert manifests == [("TOKEN=INDEX_TOKEN@1",), ("TOKEN=INDEX_TOKEN@1",), ("TOKEN=INDEX_TOKEN@2",)]
        assert VALUE not in str(list(world.journal.entries()))

    run_story(story())


def test_a_report_is_masked_and_an_output_with_the_value_is_refused(world: World, tmp_path: Path) -> None:
    """Neither reaches the content store as it is."""

    async def story() -> None:
        machine = Machine()
        machine.secrets = {"INDEX_TOKEN": ("1", VALUE)}
        machine.report = f"<testsuite name='{VALUE}'/>".encode()
        service = make_service(world, machine, tmp_path)
        run = begin(world, service, {".setpoint/pipeline.yaml": PIPELINE})
        assert run is not None
        await ended(world, service, run)
        machine.outputs = b"x" * 3_000_000 + VALUE.encode()
        second = begin(world, service, {".setpoint/pipeline.yaml": PIPELINE, "src/a.py": b"2"})
        assert second is not None
        await ended(world, service, second)
        (failed,) = world.records.results(second.run)
        assert failed.state is TaskState.FAILED
        assert failed.reason.startswith("SP255: the outputs hold the value of the secret in TOKEN")
        kept = [path.read_bytes() for path in (tmp_path / "content").rglob("*") if path.is_file()]
        assert kept
        assert not any(VALUE.encode() in data for data in kept)

    run_story(story())


def test_masking_takes_lines_of_long_values_and_finds_them_across_pieces(tmp_path: Path) -> None:
    """A key of many lines is masked line by line; a file is searched over the seams of its pieces."""
    key = "-----BEGIN-----\nabcdefgh12345678\nsecondline\n-----END-----"
    assert masked(b"one abcdefgh12345678 two secondline", [key]) == b"one *** two ***"
    path = tmp_path / "f"
    path.write_bytes(b"y" * ((1 << 20) - 4) + VALUE.encode())
    assert holds(path, VALUE)
    assert not holds(path, VALUE + "!")


def test_a_command_does_not_show_its_secrets() -> None:
    """What is logged by accident holds no value."""
    assert not re.search(VALUE, repr(TaskCommand("t", (), {}, False, 1.0, secrets={"A": VALUE})))
