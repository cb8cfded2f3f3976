"""Whether the files of an unpacked image are still those that its layers brought: a cheap look by stat, a sure one by content.

Called by the image folder. The look compares inode, change time and mode of every entry with a baseline from when it was unpacked: a
writer can set size and modification time as it likes, the change time it cannot (inode(7)). What looks strange is compared with the
layers unpacked anew; only that comparison says that something differs.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BASELINE: Final = "baseline.json"
_VERSION: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_LIMIT_BYTES: Final = 512 << 20

Stamp = tuple[int, int, int]
"""(inode, change time in ns, mode)"""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One entry of the image that is not as its layers say."""

    path: str
    """Inside the image, with a slash in front."""
    field: str
    """`content`, `mode`, `owner`, `time`, `kind`, `target`, `entry`"""
    desired: str
    live: str


def stamps(rootfs: Path) -> dict[str, Stamp]:
    """Return the stamp of every entry by its path below rootfs; the root itself is `.`."""
    found = {".": _stamp(os.lstat(rootfs))}
    for path, entry in _entries(str(rootfs), ""):
        found[path] = _stamp(entry.stat(follow_symlinks=False))
    return found


def _stamp(facts: os.stat_result) -> Stamp:
    return (facts.st_ino, facts.st_ctime_ns, facts.st_mode)


def _entries(folder: str, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        path = f"{below}{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, f"{path}/")


class Look:
    """Goes round the entries of one image, some at a time: an entry that came or went shows in its folder's change time."""

    def __init__(self, rootfs: Path, baseline: Mapping[str, Stamp]) -> None:
        self._root = os.fspath(rootfs)
        self._baseline = list(baseline.items())
        self._next = 0

    def part(self, share: float) -> bool:
        """Look at a share of the entries and say whether one of them is strange."""
        count = max(1, round(len(self._baseline) * share))
        first, self._next = self._next, (self._next + count) % max(1, len(self._baseline))
        every = self._baseline[first : first + count]
        if share < 1 and first + count > len(self._baseline):
            every = every + self._baseline[: self._next]
        return any(self._strange(path, stamp) for path, stamp in every)

    def _strange(self, path: str, stamp: Stamp) -> bool:
        try:
            facts = os.lstat(f"{self._root}/{path}")
        except OSError:
            return True
        return (facts.st_ino, facts.st_ctime_ns, facts.st_mode) != stamp


def write(folder: Path, baseline: Mapping[str, Stamp]) -> None:
    """Keep a baseline beside the rootfs."""
    scratch = folder / f".{BASELINE}.new"
    scratch.write_text(json.dumps({"version": _VERSION, "entries": baseline}, separators=(",", ":")), encoding="utf-8")
    scratch.rename(folder / BASELINE)


def read(folder: Path) -> dict[str, Stamp]:
    """Return the baseline of an image; empty when there is none that can be read, so that everything looks strange."""
    try:
        with (folder / BASELINE).open("rb") as file:
            raw = json.loads(file.read(_LIMIT_BYTES))
        return {str(path): (int(one[0]), int(one[1]), int(one[2])) for path, one in raw["entries"].items()} if raw["version"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


def compare(live: Path, fresh: Path, trusted: Mapping[str, Stamp]) -> list[FileChange]:
    """Return how a live tree differs from a fresh one; contents are read unless a trusted stamp says that nobody touched the file."""
    wanted, found = ({".": root, **{path: Path(entry.path) for path, entry in _entries(str(root), "")}} for root in (fresh, live))
    changes = []
    for path in sorted(wanted.keys() | found.keys()):
        name = f"/{path}" if path != "." else "/"
        if path not in found:
            changes.append(FileChange(name, "entry", "there", "removed"))
        elif path not in wanted:
            changes.append(FileChange(name, "entry", "not there", f"added ({_kind(os.lstat(found[path]))})"))
        else:
            changes += _differ(name, wanted[path], found[path], trusted.get(path))
    return changes


def _differ(name: str, wanted: Path, found: Path, trusted: Stamp | None) -> Iterator[FileChange]:
    one, other = os.lstat(wanted), os.lstat(found)
    if _stamp(other) == trusted:
        return
    if _kind(one) != _kind(other):
        yield FileChange(name, "kind", _kind(one), _kind(other))
        return
    for field, before, after in (
        ("mode", f"{stat.S_IMODE(one.st_mode):04o}", f"{stat.S_IMODE(other.st_mode):04o}"),
        ("owner", f"{one.st_uid}:{one.st_gid}", f"{other.st_uid}:{other.st_gid}"),
    ):
        if before != after:
            yield FileChange(name, field, before, after)
    if stat.S_ISLNK(one.st_mode):
        left, right = os.readlink(wanted), os.readlink(found)  # noqa: PTH115 - as bytes of text, whatever they are
        if left != right:
            yield FileChange(name, "target", left, right)
    elif stat.S_ISREG(one.st_mode):
        left, right = _digest(wanted), _digest(found)
        if left != right:
            yield FileChange(name, "content", f"sha256 {left[:12]}", f"sha256 {right[:12]}")
        elif int(one.st_mtime) != int(other.st_mtime):
            yield FileChange(name, "time", str(int(one.st_mtime)), str(int(other.st_mtime)))


def _kind(facts: os.stat_result) -> str:
    for kind, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link")):
        if kind(facts.st_mode):
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
