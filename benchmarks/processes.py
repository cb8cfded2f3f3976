"""What processes cost, from /proc: CPU seconds and resident memory of a home's server and of what belongs to it.

Called by the benchmarks; reads, never signals.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from live_home import LiveHome

_TICKS = os.sysconf("SC_CLK_TCK")


def server(live: LiveHome) -> int:
    """Return the server's pid."""
    return int(json.loads((live.home / "server.json").read_text())["pid"])


def parts(live: LiveHome) -> dict[str, list[int]]:
    """Return {server, runner, signer, shim, proxy: pids} of a home that runs."""
    found: dict[str, list[int]] = {"server": [server(live)]}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int(_stat(int(folder.name))[1])
        except OSError:
            continue
        name = _part(words, mine=parent == found["server"][0], home=str(live.home))
        if name:
            found.setdefault(name, []).append(int(folder.name))
    return found


def _part(words: list[str], *, mine: bool, home: str) -> str:
    text = " ".join(words)
    if mine and "setpoint" in text:
        return "signer" if "signer" in text else "runner"
    if home not in text:
        return ""
    return "shim" if "shim.py" in text else "proxy" if words[0].endswith("haproxy") else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from `state` on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process and its ended children have used."""
    return sum(int(field) for field in _stat(pid)[11:15]) / _TICKS


def own_cpu_s(pid: int) -> float:
    """Return the CPU time that a process itself has used."""
    return sum(int(field) for field in _stat(pid)[11:13]) / _TICKS


def memory_mib(pid: int) -> Mapping[str, float]:
    """Return {Rss, Pss} in MiB; pages that processes share count in each Rss, and once over all Pss."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows if row[0] in {"Rss:", "Pss:"}}
