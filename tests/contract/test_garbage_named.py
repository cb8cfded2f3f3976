"""What only a file in Git, or the head of a branch, keeps from collection: bases, images of environments, old commits made new."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from setpoint.adapters.git.store import GitRepositories
from setpoint.app.garbage import named

BASE, IMAGE, CHART, BUILT, LOCKED = (f"sha256:{letter * 64}" for letter in "abcd9")


def _git(*arguments: str, at: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ann", f"GIT_{role}_EMAIL": "ann@example.org"}
    return subprocess.run(["git", *arguments], cwd=at, env=environment, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def git(tmp_path: Path) -> GitRepositories:
    """A home's repositories: a source and a delivery repository."""
    made = GitRepositories(tmp_path / "repositories")
    made.create("hello")
    made.create("delivery")
    return made


def _push(tmp_path: Path, git: GitRepositories, name: str, files: dict[str, bytes], branch: str = "main") -> str:
    """Push a commit that has just these files; returns its id."""
    work = tmp_path / f"{name}-{branch}"
    for path, data in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data)
    _git("init", "-q", "-b", "main", at=work)
    _git("add", "-A", at=work)
    _git("commit", "-qm", "change", at=work)
    _git("push", "-q", str(git.path(name)), f"HEAD:{branch}", at=work)
    return _git("rev-parse", "HEAD", at=work)


def _store(git: GitRepositories, runs: dict[str, str], accepted: str | None = None) -> Any:
    """Return as much of a store as is asked: runs by revision, each of which built one artifact."""
    records = SimpleNamespace(
        accepted=lambda repository: accepted if repository == "delivery" else None,
        deliveries=lambda: {"delivery": "main"},
        run_for=lambda _repository, revision: SimpleNamespace(run=revision) if revision in runs else None,
        artifacts=lambda run: [SimpleNamespace(digest=runs[run])],
    )
    return cast("Any", SimpleNamespace(git=git, records=records))


def test_digests_in_files_at_heads_stay_wherever_they_are_written(tmp_path: Path, git: GitRepositories) -> None:
    """A pipeline's or a lock's base on any branch, an environment's image, an application's chart, also in a file that does not parse."""
    lock = b"bases: {shop/python: " + LOCKED.encode() + b"}"
    _push(tmp_path, git, "hello", {".setpoint/pipeline.yaml": b"base: shop/base@" + BASE.encode(), ".setpoint/lock.yaml": lock}, "trial")
    _push(tmp_path, git, "hello", {".setpoint/pipeline.yaml/folder": b"x"}, "odd")
    files = {
        "environments/prod/environment.yaml": b"images: [web@" + IMAGE.encode() + b"]",
        "apps/hello/helm.yaml": b"[chart: oci://charts/x@" + CHART.encode(),
        "apps/hello/large.bin": b"sha256:" + b"e" * 64 + b"\0" * (1 << 20),
        "pins/prod/hello.yaml": b"sha256:" + b"f" * 64,
    }
    _push(tmp_path, git, "delivery", files)
    assert named(_store(git, {})) == {
        BASE: ".setpoint/pipeline.yaml of hello names it",
        LOCKED: ".setpoint/lock.yaml of hello names it",
        IMAGE: "environments/prod/environment.yaml of delivery names it",
        CHART: "apps/hello/helm.yaml of delivery names it",
    }


def test_what_was_built_from_the_head_of_a_branch_stays_however_old(tmp_path: Path, git: GitRepositories) -> None:
    """A branch that is made anew at an old commit makes its build what is promoted next."""
    commit = _push(tmp_path, git, "hello", {"app.py": b""})
    assert named(_store(git, {commit: BUILT, "0" * 40: IMAGE})) == {BUILT: "built from main of hello"}


def test_what_the_accepted_files_list_stays_while_a_change_of_them_waits(tmp_path: Path, git: GitRepositories) -> None:
    """They are in force (law 9) though HEAD lists the image no more; a folder that an application includes counts like its own."""
    file = "environments/prod/environment.yaml"
    accepted = _push(tmp_path, git, "delivery", {file: b"images: [web@" + IMAGE.encode() + b"]"}, "before")
    _push(tmp_path, git, "delivery", {file: b"images: []", "shared/helm.yaml": b"chart: oci://charts/x@" + CHART.encode()})
    assert set(named(_store(git, {}, accepted))) == {IMAGE, CHART}
