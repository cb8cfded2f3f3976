"""Writing rows that may be there already, and changing a part of one; used by the projection only."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert_insert


def upsert(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Write a row, replacing these values where the key is there."""
    upsert_all(connection, table, tuple(key), [{**key, **values}])


def upsert_all(connection: Connection, table: Table, key: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same columns in one call; building a statement costs ten times what SQLite needs for the row."""
    connection.execute(_statement(table, key, tuple(rows[0])), rows)


@cache
def _statement(table: Table, key: tuple[str, ...], columns: tuple[str, ...]) -> Insert:
    statement = upsert_insert(table)
    return statement.on_conflict_do_update(index_elements=key, set_={name: statement.excluded[name] for name in columns if name not in key})


def patch_body(connection: Connection, table: Table, key: dict[str, Any], changes: dict[str, Any], columns: dict[str, Any]) -> None:
    """Merge changes into a row's JSON body and set columns beside it."""
    where = [table.c[name] == value for name, value in key.items()]
    body = connection.execute(select(table.c.body).where(*where)).scalar()
    if body is not None:
        connection.execute(update(table).where(*where).values(body={**body, **changes}, **columns))
