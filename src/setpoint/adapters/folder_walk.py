"""Moves inside a folder that a task owned and may have booby-trapped: by descriptors, never through a symbolic link.

Called by the workspaces; every step opens one name below an open folder with O_NOFOLLOW, so a link can never lead the server, which may
be root, out of the folder. The processes of the task are gone by then, but their links, modes and depths remain.
"""

import errno
import itertools
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from setpoint.core.errors import UserError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DEEPEST: Final = 128
_MOST_LINKS: Final = 40
"""As many as Linux itself follows (path_resolution(7))."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry below the folder."""

    path: str
    kind: int
    """stat.S_IFREG, S_IFDIR or S_IFLNK."""
    executable: bool
    size_bytes: int
    parent: int
    """Descriptor of its folder; valid until the walk goes on."""
    name: str


def split(path: str) -> list[str]:
    """Return the components of a relative path that stays below its root.

    Raises:
        ValueError: it is empty, absolute, or holds `.`, `..`, an empty component or a NUL, or is too deep.
    """
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in path or len(parts) > _DEEPEST:
        raise ValueError(path)
    return parts


def leaves(path: str, link: str) -> bool:
    """Say whether a symbolic link at path with this text points out of the root, or may do so by way of another link."""
    depth = path.count("/")
    named = False
    if link.startswith("/") or not link or "\0" in link:
        return True
    for part in link.split("/"):
        if part == "..":
            # After a name, which may be a link itself, `..` is not what it looks like.
            if named or depth == 0:
                return True
            depth -= 1
        elif part not in {"", "."}:
            named = True
    return False


