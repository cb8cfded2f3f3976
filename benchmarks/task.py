"""Overhead of a task: a chain of tasks that do nothing, against a bare bubblewrap with the same mounts, namespaces and shell.

The bare sandboxes run before and after each chain, while the server is idle.
"""

import subprocess
import tempfile
import time
from statistics import median

import processes
from harness import PIPELINE_HEAD, Row, ended, home, publish, run_seconds, spread

from setpoint.adapters.sandbox import Mount, sandbox_argv, system_mounts
from setpoint.core.clock import seconds_between


def _bare(folder: str, count: int) -> list[float]:
    """Return how long each of `count` bare sandboxes took, with a workspace and the command line of a task."""
    mounts = [*system_mounts(), Mount("rw", folder, "/work")]
    argv = sandbox_argv(["/bin/sh", "-euc", "true"], mounts, {}, cwd="/work", network=False)
    found = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run(argv, check=True)
        found.append(time.perf_counter() - began)
    return found


def run(chains: int = 4, length: int = 50) -> None:
    """Run chains of tasks."""
    names = [f"t{number}" for number in range(length)]
    tasks = "".join(f"  {n}: {{inputs: [salt.txt], run: 'true', needs: [{names[i - 1] if i else ''}]}}\n" for i, n in enumerate(names))
    each: list[float] = []
    inner: list[float] = []
    server: list[float] = []
    bare: list[float] = []
    with home() as live, tempfile.TemporaryDirectory() as folder:
        live.commit("hello", {"README": "empty"})
        for number in range(chains):
            bare += _bare(folder, 15)
            before = processes.own_cpu_s(processes.server(live))
            report = ended(live, live.commit("hello", {".setpoint/pipeline.yaml": PIPELINE_HEAD + tasks, "salt.txt": str(number)}))
            server.append((processes.own_cpu_s(processes.server(live)) - before) / length)
            each.append(run_seconds(report) / length)
            inner += [seconds_between(task["started_at"], task["finished_at"]) for task in report["tasks"]]
            bare += _bare(folder, 15)
    floor, own = median(bare), median(each)
    rows = [
        Row(f"a task, in chains of {length}", spread(each, digits=1), f"a bare bubblewrap of the same shape: {spread(bare, digits=1)}"),
        Row("overhead of a task", f"{(own - floor) * 1000:.1f} ms", f"x{own / floor:.1f} of the bare bubblewrap", "< 25 ms"),
        Row("from its start to its end, as the report says", spread(inner, digits=1)),
        Row("CPU of the server for a task", spread(server, digits=1)),
    ]
    publish("task", "Overhead of a task", rows)
