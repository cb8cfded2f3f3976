"""The log of one replica, kept by its shim: bounded, turned over, never a reason for the replica to wait or end.

Called by `shim` only, inside the shim's process: standard library alone, and nothing is imported later.
"""

import contextlib
import os
from typing import Final

LOG_BYTES: Final = 10 << 20
LOG_FILES: Final = 3
RESTARTED: Final = "[setpoint] started again after "
"""How the line begins that stands between the output of two processes."""


class Log:
    """`log` in the replica's folder, with `log.1` and `log.2` behind it."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open("log", flags, 0o600, dir_fd=self._folder)
        self._size = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses output and never the replica."""
        with contextlib.suppress(OSError):
            if self._size + len(data) > LOG_BYTES and self._size:
                self._rotate()
            self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        os.close(self._file)
        names = ["log", *[f"log.{number}" for number in range(1, LOG_FILES)]]
        for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
            with contextlib.suppress(FileNotFoundError):
                os.rename(newer, older, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._open()
