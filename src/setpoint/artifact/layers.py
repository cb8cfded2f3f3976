"""Deterministic layers: the same entries give the same bytes, whatever the umask, time zone, locale, hash seed or order they came in.

Called by `ArtifactService`; writes one gzip file as a stream, so memory does not grow with the content; never reads a file's real mode,
owner or time. The tar is POSIX ustar written here (not by `tarfile`, whose headers changed between Python versions), with a pax
record only for what ustar cannot say; gzip has no name and no time. Sources: POSIX.1-2017 pax, RFC 1952, image-spec layer.md.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from setpoint.artifact.model import LayerFile
from setpoint.artifact.recipe import Kind
from setpoint.core.errors import BugError

MTIME: Final = 315_619_200
"""1980-01-02: the first whole day that also a ZIP file can hold in every time zone."""
LEVEL: Final = 6
COMPRESSOR: Final = f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {LEVEL}"

_BLOCK: Final = 512
_NAME_BYTES: Final = 100
_LARGEST: Final = 8**11 - 1
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_TYPES: Final[dict[Kind, bytes]] = {"file": b"0", "link": b"2", "folder": b"5"}


@dataclass(frozen=True, slots=True)
class LayerItem:
    """One entry of a layer and the way to its content."""

    path: str
    """Relative to the image's root, without trailing slash."""
    kind: Kind
    executable: bool = False
    link: str = ""
    size_bytes: int = 0
    content: Callable[[], Iterator[bytes]] | None = None
    """Yields exactly size_bytes; None for folders and links."""

    @property
    def mode(self) -> int:
        """The normalised mode: 0755 or 0644, 0777 for a link."""
        if self.kind == "link":
            return 0o777
        return 0o755 if self.executable or self.kind == "folder" else 0o644


def _plain(text: str) -> bytes | None:
    """Return text as ustar can hold it, None when it needs a pax record."""
    return text.encode() if text.isascii() and len(text) <= _NAME_BYTES else None


def _header(name: bytes, kind: bytes, mode: int, size: int, link: bytes = b"") -> bytes:
    fields = [
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,  # uid, gid
        b"%011o\0" % size,
        b"%011o\0" % MTIME,
        b" " * 8,  # the checksum counts as blanks while it is made
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        b"\0" * 32 * 2,  # user and group name
        b"0000000\0" * 2,  # device numbers
        b"\0" * 155,
        b"\0" * 12,
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax_record(key: str, value: str) -> bytes:
    """Return `<length> key=value<newline>`, where length counts its own digits."""
    body = b" " + key.encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)


def _entry(item: LayerItem) -> bytes:
    """Return the header blocks of an item, with a pax header before them when ustar is too small."""
    path = item.path + "/" if item.kind == "folder" else item.path
    name, link = _plain(path), _plain(item.link)
    size = item.size_bytes if item.kind == "file" else 0
    records = b""
    if name is None:
        records += _pax_record("path", path)
    if link is None:
        records += _pax_record("linkpath", item.link)
    if size > _LARGEST:
        records += _pax_record("size", str(size))
    head = b""
    if records:
        head = _header(b"././@PaxHeader", b"x", 0o644, len(records)) + records + _padding(len(records))
    short = name if name is not None else b"pax"
    return head + _header(short, _TYPES[item.kind], item.mode, min(size, _LARGEST), link if link is not None else b"pax")


class _Writer:
    """A gzip file being written, with the digests of what goes in (diff_id) and what comes out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self.tar = hashlib.sha256()
        self.out = hashlib.sha256()
        self._check = 0
        self._tar_bytes = 0
        self.size_bytes = 0
        self._emit(_GZIP_HEAD)

    def _emit(self, data: bytes) -> None:
        self._file.write(data)
        self.out.update(data)
        self.size_bytes += len(data)

    def write(self, data: bytes) -> None:
        self.tar.update(data)
        self._check = zlib.crc32(data, self._check)
        self._tar_bytes += len(data)
        self._emit(self._deflate.compress(data))

    def close(self) -> None:
        self.write(b"\0" * _BLOCK * 2)
        self._emit(self._deflate.flush())
        self._emit(self._check.to_bytes(4, "little") + (self._tar_bytes & 0xFFFFFFFF).to_bytes(4, "little"))


def write_layer(items: Iterable[LayerItem], path: Path) -> LayerFile:
    """Write a layer of the items, sorted by the bytes of their paths, to a new file.

    Raises:
        BugError: an item's content has another length than it said (SP318), or two have one path.
    """
    ordered = sorted(items, key=lambda item: item.path.encode("utf-8", "surrogateescape"))
    if len({item.path for item in ordered}) != len(ordered):
        raise BugError("SP318", "two entries of a layer have one path", where=str(path))
    with path.open("wb") as file:
        writer = _Writer(file)
        for item in ordered:
            writer.write(_entry(item))
            _write_content(writer, item)
        writer.close()
    return LayerFile("sha256:" + writer.out.hexdigest(), "sha256:" + writer.tar.hexdigest(), writer.size_bytes, len(ordered))


def _write_content(writer: _Writer, item: LayerItem) -> None:
    if item.kind != "file" or item.content is None:
        return
    written = 0
    for chunk in item.content():
        writer.write(chunk)
        written += len(chunk)
    if written != item.size_bytes:
        raise BugError("SP318", f"{item.path} has {written} bytes where {item.size_bytes} were announced", where=item.path)
    writer.write(_padding(written))
