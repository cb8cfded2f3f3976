"""One layer's tar laid over a rootfs, path by path; called by `unpack`, never leaves the rootfs whatever the tar says.

Nobody else writes into the rootfs while it is made, so looking at a path first and writing after is safe.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from setpoint.core.errors import UserError, WorldError

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_CHUNK_BYTES: Final = 1 << 18
_MAX_LINKS: Final = 40
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an image may unpack to."""

    total_bytes: int = 16 << 30
    entries: int = 1_000_000


class _Source(Protocol):
    """Something that a file's content is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to size bytes, none at the end."""
        ...


class _HashingReader:
    """Passes a blob on and hashes what it passes."""

    def __init__(self, stream: BinaryIO, algorithm: str) -> None:
        self._stream = stream
        self._hash = hashlib.new(algorithm)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def drain(self) -> str:
        """Read to the end and return the hex digest of everything."""
        while self.read(_CHUNK_BYTES):
            pass
        return self._hash.hexdigest()


class LayerReader:
    """Applies an image's layers to one rootfs in order, counting what they unpack to."""

    def __init__(self, rootfs: Path, image: str, limits: Limits) -> None:
        self._root = rootfs
        self._image = image
        self._limits = limits
        self._bytes = 0
        self._entries = 0

    def apply(self, blob: BinaryIO, digest: str, *, gzipped: bool) -> None:
        """Lay a layer over what is there.

        Raises:
            UserError: its bytes do not match the digest, it is no tar, it wants out of the rootfs, or it is too large (SP633).
        """
        algorithm, _, wanted = digest.partition(":")
        reader = _HashingReader(blob, algorithm)
        fresh: set[Path] = set()
        try:
            with tarfile.open(fileobj=reader, mode="r|gz" if gzipped else "r|", bufsize=_CHUNK_BYTES) as archive:  # type: ignore[call-overload]
                for member in archive:
                    archive.members = []  # tarfile would keep every entry
                    self._member(archive, member, fresh)
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            raise self._fault(f"layer {digest} cannot be unpacked: {error}") from error
        except OSError as error:
            if error.errno not in _DISK:
                raise self._fault(f"layer {digest} cannot be unpacked: {error}") from error
            fix = "make room on the disk of the home"
            raise WorldError("SP636", f"layer {digest} cannot be written: {error.strerror}", where=self._image, fix=fix) from error
        if reader.drain() != wanted:
            raise self._fault(f"the bytes of layer {digest} do not match its digest")

    def place(self, blob: BinaryIO, digest: str, title: str) -> None:
        """Copy a blob to a file of this name, folders made as needed; raises what `apply` raises."""
        algorithm, _, wanted = digest.partition(":")
        reader, parts = _HashingReader(blob, algorithm), self._parts(title)
        if not parts:
            raise self._fault(f"layer {digest} is called {title!r}, which is no name of a file")
        self._count_entry()
        try:
            path = self._inside(parts[:-1], make=True) / parts[-1]
            _remove(path)
            self._write(reader, path, 0o644)
        except OSError as error:
            fix = "make room on the disk of the home"
            raise WorldError("SP636", f"{title} cannot be written: {error.strerror}", where=self._image, fix=fix) from error
        if reader.drain() != wanted:
            raise self._fault(f"the bytes of layer {digest} do not match its digest")

    def _count_entry(self) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise self._fault(f"the image has more than {self._limits.entries} entries")

    def _fault(self, what: str) -> UserError:
        return UserError("SP633", what, where=self._image, fix="build and push the image again; if it is not yours, do not run it")

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, fresh: set[Path]) -> None:
        self._count_entry()
        parts = self._parts(member.name)
        if not parts:
            return
        parent = self._inside(parts[:-1], make=True)
        name = parts[-1]
        if name.startswith(_WHITEOUT):
            self._white_out(parent, name, fresh)
            return
        path = parent / name
        fresh.update((path, *self._above(path)))
        if member.isdir():
            self._folder(path, member)
            return
        _remove(path)
        if member.isreg():
            self._file(archive, member, path)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            self._hard_link(member, path)
        # Devices and pipes are left out: a sandbox has its own /dev.

    def _parts(self, name: str) -> list[str]:
        if name.startswith("/") or "\0" in name:
            raise self._fault(f"entry {name!r} has an absolute name")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self._fault(f"entry {name!r} climbs out of its folder")
        return parts

    def _inside(self, parts: list[str], *, make: bool) -> Path:
        """Return the real folder of parts, walking links as a process with this root would; making folders that are missing."""
        path, todo, links = self._root, list(reversed(parts)), 0
        while todo:
            part = todo.pop()
            if part == "..":
                if path == self._root:
                    raise self._fault(f"a link on the way to {'/'.join(parts)!r} leaves the image")
                path = path.parent
                continue
            step = path / part
            if step.is_symlink():
                links += 1
                target = str(step.readlink())
                if links > _MAX_LINKS:
                    raise self._fault(f"too many links on the way to {'/'.join(parts)!r}")
                path = self._root if target.startswith("/") else path
                todo.extend(word for word in reversed(target.split("/")) if word not in ("", "."))
                continue
            if make and not step.is_dir():
                _remove(step)
                step.mkdir()
            path = step
        return path

    def _above(self, path: Path) -> list[Path]:
        return [parent for parent in path.parents if parent.is_relative_to(self._root)]

    def _white_out(self, parent: Path, name: str, fresh: set[Path]) -> None:
        """Hide what lower layers brought: one entry, or (opaque) all of a folder except what this layer has put there."""
        if name == _OPAQUE:
            _keep_only(parent, fresh)
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise self._fault(f"whiteout {name!r} names no entry")
        if parent / hidden not in fresh:
            _remove(parent / hidden)

    def _folder(self, path: Path, member: tarfile.TarInfo) -> None:
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            path.mkdir()
        path.chmod((member.mode & 0o755) | 0o700)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = archive.extractfile(member)
        if source is None:
            raise self._fault(f"entry {member.name!r} has no content")
        self._write(source, path, (member.mode & 0o755) | 0o400)
        # Python compares a source's time with the one in its .pyc: times are content.
        with contextlib.suppress(OverflowError):
            os.utime(path, (member.mtime, member.mtime))

    def _write(self, source: _Source, path: Path, mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                self._bytes += len(chunk)
                if self._bytes > self._limits.total_bytes:
                    raise self._fault(f"the image unpacks to more than {self._limits.total_bytes} bytes")
                file.write(chunk)
        path.chmod(mode)

    def _hard_link(self, member: tarfile.TarInfo, path: Path) -> None:
        parts = self._parts(member.linkname)
        target = self._inside(parts[:-1], make=False) / parts[-1] if parts else self._root
        if target.is_symlink() or not target.is_file():
            raise self._fault(f"entry {member.name!r} links to {member.linkname!r}, which is no file of the image")
        os.link(target, path, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _keep_only(folder: Path, fresh: set[Path]) -> None:
    for child in list(folder.iterdir()):
        if child not in fresh:
            _remove(child)
        elif child.is_dir() and not child.is_symlink():
            _keep_only(child, fresh)
