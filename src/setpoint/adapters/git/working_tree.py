"""The files of a working tree as they lie on the disk: tracked ones and new ones that are not ignored; fills what a local run needs of Git.

Called by `app.local_run` and `app.check`. It reads the index and the ignore rules with pygit2, runs no hooks, and writes nothing.
"""

import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import FileStatus

from setpoint.core.errors import NotFoundError, UserError
from setpoint.source.model import TreeFile

_LINK: Final = 0o120000
_FILE: Final = 0o100644
_PROGRAM: Final = 0o100755
_MAX_FILES: Final = 1_000_000


class WorkingTree:
    """A folder that is, lies in, or is not in a Git work tree; listed once, so that one run sees one set of files."""

    def __init__(self, root: Path) -> None:
        """Open a folder; below a work tree only its own files count, outside of any all files do."""
        self.root = root.resolve()
        found = pygit2.discover_repository(str(self.root))
        repository = pygit2.Repository(found) if found else None
        workdir = Path(repository.workdir).resolve() if repository is not None and repository.workdir else None
        self._repository = repository if workdir is not None else None
        self._prefix = "" if workdir in (None, self.root) else f"{self.root.relative_to(workdir).as_posix()}/"

    @property
    def is_git(self) -> bool:
        """Whether ignore rules were known."""
        return self._repository is not None

    def head(self) -> str:
        """Return the commit that is checked out; empty before the first one."""
        if self._repository is None or self._repository.head_is_unborn:
            return ""
        return str(self._repository.head.target)

    def origin(self) -> str:
        """Return the address of the remote `origin`; empty when there is none."""
        if self._repository is None or "origin" not in list(self._repository.remotes.names()):
            return ""
        return self._repository.remotes["origin"].url or ""

    @cached_property
    def listing(self) -> list[TreeFile]:
        """Every file, sorted by path, with its blob id computed from the disk.

        Raises:
            UserError: more than a million files, or a path that is no text (SP817).
        """
        found = []
        for path in sorted(set(self._paths())):
            mode = self._mode(path)
            if mode:
                found.append(TreeFile(path, mode, str(pygit2.hash(self.data(path)))))
            if len(found) > _MAX_FILES:
                what = f"the folder has more than {_MAX_FILES} files"
                raise UserError("SP817", what, where=str(self.root), fix="ignore what is generated")
        return found

    def data(self, path: str) -> bytes:
        """Return a file's bytes, or a link's target."""
        place = self.root / path
        return os.fsencode(place.readlink()) if place.is_symlink() else place.read_bytes()

    def read(self, path: str) -> bytes | None:
        """Return a regular file's bytes; None when there is none of this path that counts."""
        return self.data(path) if self._mode(path) in (_FILE, _PROGRAM) else None

    def unchanged(self, file: TreeFile) -> bytes:
        """Return the bytes of a listed file.

        Raises:
            UserError: it is not what was listed any more (SP818).
        """
        try:
            data = self.data(file.path)
        except OSError as error:
            raise UserError("SP818", f"{file.path} cannot be read any more: {error.strerror}", where=file.path, fix="run again") from error
        if str(pygit2.hash(data)) != file.blob:
            raise UserError("SP818", f"{file.path} changed while it was used", where=file.path, fix="run again")
        return data

    def by_blob(self, blob: str) -> bytes:
        """Return the bytes behind a listed blob id; NotFoundError SP104 when none has it."""
        file = self._blobs.get(blob)
        if file is None:
            raise NotFoundError("SP104", "there is no such file in the working tree", where=blob)
        return self.unchanged(file)

    @cached_property
    def _blobs(self) -> dict[str, TreeFile]:
        return {file.blob: file for file in self.listing}

    def _mode(self, path: str) -> int:
        """Return the mode that Git would store; 0 for what is no file or link."""
        try:
            info = (self.root / path).lstat()
        except OSError:
            return 0
        if stat.S_ISLNK(info.st_mode):
            return _LINK
        if not stat.S_ISREG(info.st_mode):
            return 0
        return _PROGRAM if info.st_mode & 0o100 else _FILE

    def _paths(self) -> Iterator[str]:
        if self._repository is None:
            yield from self._walk()
            return
        every = [entry.path for entry in self._repository.index]
        status = self._repository.status(untracked_files="all", ignored=False)
        every += [path for path, flags in status.items() if flags & FileStatus.WT_NEW]
        yield from (path.removeprefix(self._prefix) for path in every if path.startswith(self._prefix) and not path.endswith("/"))

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name != ".git"]
            links = [name for name in folders if Path(folder, name).is_symlink()]
            yield from (Path(folder, name).relative_to(self.root).as_posix() for name in [*files, *links])
