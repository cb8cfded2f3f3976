"""Where a file of a task's outputs goes when another task takes it (`from:`), by the slashes of `copy`: pure, path by path.

Called by the key (what is taken), by the workspaces (where it goes) and by the signer (what a task saw); never opens a file.
`deps:vendor/` is what is inside of vendor, `deps:app.bin` is that file, `deps:` is everything.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Take:
    """One line of `from:`, about one task of the graph."""

    task: str
    path: str
    """`vendor/` (what is inside), `app.bin` (a file), or empty (everything)."""
    place: str
    """`lib/` (a folder to put it into; `./` is the workspace) or `lib/app` (the file's new name)."""

    @property
    def label(self) -> str:
        """How the line's left side is written."""
        return f"{self.task}:{self.path}"


def relative(path: str, entry: str) -> str | None:
    """Return where an entry of the outputs lies below what is taken ("" is the file itself), None when it is not taken."""
    if not path:
        return entry
    if entry == path.rstrip("/"):
        return None if path.endswith("/") else ""
    folder = path if path.endswith("/") else path + "/"
    return entry[len(folder) :] if entry.startswith(folder) else None


def placed(take: Take, entry: str) -> str | None:
    """Return the path in the workspace of an entry of the outputs; None when it is not taken."""
    below = relative(take.path, entry)
    if below is None:
        return None
    place = take.place
    if take.path and not take.path.endswith("/") and place.endswith("/"):
        place += posixpath.basename(take.path)
    return posixpath.join(place, below).removeprefix("./").rstrip("/")


def covers(taken: Iterable[str], wanted: Iterable[str]) -> bool:
    """Say whether whoever took these parts of a task's outputs has seen every wanted part."""
    parts = tuple(taken)
    return all(any(not part or part == path or (part.endswith("/") and path.startswith(part)) for part in parts) for path in wanted)
