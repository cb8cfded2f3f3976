"""The server's end of the signer: starts the process, asks it, starts it anew when it died; fills `evidence.ports.Signer`.

Built by wiring; safe to call from several threads, one request at a time. It never sees a private key.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from setpoint.adapters.signer import protocol
from setpoint.core.errors import WorldError
from setpoint.evidence.ports import Signed, SigningKind

_STOP_TIMEOUT_S: Final = 5.0
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class SignerPaths:
    """The folders of a home that the signer reads (app.home.Home has properties of the same names)."""

    journal: Path
    keys: Path
    repositories: Path
    registry: Path
    content: Path


class _Connection:
    """A running signer."""

    def __init__(self, paths: SignerPaths, timeout_s: float) -> None:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-P", "-m", "setpoint.adapters.signer.process", "--fd", str(theirs.fileno())]
        for name in ("journal", "keys", "repositories", "registry", "content"):
            argv += [f"--{name}", str(getattr(paths, name).absolute())]
        with theirs, contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            # A session of its own: Ctrl-C at the terminal is for the server, which then closes the socket.
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
            failed.pop_all()
        ours.settimeout(timeout_s)
        self._socket = ours
        self._reader: BinaryIO = ours.makefile("rb")

    def ask(self, line: bytes) -> bytes:
        """Send a request and return the answer's line; OSError when the signer is gone or too slow."""
        self._socket.sendall(line)
        answer = self._reader.readline(protocol.ANSWER_BYTES)
        if not answer.endswith(b"\n"):
            raise ConnectionError("the signer closed the connection")
        return answer

    def close(self) -> None:
        """Close the socket, which ends the process; kill it when it does not end."""
        with contextlib.suppress(OSError):
            self._reader.close()
            self._socket.close()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class SignerClient:
    """Asks the signer process."""

    def __init__(self, paths: SignerPaths, *, timeout_s: float = 60.0) -> None:
        self._paths = paths
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    @classmethod
    def spawn(cls, paths: SignerPaths, *, timeout_s: float = 60.0) -> "SignerClient":
        """Start the process and wait until it answers.

        Raises:
            WorldError: it does not start (SP405).
        """
        client = cls(paths, timeout_s=timeout_s)
        client.ping()
        return client

    def ping(self) -> int:
        """Return the signer's process id."""
        return int(self._ask("ping", {})["pid"])

    def public_keys(self) -> dict[str, str]:
        """Return {role: public key}; the keys are made when the journal is empty and they are not there.

        Raises:
            UserError: the keys are missing, open to others, or not those of the journal (SP406).
        """
        return {str(role): str(text) for role, text in self._ask("public_keys", {}).items()}

    def check_keys(self) -> dict[str, str]:
        """Return {role: public key} of the key files as they are, without the journal: read at the start, so that damage shows there.

        Raises:
            UserError: keys are missing, open to others, or no keys; each file is named (SP406).
        """
        return {str(role): str(text) for role, text in self._ask("check_keys", {}).items()}

    def sign(self, kind: SigningKind, subject_id: str, context: str = "") -> list[Signed]:
        """See `evidence.ports.Signer.sign`."""
        answer = self._ask("sign", {"kind": kind, "subject": subject_id, "context": context})
        return [protocol.decode_signed(item) for item in answer]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _ask(self, operation: str, arguments: dict[str, str]) -> Any:
        line = protocol.request(operation, arguments)
        with self._lock:
            try:
                answer = self._exchange(line)
            except OSError as error:
                self._drop()
                fix = "it is started again at the next try; see the server's log"
                raise WorldError("SP405", "the signer process does not answer", where="signer", fix=fix, retry_after_s=1.0) from error
        return protocol.parse_answer(answer)

    def _exchange(self, line: bytes) -> bytes:
        """Ask the running signer; when that one died, a fresh one, once: signing again is harmless."""
        if self._connection is not None:
            try:
                return self._connection.ask(line)
            except ConnectionError:
                self._drop()
        self._connection = _Connection(self._paths, self._timeout_s)
        return self._connection.ask(line)

    def _drop(self) -> None:
        """Let go of a signer that is gone or out of step: an answer that comes late must not be taken for another's."""
        if self._connection is not None:
            self._connection.process.kill()
            self._connection.close()
            self._connection = None
