"""First-parent lines: they say what walking Git says, at every commit of a history with merges, and compare each commit once."""

import random
from typing import Any

import pytest

from setpoint.adapters.git.store import GitRepositories
from setpoint.promotion import lines as lines_module
from setpoint.promotion.lines import DEPTHS, Lines
from setpoint.promotion.people import Exclusions
from setpoint.source.line import Line, Step, unit_of
from unit.builders_home import World

UNITS = ("apps/web", "apps/api", "environments/prod/web", "pins/prod/web.yaml")
FILES = ("apps/web/a.yaml", "apps/web/deep/b.yaml", "apps/api/a.yaml", "environments/prod/web/p.yaml", "pins/prod/web.yaml", "README")


def _history(world: World, seed: int) -> list[str]:
    """Write a branch with changes, removals, reverts and merges; returns its first-parent line, head first."""
    chance = random.Random(seed)  # noqa: S311 - a story, no secret
    world.commit("delivery", dict.fromkeys(FILES, b"0"))
    side: list[str] = []
    for _ in range(40):
        head = world.git.heads("delivery")["main"]
        present = [file.path for file in world.git.files("delivery", head)]
        files = {path: str(chance.randrange(3)).encode() for path in chance.sample(FILES, chance.randrange(1, 3))}
        remove = [path for path in present if chance.random() < 0.08 and path not in files and path != "README"]
        other = chance.choice(world.git.first_parents("delivery", head)[:8])
        parents = [head, chance.choice([other, *side[-2:]])] if chance.random() < 0.25 else [head]
        commit = world.commit("delivery", files, remove=remove, parents=list(dict.fromkeys(parents)))
        if chance.random() < 0.3:
            # A commit beside the branch, to be merged later.
            assert world.git.advance("delivery", "main", commit, other)
            side.append(world.commit("delivery", {chance.choice(FILES): b"side"}))
            assert world.git.advance("delivery", "main", side[-1], commit)
    return world.git.first_parents("delivery", world.git.heads("delivery")["main"])


def _is_older(git: GitRepositories, line: list[str], unit: str, one: str | None, other: str | None) -> bool:
    """Say the same as `Line.is_older`, commit by commit."""
    ids = [git.tree_id("delivery", commit, unit) for commit in line]
    return one in ids and other in ids and ids.index(one) > ids.index(other)


@pytest.mark.parametrize("seed", range(2))
def test_a_line_says_what_walking_says(world: World, seed: int) -> None:
    """Ids, last changes, order and the commits between two trees are those of Git's own history, asked at any commit of it."""
    line, git = _history(world, seed), world.git
    lines = Lines(git)
    for commit in reversed(line):  # it grows as the branch did
        found = lines.of("delivery", commit)
    slow = Exclusions(git, world.records)
    chance = random.Random(seed)  # noqa: S311 - as above
    for unit in UNITS:
        ids = [git.tree_id("delivery", commit, unit) for commit in line]
        assert [found.id_at(commit, unit) for commit in line] == ids
        assert [found.changed_by(commit, unit) for commit in line] == [git.last_change("delivery", commit, unit) for commit in line]
        for _ in range(30):
            at = chance.randrange(len(line))
            one, other = chance.choice(ids), chance.choice(ids)
            assert found.is_older(line[at], unit, one, other) == _is_older(git, line[at:], unit, one, other)
            if one != other and not unit.startswith("pins/"):
                base = chance.choice(line[at:])
                between = found.between(line[at], unit, one, other, base)
                walked = slow._walked("delivery", line[at], base, (unit, one, other))
                assert set(between or ()) == {revision.commit for revision in walked}


def test_every_commit_is_compared_with_its_parent_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks, at old heads and new ones: a growing branch costs its new commits only, and nothing where it did not grow."""
    line, told = _history(world, 1), 0
    real = world.git.steps

    def counting(*words: Any) -> tuple[list[Step], str]:
        nonlocal told
        found = real(*words)
        told += len(found[0])
        return found

    monkeypatch.setattr(world.git, "steps", counting)
    lines = Lines(world.git)
    for commit in (*line[10:][::-1], *line, *line[::-1]):
        lines.of("delivery", commit)
    assert told == len(line)


def test_a_branch_that_was_led_elsewhere_is_read_anew(world: World) -> None:
    """A head that does not lead to the one before gets a line of its own; the old one stays right for who holds it."""
    line = _history(world, 2)
    lines = Lines(world.git)
    old = lines.of("delivery", line[0])
    assert world.git.advance("delivery", "main", line[0], line[5])
    head = world.commit("delivery", {"apps/web/a.yaml": b"another"})
    new = lines.of("delivery", head)
    assert new.id_at(head, "apps/web") == world.git.tree_id("delivery", head, "apps/web")
    assert (line[0] in new, line[0] in old, lines.find("delivery", line[0])) == (False, True, None)


def test_a_line_that_is_cut_short_does_not_say_who_changed_what_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond the oldest commit that is looked at is left to who walks; what lies where is known all the same."""
    line = _history(world, 3)
    monkeypatch.setattr(lines_module, "_MOST", 3)
    found = Lines(world.git).of("delivery", line[0])
    assert not found.whole
    for unit in UNITS:
        assert found.id_at(line[0], unit) == world.git.tree_id("delivery", line[0], unit)
        assert found.changed_by(line[0], unit) in ("", world.git.last_change("delivery", line[0], unit))


def test_units_are_folders_and_files_at_the_depth_that_is_asked_about() -> None:
    """A file above that depth is a unit itself; what nobody asks about is none."""
    paths = ("apps/web/x/y.yaml", "apps/README", "environments/prod/environment.yaml", "environments/prod/web/p", "docs/a", "setpoint.yaml")
    units = [unit_of(path, DEPTHS) for path in paths]
    assert units == ["apps/web", "apps/README", "environments/prod/environment.yaml", "environments/prod/web", None, "setpoint.yaml"]


def test_an_empty_line_knows_nothing() -> None:
    """Before it has grown it has no head and no commit."""
    assert (Line().head, "a" in Line()) == ("", False)
