"""Folds of what generators make.

A part of the projection, which calls these by the kind of an entry.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection, delete

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.upsert import upsert
from setpoint.ground.journal.model import Entry


def _generator_told(connection: Connection, entry: Entry) -> None:
    """Keep what a generator makes; one that was withdrawn, with nothing left of it, is gone."""
    generator = entry.body.get("generator", entry.subject)  # a word about a preview is about its environment
    if entry.body["expansion"] is None:
        connection.execute(delete(t.generators).where(t.generators.c.name == generator))
    else:
        upsert(connection, t.generators, {"name": generator}, {"body": entry.body["expansion"]})


GENERATOR_FOLDS: Final[Mapping[str, Callable[[Connection, Entry], None]]] = {
    "generator.expanded": _generator_told,
    "generator.confirmed": _generator_told,
    "preview.extended": _generator_told,
    "preview.ended": _generator_told,
}
