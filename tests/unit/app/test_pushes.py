"""A server that dies between Git and journal: the push keeps its pusher, whatever instant it died at, and law 9 judges by that."""

import os
from pathlib import Path

import pytest

from setpoint.adapters.git.pkt import ZERO
from setpoint.adapters.git.spool import PushSpool
from setpoint.app.pushes import Pushes
from setpoint.source.model import RefUpdate
from unit.builders_home import SETPOINT, World

MAIN = "refs/heads/main"


def _died(root: Path, world: World, pusher: str, *updates: RefUpdate, repository: str = "hello") -> str:
    """Note a push as a server does that dies before it is journalled."""
    return PushSpool(root).begin(repository, f"person:{pusher}", pusher, list(updates))


def _pushes(root: Path, world: World) -> Pushes:
    return Pushes(PushSpool(root), world.git, world.records, world.recorder)


def _told(world: World, repository: str = "hello") -> list[tuple[str, str, str]]:
    return [(old, new, pusher) for old, new, pusher, _at in world.records.pushes(repository, MAIN)]


def test_a_push_that_git_has_gets_its_pusher_once(world: World, tmp_path: Path) -> None:
    """The ref is where the push wanted it: journalled with who pushed, and never again, also not after a death after the entry."""
    root = tmp_path / "spool"
    first = world.commit("hello", {"x": b"1"}, pusher=None)
    _died(root, world, "ada@example.com", RefUpdate(MAIN, ZERO, first))
    pushes = _pushes(root, world)
    assert (pushes.pusher_of("hello", first), pushes.mend()) == ("", 1)
    assert _told(world) == [(ZERO, first, "ada@example.com")]
    assert pushes.pusher_of("hello", first) == "ada@example.com"
    assert (list(root.iterdir()), pushes.mend()) == ([], 0)
    _died(root, world, "ada@example.com", RefUpdate(MAIN, ZERO, first))
    assert _pushes(root, world).mend() == 0
    assert (len(_told(world)), list(root.iterdir())) == (1, [])


def test_a_push_that_did_not_happen_is_nobodys(world: World, tmp_path: Path) -> None:
    """Not moved yet: kept for a while, for git outlives the server, then dropped; nothing is journalled meanwhile."""
    root = tmp_path / "spool"
    first = world.commit("hello", {"x": b"1"})
    before = len(world.journal)
    name = _died(root, world, "sam@example.com", RefUpdate(MAIN, first, "f" * 40), RefUpdate("refs/heads/side", ZERO, "e" * 40))
    _died(root, world, "sam@example.com", RefUpdate(MAIN, ZERO, "d" * 40), repository="gone")
    pushes = _pushes(root, world)
    assert (pushes.mend(), len(list(root.iterdir())), len(world.journal)) == (0, 2, before)
    os.utime(root / name, (1, 1))
    pushes.mend()
    assert len(list(root.iterdir())) == 1


def test_a_ref_that_went_on_is_still_the_pushers_step(world: World, tmp_path: Path) -> None:
    """Somebody pushed by path on top of it before the server was up again: the noted step is its pusher's, the next is nobody's."""
    root = tmp_path / "spool"
    first = world.commit("hello", {"x": b"1"})
    second = world.commit("hello", {"x": b"2"}, pusher=None)
    third = world.commit("hello", {"x": b"3"}, pusher=None)
    _died(root, world, "sam@example.com", RefUpdate(MAIN, first, second))
    assert _pushes(root, world).mend() == 1
    assert (second, third) == (_told(world)[-1][1], world.git.heads("hello")["main"])
    assert _pushes(root, world).pusher_of("hello", third) == ""


def test_a_torn_note_is_dropped_and_a_live_one_is_left_alone(world: World, tmp_path: Path) -> None:
    """A file torn by the crash was never answered for; a push that this server is still at is not mended, and its head can wait."""
    root = tmp_path / "spool"
    spool = PushSpool(root)
    first = world.commit("hello", {"x": b"1"}, pusher=None)
    root.mkdir()
    (root / "torn.json").write_text('{"version": 1, "repo')
    name = spool.begin("hello", "person:ada@example.com", "ada@example.com", [RefUpdate(MAIN, ZERO, first)])
    pushes = Pushes(spool, world.git, world.records, world.recorder)
    assert (pushes.mend(), [path.name for path in root.iterdir()]) == (0, [name])
    assert pushes.unsettled("hello", "main", first)
    assert not pushes.unsettled("hello", "main", "f" * 40)
    spool.leave(name)
    assert not pushes.unsettled("hello", "main", first)
    assert pushes.mend() == 1


@pytest.mark.parametrize(("pusher", "accepted"), [("sam@example.com", True), ("ada@example.com", False)])
def test_law_9_judges_a_mended_push_by_its_pusher(world: World, tmp_path: Path, pusher: str, accepted: bool) -> None:  # noqa: FBT001
    """An owner's change of a gate counts although the server died in it; anybody else's does not."""
    world.register()
    old = world.git.heads("delivery")["main"]
    new = world.commit("delivery", {"setpoint.yaml": SETPOINT + b"# more\n"}, pusher=None)
    assert world.reader.load().accepted == old  # type: ignore[union-attr]
    _died(tmp_path / "spool", world, pusher, RefUpdate(MAIN, old, new), repository="delivery")
    assert _pushes(tmp_path / "spool", world).mend() == 1
    assert world.reader.load().accepted == (new if accepted else old)  # type: ignore[union-attr]
