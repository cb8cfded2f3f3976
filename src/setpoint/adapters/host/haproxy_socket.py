"""HAProxy's master socket: one command, one answer; called by the proxy, never keeps a connection.

A unix socket's path may have 107 bytes while homes may be longer, so it is reached through the open folder: /proc/self/fd/N/master.sock.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "master.sock"
_ANSWER_S: Final = 10.0
_LIMIT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Processes:
    """`show proc`: the master, the worker that listens, and workers of earlier configurations that finish their requests."""

    master: int
    worker: int | None
    old: tuple[int, ...]


class MasterSocket:
    """Speaks to the HAProxy whose folder it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, command: str) -> str:
        """Send a command to the master and return its answer.

        Raises:
            OSError: nobody answers.
        """
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_ANSWER_S)
                connection.connect(f"/proc/self/fd/{folder}/{NAME}")
                connection.sendall(command.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)  # the master keeps the connection until its client is done
                return _read_all(connection)
        finally:
            os.close(folder)

    def ask_worker(self, command: str, pid: int | None = None) -> str:
        """Send a command to the worker that listens now, or to the worker pid.

        Raises:
            OSError: nobody answers.
        """
        return self.ask(f"@1 {command}" if pid is None else f"@!{pid} {command}")

    def processes(self) -> Processes:
        """Return who is there.

        Raises:
            OSError: nobody answers.
        """
        section, master, worker, old = "", 0, None, []
        for line in self.ask("show proc").splitlines():
            words = line.split()
            if line.startswith("# "):
                section = line[2:].strip()
            elif len(words) > 1 and words[0].isdigit():
                pid = int(words[0])
                if words[1] == "master":
                    master = pid
                elif words[1] == "worker" and section.startswith("old"):
                    old.append(pid)
                elif words[1] == "worker":
                    worker = pid
        if not master:
            raise ConnectionError("the master does not name itself")
        return Processes(master, worker, tuple(old))


def _read_all(connection: socket.socket) -> str:
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
        if len(data) > _LIMIT_BYTES:
            raise ConnectionError("the answer is too long")
    return data.decode(errors="replace")
