"""The rows of a table that views and controllers ask for all the time, decoded once: read whole at first, then only what changed.

Used by the records. A row carries the index of the entry that changed it last, so one query brings a mirror up to date, however many rows
it holds; nothing is asked while no entry was folded in.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Engine, Table, select, true

from setpoint.core import records

T = TypeVar("T")
Place = tuple[str, str]
"""(application, environment)"""


class Mirror(Generic[T]):
    """The rows of one table for which `kept` holds; a row whose body is gone is none."""

    def __init__(
        self, source: tuple[Engine, Callable[[], int]], cls: type[T], table: Table, kept: ColumnElement[bool] | None = None
    ) -> None:
        """Source is the database and how many entries it has by now; the table has app, environment, seq and changed."""
        self._engine, self._folded = source
        self._cls = cls
        columns = table.c
        self._changed = columns.changed
        self._kept = kept if kept is not None else true()
        self._statement = select(
            columns.changed, columns.seq, columns.app, columns.environment, self._kept, columns.body, *table.primary_key
        )
        self._seen = self._last = -1
        self._rows: dict[tuple[Any, ...], tuple[int, Place, T]] = {}
        self._all: tuple[T, ...] = ()
        self._places: Mapping[Place, tuple[T, ...]] = {}
        self._lock = threading.Lock()

    def all(self) -> tuple[T, ...]:
        """Return every row, in the order in which they came."""
        self._refresh()
        return self._all

    def at(self, app: str, environment: str) -> tuple[T, ...]:
        """Return the rows of a place, in the order in which they came."""
        self._refresh()
        return self._places.get((app, environment), ())

    def _refresh(self) -> None:
        now = self._folded()
        if now == self._seen:
            return
        with self._lock:
            statement = self._statement.where(self._changed > self._last)
            with self._engine.connect() as connection:
                found = connection.execute(statement if self._seen >= 0 else statement.where(self._kept)).all()
            for changed, seq, app, environment, kept, body, *key in found:
                self._last = max(self._last, changed)
                if kept and body is not None:
                    self._rows[tuple(key)] = (seq, (app, environment), records.decode(self._cls, body))
                else:
                    self._rows.pop(tuple(key), None)
            if found:
                self._arrange()
            self._seen = now

    def _arrange(self) -> None:
        ordered = sorted(self._rows.values(), key=lambda row: row[0])
        places: dict[Place, list[T]] = {}
        for _seq, place, row in ordered:
            places.setdefault(place, []).append(row)
        self._all = tuple(row for _seq, _place, row in ordered)
        self._places = {place: tuple(rows) for place, rows in places.items()}
