"""One short run of a renderer (kubectl, helm) in its sandbox, bounded in time, processor time, memory and output.

Called by the Kustomize and Helm adapters, which say what the program is and what its words mean; it knows neither.
It never passes text of a user through a shell: the shell only sets limits and replaces itself.
"""

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.adapters.sandbox import INSTALL_HINT, Mount, sandbox_argv, system_mounts
from setpoint.core.errors import UserError, WorldError

TOO_MUCH: Final = "SP612"
NOT_THERE: Final = "SP613"
ROOT: Final = "/work"
"""Where the pinned files lie inside."""
_ERROR_BYTES: Final = 32 << 10
"""Kept of the beginning and of the end of what is said."""
_CHUNK_BYTES: Final = 1 << 16
_SHOWN: Final = 1200
_LIMITS: Final = 'ulimit -d "$1" && ulimit -t "$2" && shift 2 && exec "$@"'
_KILLED: Final = 128 + signal.SIGKILL
"""As bwrap tells it of its program; the kernel kills at the end of the processor time."""
_NO_MEMORY: Final = re.compile(rb"out of memory|cannot allocate memory|failed to reserve memory|pthread_create failed")
# One short run: no collection below the limit, one thread (research: 64 ms of CPU instead of 97).
_ENVIRONMENT: Final = {"GOGC": "off", "GOMEMLIMIT": "384MiB", "GOMAXPROCS": "1", "HOME": "/tmp", "KUBECONFIG": "/dev/null"}  # noqa: S108


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one run may use at most."""

    cpu_s: int = 30
    """Processor time: what a chart that loops is ended by, however busy the machine is."""
    wall_s: float = 180.0
    """After so long the machine is too busy to tell: nothing is decided on that, and it is tried again."""
    output_bytes: int = 32 << 20
    memory_bytes: int = 1 << 30
    """Private, writable memory of the program (RLIMIT_DATA)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    status: int
    output: bytes
    message: str
    """What it wrote to standard error, decoded."""


class RendererProcess:
    """Runs one program over pinned files."""

    def __init__(self, name: str, mend: str, bounds: Bounds) -> None:
        self._name = name
        self._mend = mend
        """What a person makes smaller: `the chart`."""
        self._bounds = bounds

    def run(
        self, program: Path, arguments: Sequence[str], root: Path, folder: str, environment: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a program with only `root` readable (as ROOT) and no network; folder is what an error names.

        Raises:
            UserError: processor time, memory or output beyond the bound (SP612).
            WorldError: the sandbox does not start, or the machine is too busy for it (SP613).
        """
        inside = f"/{self._name.lower()}"
        # A program of the distribution may be linked against /usr; a static one needs nothing.
        mounts = system_mounts() if program.is_relative_to("/usr") else []
        mounts += [Mount("ro", str(program), inside), Mount("ro", str(root.resolve()), ROOT)]
        argv = sandbox_argv([inside, *arguments], mounts, {**_ENVIRONMENT, **(environment or {})}, cwd=ROOT, network=False)
        limits = [str(self._bounds.memory_bytes >> 10), str(self._bounds.cpu_s)]
        outcome = self._bounded(["/bin/sh", "-c", _LIMITS, "sh", *limits, *argv], folder)
        if outcome.status != 0 and outcome.message.startswith("bwrap:"):
            raise WorldError(NOT_THERE, f"the sandbox does not start: {outcome.message.strip()[:_SHOWN]}", where=folder, fix=INSTALL_HINT)
        if outcome.status == _KILLED:
            raise self._too_much(f"needs more than {self._bounds.cpu_s} seconds of processor time", folder)
        if outcome.status != 0 and _NO_MEMORY.search(outcome.message.encode()):
            raise self._too_much(f"needs more than {self._bounds.memory_bytes >> 20} MiB of memory", folder)
        return outcome

    def _too_much(self, what: str, folder: str) -> UserError:
        return UserError(TOO_MUCH, f"{self._name} {what}", where=folder, fix=self._mend)

    def _bounded(self, argv: list[str], folder: str) -> Outcome:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except OSError as error:
            raise WorldError(NOT_THERE, f"the sandbox does not start: {error.strerror}", where=folder, fix=INSTALL_HINT) from error
        with process:
            try:
                output, message = self._collect(process, folder)
                status = process.wait(self._bounds.wall_s)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if status == 127:
            raise WorldError(NOT_THERE, "the sandbox does not start: bwrap is not installed", where=folder, fix=INSTALL_HINT)
        return Outcome(status, output, message.decode(errors="replace"))

    def _collect(self, process: "subprocess.Popen[bytes]", folder: str) -> tuple[bytes, bytes]:
        """Read both streams until they close, or raise when a bound is reached."""
        output, message = bytearray(), bytearray()
        deadline = time.monotonic() + self._bounds.wall_s
        with selectors.DefaultSelector() as waiting:
            for stream, into in ((process.stdout, output), (process.stderr, message)):
                if stream is not None:
                    waiting.register(stream, selectors.EVENT_READ, into)
            while waiting.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    what = f"{self._name} had no chance to finish within {self._bounds.wall_s:g} seconds"
                    raise WorldError(NOT_THERE, what, where=folder, fix="the machine is too busy: it is tried again", retry_after_s=60)
                for key, _events in waiting.select(left):
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        waiting.unregister(key.fileobj)
                    else:
                        key.data.extend(data)
                if len(message) > 4 * _ERROR_BYTES:
                    message[_ERROR_BYTES:-_ERROR_BYTES] = b" ... "
                if len(output) > self._bounds.output_bytes:
                    raise self._too_much(f"wrote more than {self._bounds.output_bytes} bytes", folder)
        return bytes(output), bytes(message)


def plain(message: str) -> str:
    """Return a program's message as one line, without the sandbox's folder and without control characters.

    Of a long one the beginning and the end are kept: the place is at the beginning, the cause at the end.
    """
    text = message.replace(f"{ROOT}/", "").replace(ROOT, ".")
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … {text[-_SHOWN // 2 :]}"
