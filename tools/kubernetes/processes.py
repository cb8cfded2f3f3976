"""Starts, records and ends the processes of a test cluster; called by the other files here. Only recorded processes are ever signalled."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.kubernetes.layout import Layout

_GONE_S = 10.0
_children: list[subprocess.Popen[bytes]] = []
"""What this very process started: it has to be waited for."""


class ClusterError(Exception):
    """A cluster does not come up; the text ends with what its programs said."""


def start(layout: Layout, name: str, argv: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
    """Start a program in a session of its own, its output in `log/NAME.log`, and record its pid."""
    with layout.file("log", f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [os.fspath(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    _children.append(process)
    with layout.file("pids").open("a", encoding="utf-8") as file:
        file.write(f"{name} {process.pid} {start_time(process.pid)}\n")


def start_time(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty when it is gone or a zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def stop_all(layout: Layout) -> None:
    """Kill what was started, last first, and wait until all of it is gone: nothing of a test cluster is worth a graceful end."""
    if not (layout.state / "pids").exists():
        return
    alive = [pid for _, pid, began in reversed(_recorded(layout)) if began and start_time(pid) == began]
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _GONE_S
    while any(map(start_time, alive)) and time.monotonic() < deadline:
        select.select([], [], [], 0.02)
    for child in [child for child in _children if child.pid in alive]:
        child.wait(_GONE_S)
        _children.remove(child)


def stop(layout: Layout, name: str) -> None:
    """Kill one program, as a machine does that loses power, and forget it; `start` may start it again."""
    rows = _recorded(layout)
    for pid in [row[1] for row in rows if row[0] == name and row[2] and start_time(row[1]) == row[2]]:
        os.kill(pid, signal.SIGKILL)
        for child in [child for child in _children if child.pid == pid]:
            child.wait(_GONE_S)
            _children.remove(child)
    kept = [f"{row[0]} {row[1]} {row[2]}\n" for row in rows if row[0] != name]
    layout.file("pids").write_text("".join(kept), encoding="utf-8")


def _recorded(layout: Layout) -> list[tuple[str, int, str]]:
    """Return (name, pid, start time) of what was started, in that order."""
    rows = [line.split() for line in (layout.state / "pids").read_text(encoding="utf-8").splitlines()]
    return [(name, int(pid), "".join(began)) for name, pid, *began in rows]


def until(what: str, look: Callable[[], bool], limit_s: float, layout: Layout) -> None:
    """Look ten times a second until it is so.

    Raises:
        ClusterError: it does not come to be in time, or a program ended.
    """
    deadline = time.monotonic() + limit_s
    while not look():
        ended = [name for name, pid, began in _recorded(layout) if start_time(pid) != began]
        if ended:
            raise ClusterError(f"{', '.join(ended)} ended\n{_said(layout)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {int(limit_s)} s\n{_said(layout)}")
        select.select([], [], [], 0.1)


def _said(layout: Layout) -> str:
    """Return the last lines of every log."""
    parts = []
    for log in sorted((layout.state / "log").glob("*.log")):
        parts += [f"-- {log.name}", *log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]]
    return "\n".join(parts)


def run(*argv: str | Path, check: bool = True) -> str:
    """Run a short program and return its output.

    Raises:
        ClusterError: it fails.
    """
    done = subprocess.run([os.fspath(word) for word in argv], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise ClusterError(f"{argv[0]} {argv[1] if len(argv) > 1 else ''}: {done.stderr.strip()}")
    return done.stdout
