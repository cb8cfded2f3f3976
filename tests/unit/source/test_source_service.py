"""Heads that moved: found by looking, handed out once, never lost by a fault."""

import pytest

from setpoint.core.errors import WorldError
from setpoint.source.service import SourceService
from unit.builders_home import World


def test_every_head_is_handed_out_once_until_it_moves(world: World) -> None:
    """After a start every head is new; then only what moved; a forgotten one comes again."""
    first = world.commit("hello", {"a": b"1"})
    other = world.commit("other", {"a": b"1"})
    service = SourceService(world.git)
    assert [(branch, r.repository, r.commit) for branch, r in service.moved_heads()] == [("main", "hello", first), ("main", "other", other)]
    assert service.moved_heads() == []
    second = world.commit("hello", {"a": b"2"})
    assert [r.commit for _, r in service.moved_heads()] == [second]
    service.forget("hello", "main")
    assert [r.commit for _, r in service.moved_heads()] == [second]


def test_a_fault_half_way_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found before a repository failed is found again at the next look."""
    world.commit("hello", {"a": b"1"})
    world.commit("other", {"a": b"1"})
    service, real = SourceService(world.git), world.git.heads

    def heads(name: str) -> dict[str, str]:
        if name == "other":
            raise WorldError("SP105", "disk")
        return real(name)

    monkeypatch.setattr(world.git, "heads", heads)
    with pytest.raises(WorldError):
        service.moved_heads()
    monkeypatch.setattr(world.git, "heads", real)
    assert len(service.moved_heads()) == 2
