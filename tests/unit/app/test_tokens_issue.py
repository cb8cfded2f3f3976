"""A token is journalled before it lets anybody in."""

from pathlib import Path

import pytest

from setpoint.adapters.tokens import TokenFile
from setpoint.app.tokens import issue
from setpoint.core.errors import UserError, WorldError
from unit.builders_home import KilledError, MortalRecorder, World


def test_no_token_is_valid_that_the_journal_does_not_know(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the entry nothing is left; killed after it there is an entry about a token that lets nobody in."""
    tokens = TokenFile(tmp_path / "tokens.json", world.clock)
    dying = MortalRecorder(world.recorder.inner)
    dying.lives = 0
    with pytest.raises(KilledError):
        issue(tokens, dying, "operator", ("person", "ada@example.com", "laptop"))
    assert tokens.list() == ()
    monkeypatch.setattr(tokens, "_save", lambda _records: (_ for _ in ()).throw(WorldError("SP840", "full")))
    with pytest.raises(WorldError, match="SP840"):
        issue(tokens, world.recorder, "operator", ("person", "ada@example.com", "laptop"))
    assert [entry.kind for entry in world.journal.entries()][-1] == "token.created"
    assert tokens.list() == ()
    monkeypatch.undo()
    record, text = issue(tokens, world.recorder, "operator", ("person", "ada@example.com", "laptop"))
    who = tokens.authenticate(f"Bearer {text}")
    assert (who is not None and who.email, list(world.journal.entries())[-1].subject) == ("ada@example.com", record.token_id)


def test_a_persons_token_needs_an_email(world: World, tmp_path: Path) -> None:
    """It is refused before anything is written."""
    before = len(world.journal)
    with pytest.raises(UserError, match="SP842"):
        issue(TokenFile(tmp_path / "tokens.json", world.clock), world.recorder, "operator", ("person", "", "x"))
    assert len(world.journal) == before
