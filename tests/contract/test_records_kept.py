"""What the records keep decoded follows every entry, and asks the database only for what changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from contract.test_projection import STORY
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records

PLACES = (("web", "prod"), ("web", "staging"), ("api", "prod"))


@contextmanager
def _queries(engine: Engine) -> Iterator[list[str]]:
    """Yield the list of statements that are executed meanwhile."""
    told: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        told.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _reads(records: Records) -> list[object]:
    """Return every read that is kept."""
    found: list[object] = [records.unfinished(), records.deployments(), records.rollouts(), records.holds()]
    for app, environment in PLACES:
        found += [records.deployment(app, environment), records.rollout(app, environment), records.holds(app, environment)]
        found += [records.quarantines(app, environment), records.unfinished(app, environment)]
    return [*found, *(records.promotion(entry.subject) for entry in STORY if entry.kind == "promotion.created")]


def test_kept_reads_follow_every_entry(tmp_path: Path) -> None:
    """After each entry, records that were there before say what new ones say, and those that are told how many entries there are too."""
    engine = open_database(tmp_path / "a.db")
    projection = Projection(engine)
    asking, told = Records(engine), Records(engine, lambda: projection.folded)
    for entry in STORY:
        projection.apply([entry])
        wanted = _reads(Records(engine))
        assert _reads(asking) == wanted, entry.kind
        assert _reads(told) == wanted, entry.kind


def test_nothing_is_asked_while_nothing_was_folded_in(tmp_path: Path) -> None:
    """Reads that are kept cost no query until the next entry; then one for each kind of row, however many places are asked about."""
    engine = open_database(tmp_path / "a.db")
    projection = Projection(engine)
    projection.apply(STORY[:-1])
    records = Records(engine, lambda: projection.folded)
    _reads(records)
    with _queries(engine) as told:
        _reads(records)
        assert told == []
    projection.apply(STORY[-1:])
    with _queries(engine) as told:
        for _ in range(5):
            _reads(records)
    assert len([one for one in told if "promotion = ?" not in one]) <= 6
    assert len(told) <= 6 + len([entry for entry in STORY if entry.kind == "promotion.created"])


def test_a_place_changes_with_what_is_said_of_it_only(tmp_path: Path) -> None:
    """The index of a place grows with entries about it, its promotions, or its whole environment; that of a repository with its runs."""
    engine = open_database(tmp_path / "a.db")
    projection = Projection(engine)
    records = Records(engine, lambda: projection.folded)
    grew: dict[str, set[str]] = {"place": set(), "repository": set(), "elsewhere": set()}
    before = (-1, -1, -1)
    for entry in STORY:
        projection.apply([entry])
        now = (records.changed("web", "prod"), records.repository_changed("hello"), records.changed("other", "staging"))
        for name, old, new in zip(grew, before, now, strict=True):
            if new != old:
                assert new == entry.index
                grew[name].add(entry.kind)
        before = now
    assert {"promotion.created", "promotion.decided", "promotion.pinned", "approval.given", "deployment.observed"} <= grew["place"]
    assert {"hold.opened", "hold.closed", "quarantine.set", "quarantine.lifted", "rollout.finished"} <= grew["place"]
    assert {"run.created", "run.finished", "artifact.built", "push.received", "evidence.attached"} <= grew["repository"]
    assert not grew["place"] & {"run.created", "run.finished", "push.received", "drift.found", "task.finished"}
    assert grew["elsewhere"] == set()
