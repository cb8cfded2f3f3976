"""What a part of a task's outputs comes to, as a digest; fills `OutputIndex`.

Built by wiring and by the signer; reads kept archives, remembers what it saw (an archive's bytes never change), unpacks nothing.
"""

import hashlib
import tarfile
import threading
from collections import OrderedDict
from typing import Final

from setpoint.core import canonical
from setpoint.core import digest as digests
from setpoint.core.errors import UserError
from setpoint.pipeline import placing
from setpoint.pipeline.ports import ContentStore

_REMEMBERED: Final = 64
"""Archives; an entry takes some 150 bytes, so one with a million files is worth 150 MB and is not kept."""
_LARGEST: Final = 20_000
_CHUNK_BYTES: Final = 1 << 20

Entry = tuple[str, int, str]
"""(path, mode, what it is: the digest of a file, the text of a link, `/` for a folder)"""


class OutputIndex:
    """Archives of one content store."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._known: OrderedDict[str, tuple[Entry, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, outputs: str, path: str) -> str:
        """Return the digest over (path below what is taken, mode, content) of everything that `path` takes.

        Raises:
            UserError: it takes nothing (SP234). NotFoundError: the archive is not here (SP214).
        """
        taken = [[below, mode, what] for name, mode, what in self._entries(outputs) if (below := placing.relative(path, name)) is not None]
        if not taken:
            raise UserError("SP234", f"the outputs hold nothing at `{path}`", where="from", fix="mend the path, or what the task leaves")
        return digests.sha256(canonical.dumps(sorted(taken)))

    def _entries(self, outputs: str) -> tuple[Entry, ...]:
        with self._lock:
            if outputs in self._known:
                self._known.move_to_end(outputs)
                return self._known[outputs]
        found: list[Entry] = []
        with self._content.open(outputs) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                found.append((member.name.rstrip("/"), member.mode, _what(tar, member)))
        entries = tuple(found)
        if len(entries) <= _LARGEST:
            with self._lock:
                self._known[outputs] = entries
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return entries


def _what(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "/"
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        return f"-> {member.linkname}"
    hasher = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        hasher.update(chunk)
    return hasher.hexdigest()