def open_folder(name: str, parent: int | None = None) -> int:
    """Open a folder, no link; one whose owner took the rights away is given them back first."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _allow(name, parent, 0o700)
        return os.open(name, _FOLDER, dir_fd=parent)


def open_file(name: str, parent: int) -> int:
    """Open a plain file for reading; anything else is OSError (ELOOP for a link, EINVAL for a device, socket or pipe)."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=parent)
    except PermissionError:
        _allow(name, parent, 0o600)
        descriptor = os.open(name, _FILE, dir_fd=parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", name)
    return descriptor


def _allow(name: str, parent: int | None, mode: int) -> None:
    """Give an owner the rights back; never on a link, for chmod follows it."""
    if not stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        os.chmod(name, mode, dir_fd=parent)


@contextmanager
def parent_of(root: int, parts: Sequence[str], *, make: bool) -> Iterator[int]:
    """Give the descriptor of the folder that holds the last part; missing folders are made if asked.

    Raises:
        OSError: a component is a link or no folder.
    """
    current = os.dup(root)
    try:
        for part in parts[:-1]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=current)
                    os.chmod(part, 0o755, dir_fd=current)  # noqa: S103 - whatever the umask; the workspace itself is 0700
            following = open_folder(part, current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def open_inside(root: int, path: str) -> int | None:
    """Open a plain file by a path in which links may occur that stay below root; None when it is not there.

    Raises:
        UserError: a link leads out of root (SP213).
    """
    trail = [os.dup(root)]
    pending = split(path)[::-1]
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part == "..":
                if len(trail) == 1:
                    raise _leads_out(path)
                os.close(trail.pop())
                continue
            mode = os.stat(part, dir_fd=trail[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                link = os.readlink(part, dir_fd=trail[-1])
                links += 1
                if link.startswith("/") or links > _MOST_LINKS:
                    raise _leads_out(path)
                pending += [name for name in link.split("/")[::-1] if name not in {"", "."}]
            elif pending:
                trail.append(open_folder(part, trail[-1]))
            else:
                return open_file(part, trail[-1])
    except OSError:
        return None
    else:
        return None
    finally:
        for descriptor in trail:
            os.close(descriptor)


def _leads_out(path: str) -> UserError:
    fix = "link to something inside the workspace, or copy the file"
    return UserError("SP213", f"{path} is a symbolic link that leaves the workspace", where=path, fix=fix)


class Patterns:
    """Globs relative to the folder, matched component by component; a matched folder brings everything below it.

    `*`, `?` and `[...]` stay within a component, `**` spans any number of them, a trailing slash asks for a folder.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._parts = [text.rstrip("/").removeprefix("./").split("/") for text in texts]
        self.unmatched = set(range(len(self.texts)))

    def start(self) -> frozenset[tuple[int, int]]:
        """Return the state at the root."""
        return self._skip({(pattern, 0) for pattern in range(len(self._parts))})

    def step(self, state: frozenset[tuple[int, int]], name: str, *, folder: bool) -> tuple[frozenset[tuple[int, int]], bool]:
        """Return the state below name, and whether name itself is matched by some pattern."""
        following: set[tuple[int, int]] = set()
        matched = False
        for pattern, position in state:
            parts = self._parts[pattern]
            last = position == len(parts) - 1
            if parts[position] == "**":
                following.add((pattern, position))
            elif not fnmatchcase(name, parts[position]):
                continue
            elif not last:
                following.add((pattern, position + 1))
            if last and (folder or not self.texts[pattern].endswith("/")):
                matched = True
                self.unmatched.discard(pattern)
        return self._skip(following), matched

    def _skip(self, state: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Add the states in which a `**` stands for nothing."""
        grown = set(state)
        for pattern, position in state:
            while self._parts[pattern][position] == "**" and position + 1 < len(self._parts[pattern]):
                position += 1  # noqa: PLW2901 - walks on from this state
                grown.add((pattern, position))
        return frozenset(grown)


def walk(root: int, patterns: Patterns) -> Iterator[Found]:
    """Yield what the patterns match, folders before their content, names in byte order; folders no pattern can reach are not entered.

    Raises:
        UserError: too deep, or neither file, folder nor link (SP216).
    """
    yield from _walk(root, "", patterns, patterns.start(), inside=False)


def _walk(folder: int, prefix: str, patterns: Patterns, state: frozenset[tuple[int, int]], *, inside: bool) -> Iterator[Found]:
    if prefix.count("/") > _DEEPEST:
        raise UserError(
            "SP216", f"the outputs are more than {_DEEPEST} folders deep", where=prefix[:200], fix="declare less under `outputs:`"
        )
    for name in sorted(os.listdir(folder), key=os.fsencode):
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        below, matched = patterns.step(state, name, folder=kind == stat.S_IFDIR)
        path = prefix + name
        if matched or inside:
            if kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
                raise UserError("SP216", f"the output {path} is neither file, folder nor link", where=path, fix="remove it in the task")
            yield Found(path, kind, bool(info.st_mode & stat.S_IXUSR), info.st_size, folder, name)
        if kind == stat.S_IFDIR and (matched or inside or below):
            child = open_folder(name, folder)
            try:
                yield from _walk(child, path + "/", patterns, below, inside=matched or inside)
            finally:
                os.close(child)


def erase(parent: int, name: str) -> None:
    """Delete a folder whatever its owner did to modes and depth; links are deleted, never followed. Missing is fine.

    Folders below are moved up before they are emptied, so neither recursion nor open descriptors grow with the depth.
    """
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return
    except FileNotFoundError:
        return
    os.chmod(name, 0o700, dir_fd=parent)
    top = open_folder(name, parent)
    # Drawn anew each time: a task that guessed the names could occupy them.
    fresh = (f".erase-{secrets.token_hex(8)}-{number}" for number in itertools.count())
    try:
        while names := os.listdir(top):  # noqa: PTH208 - of a descriptor
            for entry in names:
                _empty(top, entry, fresh)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(top: int, entry: str, fresh: Iterator[str]) -> None:
    """Delete one entry of top; folders that it holds are moved up into top under a fresh name."""
    try:
        if not stat.S_ISDIR(os.stat(entry, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(entry, dir_fd=top)
            return
        os.chmod(entry, 0o700, dir_fd=top)
        folder = open_folder(entry, top)
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=folder)
                os.rename(name, next(fresh), src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(entry, dir_fd=top)
