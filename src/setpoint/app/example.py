"""Makes the two repositories of `init --example`, hosts repositories in a home, and leaves requests for a server that does not run.

Called by `setpoint init`. It uses the git program, as its user would, and never overwrites a file or a repository.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.git.store import GitRepositories
from setpoint.app.home import Home
from setpoint.core.errors import ConflictError, UserError, WorldError
from setpoint.promotion.config import parse_setpoint

DELIVERY: Final = "delivery"
_GIT_S: Final = 60
_SUFFIX: Final = ".in"
_FALLBACK: Final = ("You", "you@example.com")


@dataclass(frozen=True, slots=True)
class Author:
    """Who commits."""

    name: str
    email: str
    configured: bool
    """Whether git knows it by itself."""


def author() -> Author:
    """Return the author that git is configured for, else a stand-in."""
    name, email = (_git(Path(), "config", "--get", key, check=False).strip() for key in ("user.name", "user.email"))
    if name and email:
        return Author(name, email, configured=True)
    return Author(name or _FALLBACK[0], email or _FALLBACK[1], configured=False)


def require_free(home: Home, name: str, folder: Path) -> None:
    """Refuse what an example would run into: a folder, a hosted repository, another delivery repository.

    Raises:
        ConflictError: it is there already (SP827).
        UserError: the name cannot be used (SP520, SP828).
    """
    if name == DELIVERY:
        raise UserError("SP828", f"`{DELIVERY}` is the name of the other repository", fix="choose another name for the example")
    parse_setpoint(_setpoint_file(name), "setpoint.yaml")
    if folder.exists():
        raise ConflictError("SP827", f"{folder} is there already", where=str(folder), fix="choose another name, or remove it")
    known = GitRepositories(home.repositories).names()
    for taken in (name, DELIVERY):
        if taken in known:
            fix = "use another home (--home DIR or SETPOINT_HOME); one home has one delivery repository"
            raise ConflictError("SP827", f"the home already hosts a repository `{taken}`", where=str(home.root), fix=fix)


def _setpoint_file(name: str) -> bytes:
    """Return the smallest setpoint.yaml with an application of this name, so that its own rules judge the name."""
    return f"apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\napps: {{{json.dumps(name)}: {{source: {json.dumps(name)}}}}}\n".encode()


def write(templates: Path, folder: Path, name: str, email: str) -> list[Path]:
    """Write the templates' two repositories below a folder that is not there yet; returns the files."""
    written = []
    for template in sorted(path for path in templates.rglob("*") if path.name.endswith(_SUFFIX)):
        parts = [part.removesuffix(_SUFFIX) for part in template.relative_to(templates).parts]
        inner = [name if part == "app" and position else _dotted(part) for position, part in enumerate(parts)]
        target = folder.joinpath(*inner)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(template.read_text(encoding="utf-8").replace("@name@", name).replace("@email@", json.dumps(email)))
        written.append(target)
    return written


def _dotted(part: str) -> str:
    return f".{part.removeprefix('dot.')}" if part.startswith("dot.") else part


def commit(folder: Path, who: Author, message: str) -> str:
    """Make a folder a repository with one commit of all its files; returns the commit."""
    _git(folder, "init", "--quiet", "--initial-branch=main")
    if not who.configured:
        _git(folder, "config", "user.name", who.name)
        _git(folder, "config", "user.email", who.email)
    _git(folder, "add", "--all")
    _git(folder, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "--message", message)
    return _git(folder, "rev-parse", "HEAD").strip()


def host(home: Home, name: str) -> Path:
    """Return the bare repository of a name in the home, created when it is not there."""
    home.prepare()
    repositories = GitRepositories(home.repositories)
    repositories.create(name)
    return repositories.path(name)


def push(folder: Path, bare: Path) -> None:
    """Make a hosted repository the `origin` of a folder and push to it."""
    _git(folder, "remote", "add", "origin", str(bare))
    _git(folder, "push", "--quiet", "--set-upstream", "origin", "main")


def head(home: Home, name: str, text: str) -> str | None:
    """Return the commit of a hosted repository that a branch or beginning of an id names."""
    return GitRepositories(home.repositories).resolve(name, text)


def hosted(home: Home) -> list[str]:
    """Return the names of the hosted repositories."""
    return GitRepositories(home.repositories).names()


def leave_request(home: Home, request: Mapping[str, Any]) -> Path:
    """Leave for the next `up` what a running server would have been asked for; returns the file."""
    home.prepare()
    number = 1 + max((int(path.stem) for path in home.inbox.glob("*.json") if path.stem.isdigit()), default=0)
    place = home.inbox / f"{number:04d}.json"
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(dict(request), file)
        file.flush()
        os.fsync(descriptor)
    return place


def _git(folder: Path, *words: str, check: bool = True) -> str:
    """Run git in a folder and return what it prints.

    Raises:
        WorldError: git is missing or refused (SP829).
    """
    if shutil.which("git") is None:
        raise WorldError("SP829", "git is not installed", fix="install git (Debian, Ubuntu: apt-get install git)")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith("GIT_CONFIG")}
    argv = ["git", "-C", str(folder), *words]
    done = subprocess.run(argv, capture_output=True, timeout=_GIT_S, check=False, stdin=subprocess.DEVNULL, env=environment)
    if check and done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()[:500]
        raise WorldError("SP829", f"git {words[0]} failed: {text or f'exit code {done.returncode}'}", where=str(folder))
    return done.stdout.decode(errors="replace")
