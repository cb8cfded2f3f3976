"""What stands under /usr, as one fingerprint: tasks are executed with it, and images of `base: host` need it; fills `Toolchain`.

Built by wiring, called for every task key. It reads package databases and asks /usr/bin/python3 for its version (never the interpreter
Setpoint itself runs on, which tasks cannot see); it never hashes the files of /usr, which would take minutes.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from setpoint.core import digest as digests
from setpoint.pipeline.model import ToolchainFacts

_PYTHON_TIMEOUT_S: Final = 20
_ASK: Final = "import platform;print(platform.python_implementation(), platform.python_version())"
_DATABASES: Final = ("var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages", "usr/lib/sysimage/rpm/rpmdb.sqlite", "lib/apk/db/installed")
_LOCAL_LIBRARIES: Final = (
    "usr/local/lib/python3*/site-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/lib/python3*/site-packages",
)
_LOCAL_PROGRAMS: Final = ("usr/local/bin", "usr/local/sbin")
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""As OCI image configurations name architectures (GOARCH)."""


class HostToolchain:
    """Looks below `root`; another root than / is for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._seen: tuple[object, ...] = ()
        self._facts: ToolchainFacts | None = None

    def facts(self) -> ToolchainFacts:
        """Return the fingerprint and what it was made of; cached while databases, interpreter and library folders have not changed."""
        seen = tuple(self._stamps())
        if self._facts is None or seen != self._seen:
            self._facts = self._look()
            self._seen = seen
        return self._facts

    def _stamps(self) -> Iterator[object]:
        """Yield what changes when a package is installed or removed: times and sizes of a handful of files and folders."""
        files = ["etc/os-release", "var/lib/dpkg/status", "usr/bin/python3", *_DATABASES, *_LOCAL_PROGRAMS]
        paths = [self._root / name for name in files]
        for path in [*paths, *self._libraries()]:
            try:
                info = path.stat()
            except OSError:
                continue
            yield str(path), info.st_mtime_ns, info.st_size, info.st_ino

    def _libraries(self) -> list[Path]:
        return sorted(path for pattern in _LOCAL_LIBRARIES for path in self._root.glob(pattern))

    def _look(self) -> ToolchainFacts:
        interpreter, python = self._python()
        packages = self._packages()
        local = [entry for folder in self._libraries() for entry in self._distributions(folder)]
        parts = {
            "version": 1,
            "os": self._text("etc/os-release"),
            "packages": packages or self._database_hashes(),
            "python": [interpreter, python],
            "libraries": local,
            "programs": self._programs(),
        }
        fingerprint = digests.sha256(json.dumps(parts, sort_keys=True).encode())
        machine = platform.machine()
        return ToolchainFacts(fingerprint, python, f"linux/{_MACHINES.get(machine, machine)}", len(packages) + len(local))

    def _text(self, name: str) -> str:
        try:
            return (self._root / name).read_text(errors="replace")
        except OSError:
            return ""

    def _packages(self) -> list[str]:
        """Return `name:architecture=version` of what dpkg has installed, sorted."""
        found = []
        for stanza in self._text("var/lib/dpkg/status").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
            if fields.get("Status", "").endswith(" installed"):
                found.append(f"{fields.get('Package')}:{fields.get('Architecture')}={fields.get('Version')}")
        return sorted(found)

    def _database_hashes(self) -> list[str]:
        """Return the hash of another package manager's database file, where there is no dpkg."""
        found = []
        for name in _DATABASES:
            path = self._root / name
            if path.is_file():
                with path.open("rb") as file:
                    found.append(f"{name}={hashlib.file_digest(file, 'sha256').hexdigest()}")
        return found

    def _distributions(self, folder: Path) -> list[str]:
        """Return the `name-version.dist-info` entries that were installed beside the package manager."""
        names = (entry.name for entry in folder.iterdir() if entry.suffix in {".dist-info", ".egg-info"})
        return [f"{folder.relative_to(self._root)}/{name}" for name in sorted(names)]

    def _programs(self) -> list[str]:
        """Return name and size of what lies in /usr/local/bin: compilers and runtimes often come without any package."""
        found = []
        for name in _LOCAL_PROGRAMS:
            folder = self._root / name
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
            found += [f"{name}/{entry.name}={entry.stat().st_size}" for entry in entries if entry.is_file()]
        return found

    def _python(self) -> tuple[str, str]:
        """Return implementation and version of /usr/bin/python3, two empty words where there is none."""
        program = self._root / "usr/bin/python3"
        argv = [str(program), "-I", "-S", "-c", _ASK]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=_PYTHON_TIMEOUT_S, check=True, env={}, cwd="/")
        except (OSError, subprocess.SubprocessError):
            return "", ""
        implementation, _, version = done.stdout.decode(errors="replace").strip().partition(" ")
        return implementation, version
