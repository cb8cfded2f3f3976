"""One `git upload-pack` or `git receive-pack` process: own session, own small environment, no hooks, always ended.

Called by `adapters.git.http`. The folder it gets is the store's, never a user's text.
"""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Service = Literal["upload-pack", "receive-pack"]

_CHUNK: Final = 1 << 16
_STDERR_BYTES: Final = 4096
_GRACE_S: Final = 5.0
_GITCONFIG: Final = "[safe]\n\tdirectory = *\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server gives to git clients."""

    processes: int = 16
    """Git processes at a time; more wait."""
    queue_s: float = 60.0
    """How long a request waits for its turn."""
    body_bytes: int = 1 << 30
    idle_s: float = 300.0
    """How long client or git may be silent."""


def git_environment(root: Path) -> dict[str, str]:
    """Return everything a git process sees: nothing of the server's, and a HOME that holds one file of ours.

    `safe.directory` is there because Git heeds it only in a user's or system configuration before 2.38.
    """
    home = root / ".git-home"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = home / ".gitconfig"
    if not config.is_file() or config.read_text() != _GITCONFIG:
        config.write_text(_GITCONFIG)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


class GitProcess:
    """A running git with its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = bytearray()
        self._collector = asyncio.create_task(self._collect())

    @classmethod
    async def start(cls, service: Service, folder: Path, environment: dict[str, str], *, advertise: bool) -> "GitProcess":
        """Start git for one request; advertise makes it print the refs and leave."""
        argv = ["git", "-c", "core.hooksPath=/dev/null", service, "--stateless-rpc"]
        argv += [*(["--http-backend-info-refs"] if advertise else []), str(folder)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            cwd=folder,
            start_new_session=True,
            umask=0o077,
        )
        return cls(process)

    async def write(self, data: bytes) -> None:
        """Hand data to git; returns when its pipe has room.

        Raises:
            BrokenPipeError, ConnectionResetError: git does not read any more.
        """
        stdin = self._process.stdin
        if stdin is not None:
            stdin.write(data)
            await stdin.drain()

    def close_input(self) -> None:
        """Tell git that the request is complete."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def read(self, idle_s: float) -> bytes:
        """Return the next output, nothing at the end; TimeoutError when git is silent for idle_s."""
        stdout = self._process.stdout
        return await asyncio.wait_for(stdout.read(_CHUNK), idle_s) if stdout is not None else b""

    async def wait(self) -> int:
        """Return the exit status."""
        await self._collector
        return await self._process.wait()

    def complaint(self) -> str:
        """Return the end of what git wrote to its standard error."""
        return self._stderr.decode(errors="replace").strip()

    def terminate(self) -> None:
        """Ask git and its children to stop."""
        self._signal(signal.SIGTERM)

    async def end(self) -> None:
        """Make sure that the whole session is gone."""
        if self._process.returncode is None:
            self.terminate()
            try:
                async with asyncio.timeout(_GRACE_S):
                    await self._process.wait()
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self._process.wait()
        self.close_input()
        self._collector.cancel()
        await asyncio.gather(self._collector, return_exceptions=True)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _collect(self) -> None:
        stderr = self._process.stderr
        while stderr is not None and (data := await stderr.read(_CHUNK)):
            self._stderr = (self._stderr + data)[-_STDERR_BYTES:]
