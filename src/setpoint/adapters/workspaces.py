"""The folders tasks work in: made from declared inputs only, collected into a deterministic tar, deleted whatever the task did to them.

Built by wiring, called by the pipeline; fills `Workspaces`. A task owns its folder and may be hostile while the server is root, so nothing
here follows a link or trusts a mode (see `folder_walk`); it never runs anything.
"""

import logging
import os
import secrets
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from setpoint.adapters import folder_walk
from setpoint.core.errors import BugError, UserError, WorldError
from setpoint.pipeline import placing
from setpoint.pipeline.model import Archive
from setpoint.pipeline.placing import Take

_log = logging.getLogger(__name__)
_LINK: Final = 0o120000
_SUBMODULE: Final = 0o160000
_EXECUTABLE: Final = 0o100755
_MODES: Final = (0o100644, 0o100664, _EXECUTABLE)
_MADE_AT_S: Final = 315_532_800
"""Every input carries 1980-01-01, the oldest time a zip file can hold: a result cannot depend on when the workspace was made."""
_BLOCKED: Final = (FileExistsError, NotADirectoryError)
"""What comes of a path that leads over a link (refused by O_NOFOLLOW), over a file, or onto a folder."""
_OUTPUT_BYTES: Final = 8 << 30
_OUTPUT_ENTRIES: Final = 1_000_000
_CHUNK_BYTES: Final = 1 << 20


class WorkspaceFolder:
    """One folder per task below root; `uid` is the runner's user when the server is root, None when both are the same user."""

    def __init__(self, root: Path, uid: int | None) -> None:
        self._root = root
        self._uid = uid

    def create(self, task_id: str, files: Iterable[tuple[str, int, bytes]], archives: Iterable[Archive]) -> Path:
        """Make a fresh workspace of (path, git mode, bytes) files and of unpacked output archives; hand it to the runner's uid.

        Raises:
            UserError: an input link leaves the workspace (SP212), an input cannot be placed (SP211), an archive is not safe (SP217),
                two sources want one place (SP235).
            WorldError: the disk refused (SP218).
        """
        folder = self._root / _plain_name(task_id)
        self.remove(task_id)
        try:
            folder.mkdir(mode=0o700)
            with _opened(folder) as root:
                for path, mode, data in files:
                    _place(root, path, mode, data)
                for archive in archives:
                    _unpack(root, archive)
                if self._uid is not None:
                    _hand_over(root, self._uid)
        except OSError as error:
            self.remove(task_id)
            raise WorldError(
                "SP218", f"the workspace cannot be made: {error.strerror}", where=str(folder), fix="make room on the disk"
            ) from error
        except BaseException:
            self.remove(task_id)
            raise
        return folder

    def collect(self, task_id: str, patterns: Iterable[str], into: Path) -> list[str]:
        """Write a deterministic tar (names sorted, no times, no owners, modes 0644 or 0755) of what matches the patterns to `into`.

        Returns the patterns that matched nothing.

        Raises:
            UserError: a link leaves the workspace (SP213); a device, socket or pipe, or too deep, too many, too large (SP216).
        """
        wanted = folder_walk.Patterns(tuple(patterns))
        try:
            with _opened(self._root / _plain_name(task_id)) as root, into.open("xb") as file:
                _write_tar(root, wanted, file)
        except BaseException:
            into.unlink(missing_ok=True)
            raise
        return [wanted.texts[position] for position in sorted(wanted.unmatched)]

    def read(self, task_id: str, path: str, limit_bytes: int) -> bytes | None:
        """Return a file that the task left, following no link out of the workspace; None when it is not there.

        Raises:
            UserError: it is larger than limit_bytes (SP215), a link leaves the workspace (SP213), the path does (SP211).
        """
        try:
            folder_walk.split(path)
        except ValueError as error:
            raise UserError("SP211", f"{path!r} is no path inside the workspace", fix="write it relative, without `..`") from error
        try:
            with _opened(self._root / _plain_name(task_id)) as root:
                descriptor = folder_walk.open_inside(root, path)
        except FileNotFoundError:
            return None
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise UserError("SP215", f"{path} is larger than {limit_bytes} bytes", where=path, fix="write a shorter report")
        return data

    def remove(self, task_id: str) -> None:
        """Delete the workspace; missing is fine, and what cannot be deleted now is out of the way until `sweep`."""
        aside = f".gone-{secrets.token_hex(8)}"
        try:
            (self._root / _plain_name(task_id)).rename(self._root / aside)
        except FileNotFoundError:
            return
        self._erase(aside)

    def sweep(self) -> int:
        """Delete the workspaces that a killed server left behind; returns how many."""
        return sum(self._erase(path.name) for path in list(self._root.iterdir()))

    def _erase(self, name: str) -> bool:
        """Delete a folder below root; processes of a lost runner may still be dying in it, so a full folder is tried again."""
        with _opened(self._root) as root:
            for _ in range(3):
                with suppress(OSError):
                    folder_walk.erase(root, name)
                    return True
        _log.warning("the workspace %s cannot be deleted; the next start tries again", self._root / name)
        return False


