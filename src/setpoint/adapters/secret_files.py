"""Values of secrets as files of the home, mode 0600 in folders 0700; fills `ground.secrets.ports.SecretValues`.

Built by wiring. What protects them is the operating system: whoever can read the home, or is its user, can read them (docs/security.md).
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from setpoint.core.errors import WorldError


class SecretFolder:
    """`<repository>/<name>/<version>` below root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, repository: str, name: str, version: int, value: str) -> None:
        """Store a value durably: whole under its name, or not at all.

        Raises:
            WorldError: the disk refuses (SP254).
        """
        folder = self._folder(repository, name)
        temporary = folder / f".{secrets.token_hex(6)}"
        try:
            for place in (folder.parent, folder):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(value.encode())
                file.flush()
                os.fsync(descriptor)
            temporary.replace(folder / str(version))
            _sync(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise WorldError(
                "SP254", f"the secret cannot be stored: {error.strerror}", where=str(folder), fix="make room on the disk"
            ) from error

    def read(self, repository: str, name: str, version: int) -> str | None:
        """Return a value; None when it is not here."""
        try:
            return (self._folder(repository, name) / str(version)).read_bytes().decode()
        except OSError:
            return None

    def names(self) -> list[tuple[str, str]]:
        """Return every (repository, name) that has a value here, or what a crash left of one."""
        folders = [folder for folder in self._root.glob("*/*") if folder.is_dir()]
        return sorted((unquote(folder.parent.name), unquote(folder.name)) for folder in folders)

    def forget(self, repository: str, name: str, below: int) -> None:
        """Delete the values of all versions below a number, and what a crash left half written."""
        folder = self._folder(repository, name)
        for path in list(folder.iterdir()) if folder.is_dir() else []:
            if not path.name.isdigit() or int(path.name) < below:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()  # only when nothing is left

    def _folder(self, repository: str, name: str) -> Path:
        return self._root / _file_name(repository) / _file_name(name)


def _file_name(text: str) -> str:
    """Return a name as one file name: percent-encoded, a leading dot too."""
    quoted = quote(text, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
