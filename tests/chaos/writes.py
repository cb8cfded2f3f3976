"""Who writes: the port calls during which a file, a folder, a database, a Git object or the model of the host was changed.

Bytes are seen by the kernel's count of this thread's write calls, so that C code (SQLite, libgit2) counts as well; folders and names by
the calls of `os`; the model by comparing it. Used once, on the first crash road.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
_NAMES = ("mkdir", "rename", "replace", "remove", "unlink", "rmdir", "link", "symlink", "truncate")


class Writes:
    """Watches calls; `writers` has the names of those that wrote."""

    def __init__(self, patch: pytest.MonkeyPatch, model: Callable[[], object]) -> None:
        self.writers: set[str] = set()
        self.calls = 0
        self._model, self._named = model, 0
        for name in _NAMES:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self._named += 1
            return real(*args, **named)

        return call

    def during(self, name: str, call: Callable[[], T]) -> T:
        """Do a call and note whether it wrote."""
        self.calls += 1
        before = (self._named, self._model(), _written())
        try:
            return call()
        finally:
            if before != (self._named, self._model(), _written()):
                self.writers.add(name)


def _written() -> str:
    """Return how often this thread has written."""
    return next(line for line in Path("/proc/thread-self/io").read_text().splitlines() if line.startswith("syscw"))
