"""Asks a program of ours about bytes that a task wrote: a process of its own, which holds nothing and is short of time and memory.

Called by `json_schema` and `scans`, in the server and in the signer, which thereby keeps the reading of untrusted bytes away from its keys.
It passes on no variable but where programs and modules lie, and it kills what takes too long.
"""

import json
import os
import resource
import subprocess
import sys
from typing import Any, Final

from setpoint.core.errors import WorldError

MEMORY_BYTES: Final = 2 << 30
_PASSED_ON: Final = ("PATH", "PYTHONPATH")


def ask(module: str, arguments: list[str], data: bytes, wall_s: float) -> dict[str, Any] | None:
    """Return the answer of `python -m module`, None when it ran into its limits.

    Raises:
        WorldError: the machine is too busy to say (SP414).
    """
    argv = [sys.executable, "-P", "-m", module, *arguments]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=wall_s, env=environment, cwd="/", check=False)
    except subprocess.TimeoutExpired as error:
        what = f"a report could not be checked within {wall_s:.0f} s"
        raise WorldError("SP414", what, fix="try again when the machine is less busy") from error
    if done.returncode != 0:
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def be_short_of(cpu_s: int) -> None:
    """Limit this process: seconds of a processor, memory, and no core file."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def takes_too_much(cpu_s: int) -> str:
    """Return the sentence for a process that ran into its limits."""
    return f"takes more than {cpu_s} s of a processor or {MEMORY_BYTES >> 30} GiB"
