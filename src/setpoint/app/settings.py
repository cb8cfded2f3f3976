"""What whoever starts a server decides about it; read by wiring, written on the command line of `setpoint up`."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from setpoint.retention.model import Rules


def _slots() -> int:
    return max(2, os.cpu_count() or 2)


@dataclass(frozen=True, slots=True)
class PullAddress:
    """Where other machines pull images from this home's own registry, over TLS; they cannot push there."""

    listen: str
    """`host:port`"""
    certificate: Path
    """PEM, the chain; read again when it changes."""
    key: Path
    """PEM."""
    name: str
    """`host[:port]` that references name it by."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one server; they are no facts of the home and may differ at the next start."""

    task_slots: int = field(default_factory=_slots)
    """How many tasks execute at the same time, over all runs."""
    allow_unsandboxed: bool = False
    """Whether `sandbox: none` is obeyed. Such a task runs as the server's own user and can read the home, its keys too."""

    retention: Rules = field(default_factory=Rules)
    """How long things stay (docs/gc.md)."""
    collects: bool = True
    """Whether garbage is collected once a day."""
    pull: PullAddress | None = None
    """None: the registry answers at the server's own address only."""

    @property
    def unsandboxed_refused(self) -> str:
        """Why no task may run without a sandbox; empty when one may. As root never: it would run with the rights of all others' tasks."""
        if os.geteuid() == 0:
            return "this server is root, and runs every task in a sandbox"
        return "" if self.allow_unsandboxed else "this server runs every task in a sandbox (setpoint up --allow-unsandboxed)"
