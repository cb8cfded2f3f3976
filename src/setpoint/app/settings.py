"""What whoever starts a server decides about it; read by wiring, written on the command line of `setpoint up`."""

import os
from dataclasses import dataclass, field


def _slots() -> int:
    return max(2, os.cpu_count() or 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one server; they are no facts of the home and may differ at the next start."""

    task_slots: int = field(default_factory=_slots)
    """How many tasks execute at the same time, over all runs."""
