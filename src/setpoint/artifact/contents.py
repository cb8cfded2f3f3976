"""Where a layer's bytes come from: source files spooled to disk, and the output archives of tasks.

Used by `ArtifactService` within one assembly; holds names in memory, contents on disk only; never unpacks anything.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from setpoint.artifact.recipe import Entry
from setpoint.core.errors import UserError

_CHUNK_BYTES: Final = 1 << 20
_LINK: Final = 0o120000
_TYPE_BITS: Final = 0o170000


class Origin(Protocol):
    """Something that entries are copied from."""

    def entries(self) -> Iterable[Entry]:
        """Return all entries."""
        ...

    def content(self, path: str) -> tuple[int, Callable[[], Iterator[bytes]]]:
        """Return the size of a file and a way to read it."""
        ...


class SourceSpool:
    """The wanted source files, one behind the other in one file of the scratch folder."""

    def __init__(self, spool: Path, files: Iterable[tuple[str, int, bytes]], wanted: Callable[[str], bool]) -> None:
        self._spool = spool
        self._entries: list[Entry] = []
        self._places: dict[str, tuple[int, int]] = {}
        offset = 0
        with spool.open("wb") as file:
            for path, mode, data in files:
                if not wanted(path):
                    continue
                if mode & _TYPE_BITS == _LINK:
                    self._entries.append(Entry(path, "link", link=data.decode("utf-8", "surrogateescape")))
                    continue
                self._entries.append(Entry(path, "file", executable=bool(mode & 0o111)))
                self._places[path] = (offset, len(data))
                offset += file.write(data)

    def entries(self) -> Iterable[Entry]:
        """Return the spooled files and links."""
        return self._entries

    def content(self, path: str) -> tuple[int, Callable[[], Iterator[bytes]]]:
        """Return size and reader of a file."""
        offset, size = self._places[path]

        def read() -> Iterator[bytes]:
            left = size
            with self._spool.open("rb") as file:
                file.seek(offset)
                while chunk := file.read(min(_CHUNK_BYTES, left)):
                    left -= len(chunk)
                    yield chunk

        return size, read


class OutputsArchive:
    """A task's outputs tar, open for the time of an assembly.

    Raises:
        UserError: it cannot be read, or holds a device, a socket or a path out of itself (SP315).
    """

    def __init__(self, task: str, archive: Path) -> None:
        self._task = task
        self._members: dict[str, tarfile.TarInfo] = {}
        with ExitStack() as stack:
            try:
                self._tar = stack.enter_context(tarfile.open(archive, "r:*"))
                for member in self._tar:
                    self._members[self._name(member)] = member
            except (tarfile.TarError, OSError, EOFError) as error:
                raise self._fault("cannot be read") from error
            self._members.pop("", None)
            self._closing = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def _fault(self, why: str) -> UserError:
        fix = "let the task leave plain files, folders and relative links, and run it again"
        return UserError("SP315", f"the outputs of task {self._task} {why}", where=self._task, fix=fix)

    def _name(self, member: tarfile.TarInfo) -> str:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.name.startswith("/") or ".." in parts:
            raise self._fault(f"hold the path {member.name!r}, which leaves them")
        return "/".join(parts)

    def entries(self) -> Iterable[Entry]:
        """Return every member; a hard link counts as the file it names."""
        for path, member in self._members.items():
            if member.isdir():
                yield Entry(path, "folder")
            elif member.issym():
                yield Entry(path, "link", link=member.linkname)
            elif member.isreg() or member.islnk():
                yield Entry(path, "file", executable=bool(member.mode & 0o111))
            else:
                raise self._fault(f"hold {path}, which is neither file, folder nor link")

    def content(self, path: str) -> tuple[int, Callable[[], Iterator[bytes]]]:
        """Return size and reader of a file."""
        member = self._members[path]
        named = self._members.get(member.linkname.removeprefix("./"), member) if member.islnk() else member
        size = named.size

        def read() -> Iterator[bytes]:
            try:
                file = self._tar.extractfile(member)
                while file is not None and (chunk := file.read(_CHUNK_BYTES)):
                    yield chunk
            except (tarfile.TarError, OSError, EOFError, KeyError) as error:
                raise self._fault(f"cannot be read at {path}") from error

        return size, read
