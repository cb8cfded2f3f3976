"""What exists inside a task's sandbox beside its workspace: mounts, environment and the files of /etc, with or without the network.

Called by the runner for tasks and by `interactive` for a shell, so that both see the same. Standard library only; starts nothing.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.adapters.runner import package_client
from setpoint.adapters.sandbox import Mount, system_mounts

_BASE: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "CI": "true",
    # Byte code carries the time of its source: outputs that hold it would differ on every run.
    "PYTHONDONTWRITEBYTECODE": "1",
}
_PEOPLE: Final = {
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nsetpoint:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "/etc/group": "root:x:0:\nsetpoint:x:1000:\nnogroup:x:65534:\n",
}
_LOCAL_HOSTS: Final = "127.0.0.1 localhost setpoint\n::1 localhost\n"


@dataclass(frozen=True, slots=True)
class Inside:
    """The inside of one sandbox."""

    mounts: list[Mount]
    environment: dict[str, str]
    files: dict[str, str]
    """Path -> text of files that are made up."""
    secrets: tuple[str, ...]
    """Values that must not be shown."""


def inside(work: Path, task_id: str, environment: Mapping[str, str], *, network: bool) -> Inside:
    """Return the inside of a task whose workspace lies in the folder work; with the network it gets the package clients' configuration."""
    client = package_client.inspect(os.environ, work) if network else package_client.PackageClient({}, (), ())
    mounts = _once([*system_mounts(), *client.mounts, Mount("rw", str(work / task_id), "/work")])
    files = dict(_PEOPLE) if network else {**_PEOPLE, "/etc/hosts": _LOCAL_HOSTS}
    return Inside(mounts, {**_BASE, **client.environment, **environment}, files, client.secrets)


def memory_file(data: bytes) -> int:
    """Return the descriptor of an anonymous file with data, positioned at its beginning."""
    descriptor = os.memfd_create("setpoint")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _once(mounts: Sequence[Mount]) -> list[Mount]:
    """Return the mounts without repetitions of a target: the first one stands."""
    kept: dict[str, Mount] = {}
    for mount in mounts:
        kept.setdefault(mount.target, mount)
    return list(kept.values())
