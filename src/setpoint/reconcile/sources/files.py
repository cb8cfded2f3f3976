"""The pinned files of one application in one environment: listed at once, read when somebody asks, each known by its blob id.

Called by rendering; a render is keyed on the ids of what it reads, so a file that nobody reads is never fetched and changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from setpoint.core.errors import UserError

OUTSIDE = "SP605"


class PinnedFiles(Mapping[str, bytes]):
    """{repository path: bytes}, fetched at the first look."""

    def __init__(self, ids: Mapping[str, str], fetch: Callable[[str], bytes]) -> None:
        """Take {repository path: blob id} and what returns a blob's bytes."""
        self.ids = dict(ids)
        self._fetch = fetch
        self._read: dict[str, bytes] = {}

    def __getitem__(self, path: str) -> bytes:
        """Return a file's bytes; KeyError when it is not pinned."""
        if path not in self._read:
            self._read[path] = self._fetch(self.ids[path])
        return self._read[path]

    def __iter__(self) -> Iterator[str]:
        """Yield the paths."""
        return iter(self.ids)

    def __len__(self) -> int:
        """Return how many files are pinned."""
        return len(self.ids)

    def __contains__(self, path: object) -> bool:
        """Say whether a path is pinned, without reading it."""
        return path in self.ids


def refuse_outside(files: Mapping[str, bytes], folders: tuple[str, ...]) -> None:
    """Refuse files that lie in none of the pinned folders; UserError SP605."""
    for path in files:
        inside = any(path.startswith(folder + "/") for folder in folders)
        if not inside or ".." in PurePosixPath(path).parts or "\0" in path:
            raise UserError(OUTSIDE, "a file outside of the pinned trees cannot be rendered", where=path)


def below(files: Mapping[str, bytes], folder: str) -> list[str]:
    """Return the paths of a folder's files, sorted."""
    return sorted(path for path in files if path.startswith(folder + "/"))
