"""What every life of a crash road would make anew and no death can change: SQL that was compiled once, and handles of Git repositories.

Used by tests/chaos/crash_road.py; a third of a death's time went there. Data is never kept: a connection is to the home that is played,
and is closed with the life, as are the handles.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygit2
from sqlalchemy import Engine, event

from setpoint.adapters.database import engine as database


class Kept:
    """One engine whose connections go to the database that is open now, and one handle per repository and thread."""

    def __init__(self) -> None:
        self._path = Path()
        self._engine: Engine | None = None
        self._handles: dict[tuple[Any, ...], pygit2.Repository] = {}
        self._open_repository: Callable[..., pygit2.Repository] = pygit2.Repository

    def open_database(self, path: Path) -> Engine:
        """Return the engine, from now on for this file."""
        self._path = path
        if self._engine is None:
            self._engine = database.open_database(path)
            event.listen(self._engine, "do_connect", self._connecting)
        return self._engine

    def _connecting(self, _dialect: object, _record: object, positional: list[Any], _named: object) -> None:
        positional[:] = [str(self._path)]

    def repository(self, *place: Any) -> pygit2.Repository:
        """Return a handle, opened once in a life and thread."""
        key = (threading.get_ident(), *place)
        if key not in self._handles:
            self._handles[key] = self._open_repository(*place)
        return self._handles[key]

    def let_go(self) -> None:
        """Close all that a life had open."""
        self._handles.clear()
        if self._engine is not None:
            self._engine.dispose()
