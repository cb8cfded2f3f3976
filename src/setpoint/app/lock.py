"""One server per home: a file lock that ends with its holder, whatever ended it; called by server and teardown."""

import fcntl
import os
from pathlib import Path

from setpoint.core.errors import ConflictError


class HomeLock:
    """Holds HOME/lock for as long as this object lives; the file names the holder's process id."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            ConflictError: another server holds it (SP807).
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._file, 32).decode().strip()
            os.close(self._file)
            fix = "use it, or stop it: setpoint down"
            raise ConflictError("SP807", f"a server (pid {pid}) already serves this home", where=str(path.parent), fix=fix) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._file)

    @staticmethod
    def holder(path: Path) -> int | None:
        """Return the process id of the server that holds the lock, None when nobody does."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(file, 32).decode().strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(file)
        return None
