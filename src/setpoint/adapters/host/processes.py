"""Which process is it really: pid, start time and boot id together never name two processes.

Called by the runtime and the proxy when they re-adopt what an earlier server started; never signals anything that it has not identified.
"""

import contextlib
import os
import select
import signal
from functools import cache
from pathlib import Path

from setpoint.adapters.clock import since_boot_s


@cache
def boot_id() -> str:
    """Return the kernel's random id of this boot (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_time(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None when it is gone or a zombie (proc(5), stat fields 3 and 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def age_s(pid: int) -> float | None:
    """Return for how long a process has been running, whatever the wall clock was set to meanwhile; None when it is gone."""
    ticks = start_time(pid)
    return None if ticks is None else max(0.0, since_boot_s() - ticks / os.sysconf("SC_CLK_TCK"))


def is_same(pid: object, started: object, boot: object) -> bool:
    """Say whether the process that a file names is still that process."""
    return isinstance(pid, int) and pid > 1 and boot == boot_id() and started is not None and start_time(pid) == started


def owner(pid: int) -> int | None:
    """Return the real uid of a process (of /proc/PID/status, for the folder's owner is root while a process is not dumpable)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
    except OSError:
        return None
    return None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that has just gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_gone(pid: int, timeout_s: float) -> bool:
    """Wait until a process (not only a child) has ended; False when it still lives after the timeout (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
