"""What a shim last wrote about its replica, read from outside; called by the runtime, never writes.

The folder belongs to the uid that the replica runs as, so nothing in it is believed about processes without checking: the pid must be
the same process (start time, boot id) and must run as that uid.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.host import processes

_LIMIT_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class ShimState:
    """state.json of a replica, checked against /proc."""

    alive: bool
    """The shim that wrote it still runs."""
    shim_pid: int | None
    sandbox_pid: int | None
    """bubblewrap's monitor; None when it is gone."""
    child_pid: int | None
    """The application, as the host sees it; None when it is not running."""
    phase: str
    started_at: str | None
    restarts: int
    last_exit: str
    orphaned: str
    """How the application ended if the shim is gone without having been asked: with its parent (prctl(2), PR_SET_PDEATHSIG)."""
    outcome: str = ""
    """How a Job ended: `succeeded`, `failed`, `deadline`; empty while it has not."""
    finished_at: str | None = None


def read_bounded(path: Path) -> bytes:
    """Return a small file's bytes, following no link as its last part; empty when it is not there or not a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_LIMIT_BYTES)
    except OSError:
        return b""


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of a bounded file; empty when there is none."""
    try:
        value = json.loads(read_bounded(path) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def read(folder: Path, uid: int) -> ShimState | None:
    """Return a replica's shim state; None when no shim has written one yet. uid is who its processes must run as."""
    raw = read_json(folder / "state.json")
    if not raw:
        return None
    boot = raw.get("boot_id")
    alive = _running(raw.get("shim_pid"), raw.get("shim_start_time"), boot, uid)
    sandbox = _running(raw.get("sandbox_pid"), raw.get("sandbox_start_time"), boot, uid)
    child = raw.get("child_pid")
    running = alive and sandbox and isinstance(child, int) and processes.start_time(child) is not None
    started_at, phase = raw.get("started_at"), str(raw.get("phase", ""))
    return ShimState(
        alive=alive,
        shim_pid=raw["shim_pid"] if alive else None,
        sandbox_pid=raw["sandbox_pid"] if sandbox else None,
        child_pid=child if running else None,
        phase=phase,
        started_at=started_at if running and isinstance(started_at, str) else None,
        restarts=int(raw.get("restarts") or 0),
        last_exit=str(raw.get("last_exit") or ""),
        orphaned="killed by SIGKILL with its shim" if boot == processes.boot_id() else "ended with the host, which was started anew",
        outcome=str(raw.get("outcome") or "") if phase == "finished" else "",
        finished_at=raw["finished_at"] if isinstance(raw.get("finished_at"), str) else None,
    )


def picture(folder: Path) -> tuple[object, ...]:
    """Return what tells cheaply that a replica is another than before: when its state was written, and its shim's start time."""
    path = folder / "state.json"
    try:
        written = path.lstat()
    except OSError:
        return ()
    pid = read_json(path).get("shim_pid")
    return written.st_ino, written.st_mtime_ns, processes.start_time(pid) if isinstance(pid, int) else None


def _running(pid: object, started: object, boot: object, uid: int) -> bool:
    return processes.is_same(pid, started, boot) and isinstance(pid, int) and processes.owner(pid) == uid