def _plain_name(task_id: str) -> str:
    if not task_id or task_id.startswith(".") or "/" in task_id or "\0" in task_id:
        raise BugError("SP243", f"a task id names one folder, not {task_id!r}")
    return task_id


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = folder_walk.open_folder(str(folder))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _place(root: int, path: str, mode: int, data: bytes) -> None:
    """Write one input."""
    try:
        parts = folder_walk.split(path)
        if mode == _LINK:
            _link(root, parts, os.fsdecode(data), "SP212")
        elif mode == _SUBMODULE:
            # As after a clone without --recurse-submodules: the folder is there and empty.
            with folder_walk.parent_of(root, [*parts, ""], make=True):
                pass
        elif mode in _MODES:
            with folder_walk.parent_of(root, parts, make=True) as parent, _new_file(parent, parts[-1], mode == _EXECUTABLE) as file:
                file.write(data)
        else:
            raise BugError("SP246", f"{path} has the mode {mode:o}, which Git does not know")
    except (ValueError, *_BLOCKED) as error:
        raise UserError("SP211", f"the input {path!r} cannot be placed in a workspace", where=path, fix="rename it") from error


def _link(root: int, parts: list[str], text: str, code: str) -> None:
    path = "/".join(parts)
    if folder_walk.leaves(path, text):
        fix = "link to something inside the repository, by a relative path"
        raise UserError(code, f"{path} is a symbolic link that leaves the workspace: {text}", where=path, fix=fix)
    with folder_walk.parent_of(root, parts, make=True) as parent:
        _make_way(parent, parts[-1])
        os.symlink(text, parts[-1], dir_fd=parent)


def _make_way(parent: int, name: str) -> None:
    """Delete a file or link that a later one replaces; a folder stays, and stands in the way."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)


@contextmanager
def _new_file(parent: int, name: str, executable: bool) -> Iterator[BinaryIO]:  # noqa: FBT001 - private, called with a comparison
    """Create a file that was not there, with a fixed mode and time."""
    _make_way(parent, name)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fchmod(descriptor, 0o755 if executable else 0o644)
        os.utime(descriptor, (_MADE_AT_S, _MADE_AT_S))


def _unpack(root: int, archive: Archive) -> None:
    """Unpack an output archive; never through a link, which is stricter than tarfile's `data` filter and needs no path look-ups."""
    try:
        with tarfile.open(archive.path, "r:") as tar:
            for member in tar:
                if archive.take is None:
                    _extract(root, tar, member)
                else:
                    _extract_taken(root, tar, member, archive.take)
    except (ValueError, tarfile.TarError, OverflowError, *_BLOCKED) as error:
        fix = "let the tasks write to different places"
        raise UserError("SP217", f"outputs of a needed task cannot be unpacked here: {error}", where=archive.path.name, fix=fix) from error


def _extract_taken(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo, take: Take) -> None:
    """Put what a line of `from:` takes in its place, where nothing may be yet: two sources for one file are a mistake, never a choice."""
    target = placing.placed(take, member.name.rstrip("/"))
    if not target:
        return
    if not member.isdir():
        with suppress(FileNotFoundError, NotADirectoryError), folder_walk.parent_of(root, folder_walk.split(target), make=False) as parent:
            os.stat(target.rpartition("/")[2], dir_fd=parent, follow_symlinks=False)
            fix = "give each source a place of its own"
            raise UserError("SP235", f"`{take.label}` would put {target} where something else lies", where=target, fix=fix)
    member.name = target
    _extract(root, tar, member)


def _extract(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parts = folder_walk.split(member.name.rstrip("/"))
    if member.isdir():
        with folder_walk.parent_of(root, [*parts, ""], make=True):
            return
    if member.issym():
        _link(root, parts, member.linkname, "SP217")
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise ValueError(f"{member.name} is neither file, folder nor symbolic link")
    with folder_walk.parent_of(root, parts, make=True) as parent, _new_file(parent, parts[-1], bool(member.mode & 0o100)) as file:
        while chunk := source.read(_CHUNK_BYTES):
            file.write(chunk)


def _hand_over(folder: int, uid: int) -> None:
    """Give a folder and all in it to uid; nobody else could reach it until now, for it was root's and 0700."""
    for _, folders, files, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)
    os.fchown(folder, uid, uid)


def _write_tar(root: int, wanted: folder_walk.Patterns, file: BinaryIO) -> None:
    left_bytes, left_entries = _OUTPUT_BYTES, _OUTPUT_ENTRIES
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for found in folder_walk.walk(root, wanted):
            left_entries -= 1
            left_bytes -= _add(tar, found)
            if left_bytes < 0 or left_entries < 0:
                fix = "declare less under `outputs:`"
                raise UserError("SP216", "the outputs are larger than 8 GiB, or more than a million files", where=found.path, fix=fix)


def _add(tar: tarfile.TarFile, found: folder_walk.Found) -> int:
    """Add one entry without its times and owners; returns how many bytes it holds."""
    member = tarfile.TarInfo(found.path)
    member.mode = 0o755 if found.executable or found.kind == stat.S_IFDIR else 0o644
    if found.kind == stat.S_IFDIR:
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
        return 0
    if found.kind == stat.S_IFLNK:
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = os.readlink(found.name, dir_fd=found.parent)
        if folder_walk.leaves(found.path, member.linkname):
            fix = "copy the file, or link to something inside the workspace by a relative path"
            text = f"the output {found.path} is a symbolic link that leaves the workspace: {member.linkname}"
            raise UserError("SP213", text, where=found.path, fix=fix)
        tar.addfile(member)
        return 0
    with os.fdopen(folder_walk.open_file(found.name, found.parent), "rb") as source:
        member.size = os.fstat(source.fileno()).st_size
        if member.size <= _OUTPUT_BYTES:
            tar.addfile(member, source)
    return member.size
