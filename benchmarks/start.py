"""The command line's start: CPU of `setpoint --help`, beside a bare interpreter and stock `git --help`."""

import resource
import subprocess
import sys
from pathlib import Path

from harness import Row, publish, spread

_SETPOINT = str(Path(sys.executable).with_name("setpoint"))


def _cpu_s(*argv: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def run(count: int = 40) -> None:
    """Measure the CPU time of `setpoint --help`."""
    ours, bare, git = [], [], []
    for _ in range(count):
        ours.append(_cpu_s(_SETPOINT, "--help"))
        bare.append(_cpu_s(sys.executable, "-c", "pass"))
        git.append(_cpu_s("git", "--help"))
    beside = f"bare interpreter: {spread(bare)}; `git --help`: {spread(git)}"
    publish("help", "Start of the command line", [Row("CPU of `setpoint --help`", spread(ours), beside, "< 100 ms")])
