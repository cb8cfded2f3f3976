"""The idle server: resident memory of its processes, and the CPU they take, with one application served in one environment."""

import time

import processes
from harness import Row, home, publish

_SETTLE_S = 10
_WATCH_S = 40


def run() -> None:
    """Measure an idle home."""
    with home() as live:
        live.release("m")
        live.serves("staging", "m")
        time.sleep(_SETTLE_S)
        parts = processes.parts(live)
        before = {pid: processes.cpu_s(pid) for pids in parts.values() for pid in pids}
        time.sleep(_WATCH_S)
        used = {pid: processes.cpu_s(pid) - before[pid] for pid in before}
        rows = []
        for name, pids in parts.items():
            kept = [processes.memory_mib(pid) for pid in pids]
            rss, pss = (sum(one[key] for one in kept) for key in ("Rss", "Pss"))
            share = sum(used[pid] for pid in pids) / _WATCH_S
            what = name if len(pids) == 1 else f"{name} ({len(pids)} processes)"
            goal = "< 150 MiB" if name == "server" else ""
            rows.append(
                Row(f"{what}, idle", f"{rss:.0f} MiB resident, {share:.1%} of a core", f"{pss:.0f} MiB without what is shared", goal)
            )
    publish("memory", "The idle server", rows)
