"""Pushes that were let in and are not journalled yet, as small files: a server that dies between Git and journal loses no pusher.

Written by the Git endpoint before `receive-pack` may move a ref and removed once the journal has the push; `app.pushes` mends what is left.
A file says what somebody was about to push, never that it happened: that is asked of Git.
"""

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from setpoint.core.errors import WorldError
from setpoint.source.model import RefUpdate

_VERSION: Final = 1
_LIMIT_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class IntendedPush:
    """What somebody was about to push."""

    name: str
    """Its file."""
    repository: str
    actor: str
    pusher: str
    updates: tuple[RefUpdate, ...]
    age_s: float
    in_flight: bool
    """This very server is still at it."""


class PushSpool:
    """One file per push below root; safe to call from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._in_flight: set[str] = set()

    def begin(self, repository: str, actor: str, pusher: str, updates: list[RefUpdate]) -> str:
        """Note what is about to be pushed, durable when this returns; gives the name for `settle` and `leave`.

        Raises:
            WorldError: the disk refused (SP109); nothing may be pushed then.
        """
        name = f"{secrets.token_hex(8)}.json"
        fields = {"repository": repository, "actor": actor, "pusher": pusher, "updates": [asdict(update) for update in updates]}
        data = json.dumps({"version": _VERSION, **fields}).encode()
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._root / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            _sync(self._root)
        except OSError as error:
            with suppress(OSError):
                (self._root / name).unlink()
            what = f"the push cannot be noted, so it is not taken: {error.strerror}"
            raise WorldError("SP109", what, where=repository, fix="make room on the disk of the home") from error
        self._in_flight.add(name)
        return name

    def settle(self, name: str) -> None:
        """Forget a push: it is journalled, or did not happen."""
        self._in_flight.discard(name)
        (self._root / name).unlink(missing_ok=True)

    def leave(self, name: str) -> None:
        """Let go of a push whose outcome could not be journalled: from now on it is to be mended."""
        self._in_flight.discard(name)

    def pending(self) -> list[IntendedPush]:
        """Return every push that is noted; a file torn by a crash was never answered for, and is removed."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._root) if entry.name.endswith(".json"))
        except FileNotFoundError:
            return []
        return [push for push in map(self._read, names) if push is not None]

    def _read(self, name: str) -> IntendedPush | None:
        path = self._root / name
        try:
            with path.open("rb") as file:
                written_at = os.fstat(file.fileno()).st_mtime
                value = json.loads(file.read(_LIMIT_BYTES))
            updates = tuple(RefUpdate(**update) for update in value["updates"])
            fields = (str(value["repository"]), str(value["actor"]), str(value["pusher"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            if name not in self._in_flight:
                path.unlink(missing_ok=True)
            return None
        return IntendedPush(name, *fields, updates, max(0.0, time.time() - written_at), name in self._in_flight)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
