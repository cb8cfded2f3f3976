"""The skeleton of the command line: help without imports, errors as exit codes, options that may stand alone."""

import json
import subprocess
import sys
from typing import Any

import click
import pytest

from setpoint.cli import main as entry
from setpoint.cli.options import json_option, wait_option
from setpoint.cli.output import AnswerNo, StillWaiting
from setpoint.core.errors import BugError, ConfigError, ConflictError, Finding, NotAllowedError, NotFoundError, UserError, WorldError

HEAVY = {"pydantic", "fastapi", "starlette", "pygit2", "sqlalchemy", "uvicorn", "asyncio", "http.client", "cryptography", "jinja2", "yaml"}


def test_help_imports_click_and_nothing_heavy() -> None:
    """`setpoint --help` stays fast because it imports nothing of the server, and lists every verb."""
    argv = [sys.executable, "-X", "importtime", "-m", "setpoint.cli.main", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert HEAVY & imported == set()
    assert {name for name in imported if name.startswith("setpoint.")} <= {"setpoint.cli", "setpoint.cli.main"}
    for verb in entry.VERBS:
        assert f"\n  {verb} " in done.stdout


def test_thin_verbs_import_no_server(fake_api: Any) -> None:
    """A verb that only asks the API imports the client, and still nothing heavy."""
    fake_api.answers["GET", "runs"] = {"items": []}
    argv = [sys.executable, "-X", "importtime", "-m", "setpoint.cli.main", "runs"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert (HEAVY - {"http.client"}) & imported == set()


def using(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    """Let the verb `status` be this command."""
    monkeypatch.setattr(entry.Verbs, "get_command", lambda *_: command)


def raising(error: BaseException) -> click.Command:
    """Return a verb that ends with an error."""

    @click.command()
    @json_option
    def command(*, as_json: bool) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AnswerNo("no"), 1),
        (StillWaiting("not yet"), 3),
        (UserError("SP999", "what"), 2),
        (NotFoundError("SP999", "what"), 2),
        (ConfigError([Finding("SP999", "what", "a.yaml", 1, 1)]), 2),
        (ConflictError("SP999", "what"), 1),
        (NotAllowedError("SP999", "what"), 4),
        (WorldError("SP999", "what"), 5),
        (BugError("SP999", "what"), 101),
        (ZeroDivisionError("oops"), 101),
        (KeyboardInterrupt(), 130),
        (click.UsageError("usage"), 2),
        (click.FileError("x"), 2),
        (click.exceptions.Exit(7), 7),
        (BrokenPipeError(32, "gone"), 0),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Families map to the codes of the command line's contract, with --json and without."""
    with (tmp_path / "out").open("w") as out:  # a real file: after a broken pipe the descriptor is pointed away
        monkeypatch.setattr(sys, "stdout", out)
        using(monkeypatch, raising(error))
        assert entry.run(["status"]) == code
        assert entry.run(["status", "--json"]) == code


def test_an_error_is_rendered_to_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Text goes to standard error with place and help; standard output stays empty."""
    using(monkeypatch, raising(NotFoundError("SP102", "there is no repository x", where="x", fix="init")))
    assert entry.run(["status"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error[SP102]: there is no repository x\n  --> x\n  = help: init\n"


def test_an_error_is_json_on_standard_output_when_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a program reads the error where it reads results, findings included."""
    using(monkeypatch, raising(ConfigError([Finding("SP201", "unknown key", "a.yaml", 3, 1)])))
    assert entry.run(["status", "--json"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert (value["code"], value["where"], value["exit"]) == ("SP201", "a.yaml:3:1", 2)
    assert value["findings"][0]["line"] == 3
    assert entry.run(["status", "--json", "--nonsense"]) == 2
    assert json.loads(capsys.readouterr().out)["code"] == "SP850"


def test_a_bug_hides_its_traceback_until_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is one line and a hint; SETPOINT_DEBUG shows the rest."""
    using(monkeypatch, raising(ZeroDivisionError("oops")))
    assert entry.run(["status"]) == 101
    shown = capsys.readouterr().err
    assert "error[SP859]: ZeroDivisionError: oops" in shown
    assert "Traceback" not in shown
    monkeypatch.setenv("SETPOINT_DEBUG", "1")
    entry.run(["status"])
    assert "Traceback" in capsys.readouterr().err


def test_a_mistyped_verb_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown verb is a usage error that names the nearest one."""
    assert entry.run(["statsu"]) == 2
    assert "did you mean `status`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["web"], ("web", None)),
        (["web", "--wait"], ("web", 600)),
        (["--wait", "web"], ("web", 600)),
        (["--wait", "90s", "web"], ("web", 90)),
        (["--wait=1h30m", "web"], ("web", 5400)),
        (["--", "--wait"], ("--wait", None)),
    ],
)
def test_wait_may_stand_alone(words: list[str], expected: tuple[str, int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--wait` takes a duration when one follows, and never eats the next argument."""
    seen: list[tuple[str, int | None]] = []

    @click.command()
    @click.argument("app")
    @wait_option
    def command(app: str, wait_s: int | None) -> None:
        seen.append((app, wait_s))

    using(monkeypatch, command)
    assert entry.run(["status", *words]) == 0
    assert seen == [expected]


def test_a_faulty_duration_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A number without unit is refused with the ways to write it."""

    @click.command()
    @wait_option
    def command(wait_s: int | None) -> None:
        raise AssertionError

    using(monkeypatch, command)
    assert entry.run(["status", "--wait=10"]) == 2
    assert "1h30m" in capsys.readouterr().err
