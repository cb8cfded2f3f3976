"""What an environment's proxy was last led to, beside its configuration: `applied.json` in the proxy's folder.

Called by the proxy: live against this is drift, the next goal against this is a change of Setpoint's own. Written before the first command
(`settled: false`) and after the last one, so that a server killed in between never takes its own half-done work for somebody else's.
The routes in it outlive the server too: an application whose pin cannot be read keeps what it had.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from setpoint.adapters.host import processes, shim_state
from setpoint.adapters.host.haproxy_config import Backends, Wanted
from setpoint.core import records
from setpoint.reconcile.ports import ProxyConfig

NAME: Final = "applied.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Applied:
    """The last goal, as it was told to HAProxy."""

    version: int
    boot_id: str
    settled: bool
    """The goal was reached; otherwise nothing can be said about who made a difference."""
    worker: int
    """Process id of the worker that was led there: another one means that somebody loaded a configuration."""
    structure: str
    files: dict[str, str]
    """Name in the folder -> sha256 of what Setpoint wrote."""
    backends: Backends
    identities: dict[str, str]
    config: ProxyConfig
    leaving: tuple[str, ...] = field(default=())
    """`backend/server` that HAProxy would not delete yet."""


def applied(goal: Wanted, config: ProxyConfig, files: dict[str, str]) -> Applied:
    """Return the memory of a goal that is about to be told."""
    shas = {name: sha(text.encode()) for name, text in files.items()}
    return Applied(_VERSION, processes.boot_id(), False, 0, goal.structure, shas, goal.backends, goal.identities, config)


def sha(data: bytes) -> str:
    """Return the hex digest that `files` holds."""
    return hashlib.sha256(data).hexdigest()


def read(folder: Path) -> Applied | None:
    """Return what was applied last; None when nothing was, or when nobody can read it."""
    raw = shim_state.read_json(folder / NAME)
    if raw.get("version") != _VERSION:
        return None
    try:
        return records.decode(Applied, raw)
    except ValueError:
        return None


def text(memory: Applied) -> str:
    """Return the file's text."""
    return json.dumps(records.encode(memory), sort_keys=True)


def put(path: Path, text: str) -> None:
    """Write a file of the proxy in one step, unless it says that already."""
    if path.exists() and shim_state.read_bounded(path) == text.encode():
        return
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
