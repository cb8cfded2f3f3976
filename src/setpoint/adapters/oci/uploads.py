"""Unfinished blob uploads, on disk so that a restarted server still knows them; used by the store and the registry.

One folder per session (`repository`, `data`), plain files for scratch. Nothing here is fsynced: it may be lost.
"""

import os
import re
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from setpoint.core.errors import ConflictError, NotFoundError, UserError, WorldError

_SESSION: Final = re.compile(r"[0-9a-f]{32}")
BLOB_LIMIT_BYTES: Final = 64 << 30
"""Larger than any image layer that a registry should take in one piece."""
OPEN_UPLOADS: Final = 1_000
"""How many uploads may be unfinished at once; a client that only ever begins must not fill the disk with folders."""


@dataclass(frozen=True, slots=True)
class Session:
    """One upload: which repository it is for, and where its bytes lie."""

    session: str
    repository: str
    data: Path

    @property
    def size_bytes(self) -> int:
        """How much has arrived."""
        return self.data.stat().st_size


class UploadSessions:
    """The folder of unfinished uploads; safe from several threads as long as one session has one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def scratch(self) -> Path:
        """Return a fresh file name in this folder; the caller removes or moves the file."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._folder / f"scratch-{uuid.uuid4().hex}"

    def start(self, repository: str) -> Session:
        """Open a session for a repository; WorldError SP319 when too many are unfinished."""
        if self._folder.is_dir() and sum(1 for _ in self._folder.iterdir()) >= OPEN_UPLOADS:
            fix = "finish or cancel uploads; what nobody adds to for a day is swept when the server starts"
            raise WorldError("SP319", f"{OPEN_UPLOADS} uploads are unfinished", where=repository, fix=fix)
        name = uuid.uuid4().hex
        folder = self._folder / name
        folder.mkdir(parents=True, mode=0o700)
        (folder / "repository").write_text(repository)
        (folder / "data").touch(mode=0o600)
        return Session(name, repository, folder / "data")

    def find(self, repository: str, name: str) -> Session:
        """Return a session of this repository; NotFoundError SP316 when there is none."""
        if _SESSION.fullmatch(name):
            data = self._folder / name / "data"
            try:
                if (self._folder / name / "repository").read_text() == repository and data.is_file():
                    return Session(name, repository, data)
            except FileNotFoundError:
                pass
        raise NotFoundError("SP316", "there is no such upload; it ended or expired", where=repository, fix="start a new upload")

    def append(self, session: Session, offset: int, chunk: bytes) -> int:
        """Add bytes at offset, which must be the end; returns the new end.

        Raises:
            ConflictError: somebody else wrote to this session (SP317).
            UserError: the blob grows too large (SP303).
            WorldError: the disk refused (SP309); the session is cut back to offset.
        """
        if offset + len(chunk) > BLOB_LIMIT_BYTES:
            raise UserError("SP303", f"a blob may have {BLOB_LIMIT_BYTES} bytes", where=session.repository, fix="split it into layers")
        try:
            descriptor = os.open(session.data, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError as error:
            raise NotFoundError("SP316", "the upload was cancelled", where=session.repository, fix="start a new upload") from error
        try:
            if os.fstat(descriptor).st_size != offset:
                raise ConflictError("SP317", "somebody else writes to this upload", where=session.repository, fix="start your own")
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as error:
            os.ftruncate(descriptor, offset)
            fix = "make room on the disk of the home"
            raise WorldError("SP309", f"the upload cannot be written: {error.strerror}", where=str(session.data), fix=fix) from error
        finally:
            os.close(descriptor)
        return offset + len(chunk)

    def cut(self, session: Session, size_bytes: int) -> None:
        """Forget what arrived after size_bytes."""
        os.truncate(session.data, size_bytes)

    def drop(self, session: Session) -> None:
        """End a session; its data is deleted unless it was moved away."""
        shutil.rmtree(session.data.parent, ignore_errors=True)

    def sweep(self, now: datetime, max_age_s: float) -> int:
        """Delete sessions and scratch files that nothing was added to for max_age_s; returns how many."""
        swept = 0
        for entry in list(self._folder.iterdir()) if self._folder.is_dir() else []:
            touched = entry / "data" if (entry / "data").is_file() else entry
            try:
                idle_s = now.timestamp() - touched.stat().st_mtime
            except FileNotFoundError:
                continue
            if idle_s < max_age_s:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
            swept += 1
        return swept
