"""The benchmarks of one machine's road; `tools/bench [NAME ...]` runs them, or all.

One module each: push, task, cached, help (start.py), road, rollout, canary (both rollout.py),
rollback, memory, render, many, reconcile, job.
"""

import sys
from collections.abc import Callable
from typing import Final

import cached
import job
import many
import memory
import push
import reconcile
import render
import road
import rollback
import rollout
import start
import task

BENCHMARKS: Final[dict[str, Callable[[], None]]] = {
    "push": push.run,
    "task": task.run,
    "cached": cached.run,
    "help": start.run,
    "road": road.run,
    "rollout": rollout.run,
    "rollback": rollback.run,
    "canary": rollout.run_canaries,
    "memory": memory.run,
    "render": render.run,
    "many": many.run,
    "reconcile": reconcile.run,
    "job": job.run,
}


def main() -> int:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(BENCHMARKS)
    strange = [name for name in names if name not in BENCHMARKS]
    if strange:
        print(f"no benchmark {', '.join(strange)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
