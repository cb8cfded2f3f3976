"""What the journal said last about what: the index of the newest entry about a place, an environment or a repository.

Written by the projection in the transaction that folds the entries; read by the records, so that an answer about a place is worth asking
for again only when its index grew. An entry about something else leaves it as it is.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from setpoint.adapters.database import tables as t
from setpoint.adapters.database.upsert import upsert_all
from setpoint.ground.journal.model import Entry

REPOSITORIES: Final = "repositories"
"""The scope of which repositories there are, which of them delivers, and what of it is accepted."""
GENERATORS: Final = "generators"
"""The scope of what generators make."""


def place(app: str, environment: str) -> str:
    """Return the scope of an application in an environment; without an application that of the whole environment."""
    return f"place/{app}/{environment}"


def repository(name: str) -> str:
    """Return the scope of what was pushed, run and built of a repository."""
    return f"repository/{name}"


def _created(entry: Entry) -> str:
    candidate = entry.body["candidate"]
    return place(candidate["app"], candidate["environment"])


_SCOPE: Final[dict[str, Callable[[Entry], str]]] = {
    "promotion.created": _created,
    "deployment": lambda entry: f"place/{entry.subject}",
    "inventory": lambda entry: f"place/{entry.subject}",
    "prune": lambda entry: f"place/{entry.subject}",
    "rollout": lambda entry: f"place/{entry.subject}",
    "check": lambda entry: place(entry.body["app"], entry.body["environment"]),
    "quarantine": lambda entry: place(entry.body["app"], entry.body["environment"]),
    "adoption": lambda entry: place(entry.body["app"], entry.body["environment"]),
    "hold": lambda entry: place(entry.body["app"], entry.body["environment"]),
    "repository": lambda _entry: REPOSITORIES,
    "delivery": lambda _entry: REPOSITORIES,
    "baseline": lambda _entry: REPOSITORIES,
    "generator": lambda _entry: GENERATORS,
    "preview": lambda _entry: GENERATORS,
    "artifact": lambda entry: repository(entry.body["repository"]),
    "push": lambda entry: repository(entry.subject),
}
"""Kind, or the noun before its dot -> the scope that an entry names."""
_PROMOTION: Final[dict[str, Callable[[Entry], str]]] = {
    "promotion": lambda entry: entry.subject,
    "approval": lambda entry: entry.subject,
    "pin": lambda entry: entry.subject,
    "evidence": lambda entry: str(entry.body.get("promotion", "")),
}
"""Noun -> the promotion that an entry is about."""
_RUN: Final[dict[str, Callable[[Entry], str]]] = {
    "run": lambda entry: entry.subject,
    "evidence": lambda entry: str(entry.body.get("run", "")),
}
"""Noun -> the run that an entry is about."""


def note(connection: Connection, entries: Iterable[Entry]) -> None:
    """Note what entries are about, once they are folded in."""
    found: dict[str, int] = {}
    promotions: dict[str, int] = {}
    runs: dict[str, int] = {}
    for entry in entries:
        noun = entry.kind.partition(".")[0]
        scope = _SCOPE.get(entry.kind) or _SCOPE.get(noun)
        if scope is not None:
            found[scope(entry)] = entry.index
        if noun in _PROMOTION:
            promotions[_PROMOTION[noun](entry)] = entry.index
        if noun in _RUN:
            runs[_RUN[noun](entry)] = entry.index
    table = t.promotions.c
    for name, app, environment in _rows(connection, (table.promotion, table.app, table.environment), promotions):
        scoped = place(app, environment)
        found[scoped] = max(found.get(scoped, -1), promotions[name])
    for name, source in _rows(connection, (t.runs.c.run, t.runs.c.repository), runs):
        found[repository(source)] = max(found.get(repository(source), -1), runs[name])
    if found:
        upsert_all(connection, t.changes, ("scope",), [{"scope": scope, "changed": index} for scope, index in found.items()])


def _rows(connection: Connection, columns: tuple[Any, ...], names: Mapping[str, int]) -> Iterable[Any]:
    return connection.execute(select(*columns).where(columns[0].in_(list(names)))) if names else ()


class Changes:
    """The index of the newest entry by scope; reads on from where it was."""

    def __init__(self, engine: Engine, folded: Callable[[], int]) -> None:
        """Folded returns how many entries the tables have by now."""
        self._engine = engine
        self._folded = folded
        self._seen = self._last = -1
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, scope: str) -> int:
        """Return the index of the newest entry about a scope; -1 when there is none."""
        now = self._folded()
        if now != self._seen:
            with self._lock, self._engine.connect() as connection:
                rows = connection.execute(select(t.changes.c.scope, t.changes.c.changed).where(t.changes.c.changed > self._last))
                for name, index in rows:
                    self._known[name] = index
                    self._last = max(self._last, index)
                self._seen = now
        return self._known.get(scope, -1)
