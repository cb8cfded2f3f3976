"""Keeps hosted repositories small without losing what the journal names; fills `retention.ports.GitUpkeep`.

Built by wiring, called by the retention service. Commits that an entry names are reached by refs below `refs/setpoint/keep/` (hidden from
clients) before anything is packed, also while a branch reaches them: it may be deleted while git packs. Stock `git gc` does the rest:
it may run beside pushes and fetches, for what is unreachable goes only two weeks after it was written, and git's own locks keep refs whole.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import SortMode

from setpoint.adapters.git.process import git_environment
from setpoint.adapters.git.store import GitRepositories
from setpoint.core.errors import WorldError

KEEP: Final = "refs/setpoint/keep/"
PRUNE: Final = "2.weeks.ago"
_LOOSE: Final = 256
_PACKS: Final = 8
_LIMIT_S: Final = 3600
_OPTIONS: Final = (
    "core.hooksPath=/dev/null",
    "gc.cruftPacks=true",
    "gc.reflogExpire=never",
    "gc.reflogExpireUnreachable=never",
    "gc.worktreePruneExpire=never",
    "pack.threads=1",
    "pack.windowMemory=64m",
)


class GitRepack:
    """Refs that keep, and packs."""

    def __init__(self, git: GitRepositories) -> None:
        self._git = git

    def keep(self, named: Mapping[str, Iterable[str]]) -> int:
        """Make sure that hidden refs reach every commit that is named and there; returns how many refs were new.

        One ref holds a commit and all before it, so a branch that grows costs one for each collection, not one for each commit.

        Raises:
            WorldError: a repository cannot be read or written (SP107).
        """
        return sum(self._keep(name, set(commits)) for name, commits in named.items() if name in self._git.names())

    def _keep(self, name: str, commits: set[str]) -> int:
        folder = self._git.path(name)
        try:
            repository = pygit2.Repository(str(folder))
            kept = [ref.removeprefix(KEEP) for ref in repository.references if ref.startswith(KEEP)]
            there = [name for name in commits - _reached(repository, kept) if isinstance(repository.get(name), pygit2.Commit)]
            bare = [repository[commit].peel(pygit2.Commit) for commit in there]
            before = _reached(repository, [str(parent) for commit in bare for parent in commit.parent_ids])
            new = sorted({str(commit.id) for commit in bare} - before)
        except (pygit2.GitError, OSError, ValueError) as error:
            raise _unusable(folder, name, str(error)) from error
        if new:
            fault = self._run(folder, ["git", "update-ref", "--stdin"], "".join(f"update {KEEP}{commit} {commit}\n" for commit in new))
            if fault:
                raise _unusable(folder, name, fault)
        return len(new)

    def _run(self, folder: Path, argv: list[str], sent: str = "") -> str:
        """Run git in a repository; returns what it says when it fails, else nothing."""
        try:
            done = subprocess.run(
                argv,
                cwd=folder,
                env={**git_environment(self._git.root), "GIT_DIR": str(folder)},
                input=sent.encode(),
                capture_output=True,
                timeout=_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        said = done.stderr.decode(errors="replace").strip()[-500:]
        return (said or f"git ended with {done.returncode}") if done.returncode else ""

    def waiting(self) -> tuple[str, ...]:
        """Return the repositories with many loose objects or packs."""
        return tuple(name for name in self._git.names() if _is_loose(self._git.path(name)))

    def repack(self, name: str) -> int:
        """Run `git gc` at low priority; returns how many bytes became free.

        Raises:
            WorldError: git fails, or takes longer than an hour (SP115); the repository stays as it was.
        """
        folder = self._git.path(name)
        before = _size(folder)
        argv = ["nice", "-n", "15", "git", *(word for option in _OPTIONS for word in ("-c", option))]
        argv += ["gc", "--quiet", f"--prune={PRUNE}"]
        fault = self._run(folder, argv)
        if fault:
            fix = f"check it: git -C {folder} fsck"
            raise WorldError("SP115", f"the repository cannot be packed anew: {fault}", where=name, fix=fix)
        return max(0, before - _size(folder))


def _reached(repository: pygit2.Repository, tips: Iterable[str]) -> set[str]:
    """Return the commits that some reach, with themselves."""
    walker = repository.walk(None, SortMode.NONE)
    for tip in tips:
        walker.push(pygit2.Oid(hex=tip))
    return {str(commit.id) for commit in walker}


def _unusable(folder: Path, name: str, why: str) -> WorldError:
    fix = f"check it: git -C {folder} fsck"
    return WorldError("SP107", f"the repository cannot be used: {why[:300]}", where=name, fix=fix)


def _is_loose(folder: Path) -> bool:
    loose = sum(1 for path in folder.glob("objects/[0-9a-f][0-9a-f]/*"))
    packs = sum(1 for path in folder.glob("objects/pack/*.pack"))
    return loose >= _LOOSE or packs >= _PACKS


def _size(folder: Path) -> int:
    """Return the bytes of all objects; what a push or git itself takes away meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder / "objects"):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total
