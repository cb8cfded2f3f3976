"""Somebody with nothing but a clone: a user of their own, an empty home folder, the system's Python; made by the fixture of tests/e2e."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Newcomer:
    """A user, their folder and their clone."""

    folder: Path
    clone: Path
    prefix: tuple[str, ...]
    """Puts a command into the user's skin; empty when the tests themselves are unprivileged."""

    def run(self, script: str, timeout_s: int = 300) -> subprocess.CompletedProcess[str]:
        """Run a shell script as the user with a clean environment but for the package client's configuration."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT")) or name.endswith("_PROXY")}
        environment = {
            **passed,
            "HOME": str(self.folder),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHON": "/usr/bin/python3",
            "SETPOINT_HOME": str(self.folder / "state"),
        }
        argv = [*self.prefix, "bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(argv, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
