"""Folds of live values on their way into Git.

A part of the projection, which calls these by the kind of an entry.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.upsert import patch_body, upsert
from setpoint.ground.journal.model import Entry


def _intended(connection: Connection, entry: Entry) -> None:
    body = entry.body
    values = {
        "seq": entry.index,
        "changed": entry.index,
        "app": body["app"],
        "environment": body["environment"],
        "open": True,
        "body": body,
    }
    upsert(connection, t.adoptions, {"adoption": entry.subject}, values)


def _opened(connection: Connection, entry: Entry) -> None:
    _went_on(connection, entry, {"state": "open", "commit": entry.body["commit"]})


def _merged(connection: Connection, entry: Entry) -> None:
    _went_on(connection, entry, {"state": "merged"})


def _ended(connection: Connection, entry: Entry) -> None:
    changes = {"state": entry.body["state"], "ended_at": entry.at, "ended_why": entry.body["why"]}
    _went_on(connection, entry, changes, {"open": False})


def _went_on(connection: Connection, entry: Entry, changes: dict[str, Any], columns: Mapping[str, Any] = {}) -> None:
    patch_body(connection, t.adoptions, {"adoption": entry.subject}, changes, {"changed": entry.index, **columns})


ADOPTION_FOLDS: Final[Mapping[str, Callable[[Connection, Entry], None]]] = {
    "adoption.intended": _intended,
    "adoption.opened": _opened,
    "adoption.merged": _merged,
    "adoption.ended": _ended,
}
