"""The bytes of commits and trees: signatures in and out of a commit object, trees listed and with files put in place.

Called by `adapters.git.store` only; moves no ref and checks no signature (the promotion stage composes, the signer signs).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import pygit2
from pygit2.enums import FileMode

from setpoint.core import clock
from setpoint.core.errors import UserError
from setpoint.source.model import TreeFile

_HEADER: Final = b"gpgsig"
_REGULAR: Final = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
_FILES: Final = (*_REGULAR, FileMode.LINK)
_MAX_FILES: Final = 1_000_000

Nested = dict[str, "bytes | Nested | None"]
"""A folder of changes: name -> a file's bytes, or the changes of a sub-folder."""


def join_signature(payload: bytes, signature: bytes) -> bytes:
    """Return the commit object of payload with signature as its `gpgsig` header, laid out as Git's commit.c does.

    The header comes last, right before the empty line; continuation lines start with one space.

    Raises:
        UserError: payload is no commit, or is signed already (SP105).
    """
    head, gap, message = payload.partition(b"\n\n")
    if not gap or not head.startswith(b"tree ") or split_signature(payload) is not None:
        raise UserError("SP105", "the bytes to be signed are not an unsigned commit")
    lines = signature.rstrip(b"\n").split(b"\n")
    return head + b"\n" + _HEADER + b" " + b"\n ".join(lines) + b"\n\n" + message


def split_signature(raw: bytes) -> tuple[bytes, bytes] | None:
    """Return (signed payload, signature ending in a newline) of a commit object; None without exactly one signature.

    Two signatures on one commit are treated as none: which of them Git checks is nothing to rely on.
    """
    head, gap, message = raw.partition(b"\n\n")
    kept: list[bytes] = []
    found: list[list[bytes]] = []
    inside = False
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name == _HEADER or name.startswith(_HEADER + b"-"):
            found.append([value] if name == _HEADER else [])
            inside = True
        elif inside and line.startswith(b" "):
            found[-1].append(line[1:])
        else:
            inside = False
            kept.append(line)
    if len(found) != 1 or not found[0]:
        return None
    return b"\n".join(kept) + gap + message, b"\n".join(found[0]) + b"\n"


def parts_of_path(path: str) -> list[str]:
    """Return the segments of a path inside a tree, none for the root.

    Raises:
        UserError: the path is absolute, leaves the tree or names nothing (SP101).
    """
    if not path:
        return []
    parts = path.rstrip("/").split("/")
    if "\0" in path or len(path) > 4096 or any(part in {"", ".", ".."} or part.casefold() == ".git" for part in parts):
        raise UserError("SP101", "this is not a path inside a repository", where=path[:200], fix="write it relative, without `..`")
    return parts


def nest(changes: Mapping[str, bytes | None]) -> Nested:
    """Return path -> bytes as nested folders.

    Raises:
        UserError: a path is faulty, or one of them is another's folder (SP101).
    """
    root: Nested = {}
    for path, data in changes.items():
        *folders, name = parts_of_path(path) or [""]
        here = root
        for folder in folders:
            below = here.setdefault(folder, {})
            if not isinstance(below, dict):
                raise UserError("SP101", "a path is both a file and a folder", where=path)
            here = below
        if not name or isinstance(here.get(name), dict):
            raise UserError("SP101", "a path is both a file and a folder", where=path)
        here[name] = data
    return root


def write_nested(repository: pygit2.Repository, base: pygit2.Tree | None, changes: Nested) -> pygit2.Oid:
    """Write base with the changes put in place and return the new tree's id; a replaced file keeps its executable bit.

    What is None is removed, and a folder in which nothing is left with it.
    """
    builder = repository.TreeBuilder(base) if base is not None else repository.TreeBuilder()
    for name, change in changes.items():
        present = base[name] if base is not None and name in base else None
        if isinstance(change, dict):
            below = write_nested(repository, present if isinstance(present, pygit2.Tree) else None, change)
            if len(repository[below].peel(pygit2.Tree)):
                builder.insert(name, below, FileMode.TREE)
            elif present is not None:
                builder.remove(name)
        elif change is None:
            if present is not None:
                builder.remove(name)
        else:
            mode = FileMode(present.filemode) if present is not None and present.filemode in _REGULAR else FileMode.BLOB
            builder.insert(name, repository.create_blob(change), mode)
    return builder.write()


def files_of(top: pygit2.Tree) -> list[TreeFile]:
    """Return every file of a tree, sorted by path; without recursion, so that its depth cannot exhaust the stack.

    Raises:
        UserError: a path is not UTF-8 (SP106), or there are more than a million files (SP103).
    """
    found: list[TreeFile] = []
    waiting: list[tuple[bytes, pygit2.Tree]] = [(b"", top)]
    while waiting:
        prefix, tree = waiting.pop()
        for entry in tree:
            path = prefix + (entry.raw_name or b"")
            if isinstance(entry, pygit2.Tree):
                waiting.append((path + b"/", entry))
            elif entry.filemode in _FILES:
                found.append(TreeFile(path_text(path), int(entry.filemode), str(entry.id)))
        if len(found) + len(waiting) > _MAX_FILES:
            raise UserError("SP103", f"the tree has more than {_MAX_FILES} files", where=str(top.id))
    return sorted(found, key=lambda file: file.path)


def path_text(path: bytes) -> str:
    """Return a path of a tree as text; UserError SP106 when it is not UTF-8."""
    try:
        return path.decode()
    except UnicodeDecodeError as error:
        shown = path.decode(errors="replace")
        raise UserError("SP106", "a path in the repository is not UTF-8", where=shown, fix="rename the file") from error


def instant(epoch_s: int) -> str:
    """Return a commit's time as text; a forged one outside the calendar is shown as the epoch."""
    try:
        return clock.to_text(datetime.fromtimestamp(epoch_s, UTC))
    except (OverflowError, ValueError, OSError):
        return clock.to_text(datetime.fromtimestamp(0, UTC))
