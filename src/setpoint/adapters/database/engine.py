"""Opens the database: SQLite in WAL mode with NORMAL synchronisation, for everything in it can be folded from the journal again."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from setpoint.core.errors import WorldError

_WAIT_S = 30.0
"""How long another program may have the file locked."""


def open_database(path: Path) -> Engine:
    """Return an engine for the SQLite file at path, made when it is missing."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _WAIT_S})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "handle_error")
    def _explain(context: ExceptionContext) -> None:
        fault = context.original_exception
        if isinstance(fault, sqlite3.DatabaseError) and not isinstance(fault, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise explained(fault, path) from fault

    return engine


def explained(fault: sqlite3.DatabaseError, path: Path) -> WorldError:
    """Return what an SQLite error means for the one who runs the server (result codes: sqlite.org/rescode.html)."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return WorldError("SP009", "the database has no room on the disk", where=str(path), fix="make room on the disk of the home")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        fix = "end the other program that has it open (`fuser` names it); Setpoint needs it alone"
        return WorldError("SP006", "the database is locked by another program", where=str(path), fix=fix)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        fix = f"stop the server, delete {path.name}, {path.name}-wal and {path.name}-shm, and start: it is folded anew from the journal"
        return WorldError("SP007", f"the database is damaged: {fault}", where=str(path), fix=fix)
    fix = "look at disk and permissions; it may be deleted while the server is down, for it is folded anew from the journal"
    return WorldError("SP008", f"the database cannot be used: {fault}", where=str(path), fix=fix)
