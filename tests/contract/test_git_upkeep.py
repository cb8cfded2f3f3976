"""Hosted repositories stay small and lose nothing that the journal names; stock git is the second opinion."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.git.upkeep import KEEP, GitRepack
from setpoint.core.errors import WorldError


def _git(*arguments: str, at: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ann", f"GIT_{role}_EMAIL": "ann@example.org"}
    done = subprocess.run(["git", *arguments], cwd=at, env=environment, capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def git(tmp_path: Path) -> GitRepositories:
    """A home's repositories with one, `hello`."""
    made = GitRepositories(tmp_path / "repositories")
    made.create("hello")
    return made


def _work(tmp_path: Path, git: GitRepositories) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    _git("init", "-q", "-b", "main", at=work)
    _git("remote", "add", "origin", str(git.path("hello")), at=work)
    return work


def _commits(work: Path, count: int, branch: str = "main") -> list[str]:
    """Make commits and push them one by one: loose objects for each; returns their ids."""
    made = []
    for number in range(count):
        (work / f"{branch}-{number}").write_text(f"{branch} {number}\n" * 20)
        _git("add", "-A", at=work)
        _git("commit", "-qm", f"{branch} {number}", at=work)
        made.append(_git("rev-parse", "HEAD", at=work))
    _git("push", "-q", "origin", f"HEAD:{branch}", at=work)
    return made


def _make_old(folder: Path) -> None:
    """Make every object older than the two weeks after which what is unreachable goes."""
    for path in (folder / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (1_600_000_000, 1_600_000_000))


def test_a_commit_that_the_journal_names_outlives_its_branch(tmp_path: Path, git: GitRepositories) -> None:
    """Of two deleted branches the named one keeps commit, trees and blobs under a hidden ref; the other's objects go."""
    work = _work(tmp_path, git)
    _commits(work, 2)
    named = _commits(work, 2, "named")[-1]
    _git("checkout", "-q", "-b", "other", "HEAD~2", at=work)
    lost = _commits(work, 1, "lost")[-1]
    for branch in ("named", "lost"):
        _git("push", "-q", "origin", f":{branch}", at=work)
    repack = GitRepack(git)
    assert repack.keep({"hello": [named, "f" * 40], "gone": [named]}) == 1
    assert repack.keep({"hello": [named]}) == 0
    _make_old(git.path("hello"))
    repack.repack("hello")
    assert git.read("hello", named, "named-1") == b"named 1\n" * 20
    assert git.resolve("hello", lost) is None
    assert [ref for ref in git.refs("hello") if ref.startswith(KEEP)] == [KEEP + named]
    assert "setpoint" not in _git("ls-remote", "origin", at=work)
    _git("fsck", "--strict", at=git.path("hello"))


def test_a_named_commit_outlives_a_branch_that_goes_between_keeping_and_packing(tmp_path: Path, git: GitRepositories) -> None:
    """A hidden ref reaches it while the branch still does, one for all before it; what is two weeks old would go at once without."""
    work = _work(tmp_path, git)
    _commits(work, 2)
    first, last = _commits(work, 2, "named")
    repack = GitRepack(git)
    assert repack.keep({"hello": [first, last]}) == 1
    _git("push", "-q", "origin", ":named", at=work)
    _make_old(git.path("hello"))
    repack.repack("hello")
    assert repack.keep({"hello": [first, last]}) == 0
    assert git.read("hello", last, "named-1") == b"named 1\n" * 20


def test_unreachable_objects_stay_for_two_weeks(tmp_path: Path, git: GitRepositories) -> None:
    """What a push or a pin has just written and no ref reaches yet is not touched."""
    work = _work(tmp_path, git)
    _commits(work, 1)
    fresh = _commits(work, 1, "fresh")[-1]
    _git("push", "-q", "origin", ":fresh", at=work)
    GitRepack(git).repack("hello")
    assert git.revision("hello", fresh).commit == fresh


def test_many_loose_objects_or_packs_make_it_worth_packing(tmp_path: Path, git: GitRepositories) -> None:
    """A fresh repository waits for nothing; after a few hundred objects it does, is one pack then, and waits no more."""
    work = _work(tmp_path, git)
    _commits(work, 1)
    repack = GitRepack(git)
    assert repack.waiting() == ()
    for number in range(300):
        data = f"blob {number}".encode()
        subprocess.run(["git", "hash-object", "-w", "--stdin"], cwd=git.path("hello"), input=data, check=True, capture_output=True)
    assert repack.waiting() == ("hello",)
    repack.repack("hello")
    assert repack.waiting() == ()


def test_pushes_and_reads_beside_a_repack_all_hold(tmp_path: Path, git: GitRepositories) -> None:
    """While the repository is packed again and again, every push is taken and every read finds its object."""
    work = _work(tmp_path, git)
    first = _commits(work, 5)
    over = threading.Event()
    faults: list[str] = []

    def pack() -> None:
        while not over.is_set():
            GitRepack(git).repack("hello")

    def read() -> None:
        while not over.is_set():
            try:
                git.history("hello", git.heads("hello")["main"])
                git.read("hello", first[-1], "main-0")
            except WorldError as error:
                faults.append(error.what)

    threads = [threading.Thread(target=work_on) for work_on in (pack, read)]
    for thread in threads:
        thread.start()
    made = [commit for part in range(6) for commit in _commits(work, 2, f"part{part}")]
    over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert all(git.revision("hello", commit).commit == commit for commit in made)
    _git("fsck", "--strict", at=git.path("hello"))


def test_a_git_that_fails_is_told(git: GitRepositories) -> None:
    """A repository that git cannot pack is named, with what git said."""
    (git.path("hello") / "refs" / "heads" / "bad").write_text("f" * 40 + "\n")
    with pytest.raises(WorldError, match="SP115"):
        GitRepack(git).repack("hello")
