"""What SQLite complains of reaches people with a code and a way out: no room, locked, damaged, and whatever else."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from setpoint.adapters.database import engine as engines
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.core.errors import WorldError
from setpoint.ground.journal.model import GENESIS, Entry


def _entry(index: int, size: int = 10) -> Entry:
    return Entry(index, "2026-11-25T00:00:00.000Z", "repository.created", f"r{index}" + "x" * size, "operator", {}, GENESIS)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An empty projection."""
    made = open_database(tmp_path / "setpoint.db")
    Projection(made)
    return made


def test_a_full_disk_is_said(engine: Engine) -> None:
    """SQLITE_FULL is SP009; with room again the same entries are folded."""
    projection = Projection(engine)
    with engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    entries = [_entry(number, 3000) for number in range(20)]
    with pytest.raises(WorldError, match="SP009") as caught:
        projection.apply(entries)
    assert "make room" in caught.value.fix
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count=100000"))
    assert projection.apply(entries) == 20


def test_a_lock_of_another_program_is_said(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLITE_BUSY is SP006 once the wait is over."""
    monkeypatch.setattr(engines, "_WAIT_S", 0.05)
    mine = Projection(open_database(tmp_path / "setpoint.db"))
    other = sqlite3.connect(tmp_path / "setpoint.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(WorldError, match="SP006"):
        mine.apply([_entry(0)])
    other.rollback()
    other.close()
    assert mine.apply([_entry(0)]) == 1


@pytest.mark.parametrize("damage", [b"this is no database at all" * 200, b""])
def test_a_damaged_file_says_how_it_comes_back(tmp_path: Path, engine: Engine, damage: bytes) -> None:
    """SQLITE_NOTADB and SQLITE_CORRUPT are SP007, whose fix works: deleted, it is folded anew."""
    path = tmp_path / "setpoint.db"
    Projection(engine).apply([_entry(number) for number in range(500)])
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    data = path.read_bytes()
    path.write_bytes(damage or data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(WorldError, match="SP007") as caught:
        Projection(open_database(path)).apply([_entry(500)])
    assert "delete setpoint.db" in caught.value.fix
    for name in ("setpoint.db", "setpoint.db-wal", "setpoint.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    assert Projection(open_database(path)).apply([_entry(0)]) == 1


def test_what_else_goes_wrong_has_a_code_too(tmp_path: Path) -> None:
    """A folder in the file's place, for example, is SP008."""
    (tmp_path / "setpoint.db").mkdir()
    with pytest.raises(WorldError, match="SP008"):
        Projection(open_database(tmp_path / "setpoint.db"))
