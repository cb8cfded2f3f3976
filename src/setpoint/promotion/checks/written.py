"""`checks:` of an environment's gates as people write them, and what of the scripts beside them can be seen without running any.

Part of the environment's file (`promotion.config`). A command runs with the files of `environments/<env>/checks/`, which belong to the
environment's owners like the file itself (law 9).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from setpoint.core.documents import Document, FileModel, InvalidError
from setpoint.core.durations import Duration, to_text
from setpoint.core.errors import Finding
from setpoint.pipeline.fields import PlainText, Variables

SCRIPTS: Final = "checks"
"""Folder of an environment whose files its commands run with; so no application can be called that."""
OWN_PREFIX: Final = "SETPOINT_"
_LONGEST_S: Final = 3600
_MOST_FILES: Final = 1000
_LINK: Final = 0o120000
_EXECUTABLE: Final = 0o100755


def scripts_path(environment: str) -> str:
    """Return the folder whose files an environment's commands run with."""
    return f"environments/{environment}/{SCRIPTS}"


def _check_path(text: str) -> str:
    if not text.startswith("/") or len(text) > 1024 or not all("!" <= letter <= "~" for letter in text):
        raise InvalidError(f"`{text}` is no path of a URL", "begin with a slash, no spaces: /health", "SP525")
    return text


def _timeout(seconds: int) -> int:
    if seconds > _LONGEST_S:
        raise InvalidError(f"a check of {to_text(seconds)} is too long", f"at most {to_text(_LONGEST_S)}", "SP570")
    return seconds


def _variables(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if name.startswith(OWN_PREFIX):
            raise InvalidError(f"`{name}` is Setpoint's own to set", f"choose a name that does not begin with {OWN_PREFIX}", "SP570")
    return env


class HttpCheck(FileModel):
    """One HTTP GET and the status it must have."""

    path: Annotated[str, AfterValidator(_check_path)]
    status: Annotated[int, Field(ge=100, le=599)] = 200


class CommandCheck(FileModel):
    """One command and its exit status 0."""

    run: Annotated[PlainText, StringConstraints(min_length=1, max_length=10_000)]
    """Read by a shell, like `run` of a task, in a copy of the environment's `checks/`."""
    timeout: Annotated[Duration, AfterValidator(_timeout)] = 60
    """Seconds."""
    network: bool = False
    env: Annotated[Variables, AfterValidator(_variables), Field(max_length=50)] = Field(default_factory=dict)


class Check(FileModel):
    """One check of the environments in `after`: exactly one of these."""

    http: HttpCheck | None = None
    command: CommandCheck | None = None

    @model_validator(mode="after")
    def _one(self) -> "Check":
        if (self.http is None) == (self.command is None):
            fix = "write {http: {path: /health}} or {command: {run: ./smoke.sh}}, each an entry of the list"
            raise InvalidError("a check is one request or one command", fix, "SP570")
        return self


def program_of(command: CommandCheck) -> str:
    """Return the file of the scripts that a command begins with (`smoke.sh` of `./smoke.sh --all`); empty when it begins otherwise."""
    word = command.run.split(maxsplit=1)[0] if command.run.strip() else ""
    return word[2:] if word.startswith("./") and not set(word) & set("'\"$`;&|<>()*?[\\") else ""


def script_findings(document: Document[Any], environment: str, scripts: Mapping[str, int]) -> Iterator[Finding]:
    """Yield what is wrong with the scripts of an environment: {path below `checks/`: git mode}; document is its `environment.yaml`."""
    folder = scripts_path(environment)
    commands = [(index, check.command) for index, check in enumerate(document.model.gates.checks) if check.command is not None]
    if not commands:
        return
    for path, mode in scripts.items():
        if mode == _LINK:
            what, fix = f"{folder}/{path!r} is a symbolic link", "put the file itself there: nothing else of the repository is in a check"
            yield document.finding(("gates", "checks"), "SP571", what, fix, at="key")
    if len(scripts) > _MOST_FILES:
        what = f"{folder} holds {len(scripts)} files, more than {_MOST_FILES}"
        yield document.finding(("gates", "checks"), "SP571", what, "keep there what the checks need", at="key")
    for index, command in commands:
        program = program_of(command)
        where = ("gates", "checks", index, "command", "run")
        if program and program not in scripts:
            yield document.finding(where, "SP571", f"there is no file {folder}/{program}", "add it, or name one that is there")
        elif program and scripts[program] not in (_EXECUTABLE, _LINK):
            fix = f"commit it as executable: git update-index --chmod=+x {folder}/{program}"
            yield document.finding(where, "SP571", f"{folder}/{program} is not executable", fix)
