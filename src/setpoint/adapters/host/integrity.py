"""Whether the files of an unpacked image are still those that its layers brought: a cheap look by stat, a sure one by content.

Called by the image folder and the image care. When an image is unpacked, from layers whose digests were checked, a catalogue of its
entries is written beside it. A look compares inode, change time and mode with it: a writer can set size and modification time as it
likes, the change time it cannot (inode(7)). What looks strange is compared by content; only that says that something differs.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

CATALOGUE: Final = "catalogue.json"
_VERSION: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_LIMIT_BYTES: Final = 512 << 20


class Entry(NamedTuple):
    """What is known of one entry of an image."""

    inode: int
    changed_ns: int
    mode: int
    content: str = ""
    """sha256 of a file, target of a link."""
    modified_s: int = 0
    """Of a file: Python compares it with what its .pyc says."""
    uid: int = 0

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What nobody can keep who writes."""
        return self[:3]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One entry of the image that is not as its layers say."""

    path: str
    """Inside the image, with a slash in front."""
    field: str
    """`content`, `mode`, `owner`, `time`, `kind`, `target`, `entry`"""
    desired: str
    live: str


def look_of(rootfs: Path) -> dict[str, Entry]:
    """Return every entry by its path below rootfs, without its content; the root itself is `.`. What goes meanwhile is not there."""
    found: dict[str, Entry] = {}
    with contextlib.suppress(FileNotFoundError):
        found["."] = _entry(os.lstat(rootfs))
    for path, entry in _entries(str(rootfs), ""):
        with contextlib.suppress(FileNotFoundError):
            found[path] = _entry(entry.stat(follow_symlinks=False))
    return found


def catalogue(rootfs: Path) -> dict[str, Entry]:
    """Return every entry with its content."""
    return {path: one._replace(content=_content(rootfs / path, one.mode)) for path, one in look_of(rootfs).items()}


def _entry(facts: os.stat_result) -> Entry:
    modified_s = int(facts.st_mtime) if stat.S_ISREG(facts.st_mode) else 0
    return Entry(facts.st_ino, facts.st_ctime_ns, facts.st_mode, "", modified_s, facts.st_uid)


def _content(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        with contextlib.suppress(OSError):
            return os.readlink(path)  # noqa: PTH115 - the text of the link, not a path
    return _digest(path) if stat.S_ISREG(mode) else ""


def _entries(folder: str, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{below}{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, f"{path}/")


class Look:
    """Goes round the entries of one image, some at a time: an entry that came or went shows in its folder's change time."""

    def __init__(self, rootfs: Path, known: Mapping[str, Entry]) -> None:
        self._root = os.fspath(rootfs)
        self._known = [(path, entry.stamp) for path, entry in known.items()]
        self._next = 0

    def part(self, share: float) -> bool:
        """Look at a share of the entries and say whether one of them is strange."""
        count = max(1, round(len(self._known) * share))
        first, self._next = self._next, (self._next + count) % max(1, len(self._known))
        every = self._known[first : first + count]
        if share < 1 and first + count > len(self._known):
            every = every + self._known[: self._next]
        return any(self._strange(path, stamp) for path, stamp in every)

    def _strange(self, path: str, stamp: tuple[int, int, int]) -> bool:
        try:
            facts = os.lstat(f"{self._root}/{path}")
        except OSError:
            return True
        return (facts.st_ino, facts.st_ctime_ns, facts.st_mode) != stamp


def write(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Keep a catalogue beside the rootfs."""
    scratch = folder / f".{CATALOGUE}.new"
    scratch.write_text(json.dumps({"version": _VERSION, "entries": entries}, separators=(",", ":")), encoding="utf-8")
    scratch.rename(folder / CATALOGUE)


def read(folder: Path) -> dict[str, Entry]:
    """Return the catalogue of an image; empty when there is none that can be read, so that everything looks strange."""
    try:
        with (folder / CATALOGUE).open("rb") as file:
            raw = json.loads(file.read(_LIMIT_BYTES))
        return {str(path): Entry(*one) for path, one in raw["entries"].items()} if raw["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def compare(live: Path, wanted: Mapping[str, Entry]) -> tuple[list[FileChange], dict[str, Entry]]:
    """Return how a live tree differs from what its layers brought, and what is known of it from now on.

    Only entries whose stamp is another are read.
    """
    found, changes = look_of(live), []
    for path in sorted(wanted.keys() | found.keys()):
        name = f"/{path}" if path != "." else "/"
        before, now = wanted.get(path), found.get(path)
        if now is None:
            changes.append(FileChange(name, "entry", "there", "removed"))
        elif before is None:
            changes.append(FileChange(name, "entry", "not there", f"added ({_kind(now.mode)})"))
        elif before.stamp == now.stamp:
            found[path] = before
        else:
            found[path] = now._replace(content=_content(live / path, now.mode))
            changes += _differ(name, before, found[path])
    return changes, found


def _differ(name: str, before: Entry, now: Entry) -> Iterator[FileChange]:
    kind = _kind(before.mode)
    if kind != _kind(now.mode):
        yield FileChange(name, "kind", kind, _kind(now.mode))
        return
    if before.mode != now.mode:
        yield FileChange(name, "mode", f"{stat.S_IMODE(before.mode):04o}", f"{stat.S_IMODE(now.mode):04o}")
    if before.uid != now.uid:
        yield FileChange(name, "owner", str(before.uid), str(now.uid))
    if before.content != now.content:
        file = kind == "file"
        shown = [f"sha256 {text[:12]}" if file else text for text in (before.content, now.content)]
        yield FileChange(name, "content" if file else "target", *shown)
    elif before.modified_s != now.modified_s:
        yield FileChange(name, "time", str(before.modified_s), str(now.modified_s))


def _kind(mode: int) -> str:
    for kind, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link")):
        if kind(mode):
            return name
    return "device, pipe or socket"


def _digest(path: Path) -> str:
    """Return a file's digest, never waiting for a pipe and following no link; what cannot be read differs from everything."""
    total = hashlib.sha256()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                total.update(chunk)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return total.hexdigest()
