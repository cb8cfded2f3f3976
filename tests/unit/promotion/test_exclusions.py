"""Four eyes: whose approval cannot count, over every commit between what runs and the candidate."""

import pytest

from setpoint.adapters.git import steps
from setpoint.promotion import people
from setpoint.promotion.config import EVERY_EXCLUSION
from setpoint.promotion.lines import Lines
from setpoint.promotion.people import Exclusions
from unit.builders_home import PAT, World

PATCH = "environments/prod/web/patch.yaml"


def _excluded(world: World, kinds: tuple[str, ...] = EVERY_EXCLUSION) -> dict[str, str]:
    promotion, delivery = world.promotions("prod")[-1], world.delivery()
    pin = world.reader.pin(delivery, "prod", "web")
    return Exclusions(world.git, world.records).of(promotion, delivery, pin, kinds)


def _waiting(world: World) -> None:
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()


def test_authors_and_pushers_of_every_source_commit_since_the_pin_are_excluded(world: World) -> None:
    """Not only the last commit counts: everything that comes with the candidate does."""
    world.register()
    world.build("1")
    world.to_prod(world.service())
    world.commit("hello", {"a": b"1"}, author="sam@example.com", pusher="pat@example.com")
    world.build("2", author="ada@example.com")
    _waiting(world)
    excluded = _excluded(world)
    assert set(excluded) == {"ada", "pat", "sam"}
    assert excluded["sam"].startswith("author of ")
    assert excluded["pat"].startswith("pushed ")


def test_only_the_asked_kinds_are_excluded(world: World) -> None:
    """`not: [pusher]` leaves authors in."""
    world.register()
    world.build("1")
    world.to_prod(world.service())
    world.commit("hello", {"a": b"1"}, author="sam@example.com", pusher="pat@example.com")
    world.build("2")
    _waiting(world)
    assert set(_excluded(world, ("pusher",))) == {"ada", "pat"}
    assert set(_excluded(world, ("requester",))) == set()


def test_the_author_of_an_overlay_is_excluded_and_one_of_another_folder_is_not(world: World) -> None:
    """Configuration commits count where they touch the candidate's folders."""
    world.register()
    world.build("1")
    world.to_prod(world.service())
    world.commit("delivery", {PATCH: b"patch 2"}, author="pat@example.com", pusher="pat@example.com")
    world.commit("delivery", {"environments/staging/web/x.yaml": b"x"}, author="sam@example.com", pusher="sam@example.com")
    _waiting(world)
    assert set(_excluded(world)) == {"pat"}


def test_an_application_commit_that_prods_last_pin_already_lies_upon_still_counts(world: World) -> None:
    """Prod may pin an older tree on top of a newer commit: its author is excluded when the tree itself comes to prod."""
    world.register()
    world.build("1")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    service.approve(world.promotions("prod")[-1].promotion, PAT, "")
    world.moved_by = {"apps/web/app.yaml": b"base 2"}
    for _ in range(2):
        service.advance()
    staging, prod = world.pinned("staging"), world.pinned("prod")
    assert staging is not None
    assert prod is not None
    assert staging.candidate.app_tree != prod.candidate.app_tree
    world.healthy("staging")
    service.advance()
    assert world.promotions("prod")[-1].state.value == "open"
    excluded = _excluded(world)
    assert set(excluded) == {"ada", "sam"}
    assert excluded["sam"].startswith("pushed ")


def test_where_nothing_is_pinned_the_baseline_bounds_the_configuration(world: World) -> None:
    """For a first promotion, the candidate's own source commit counts, and configuration since the accepted version."""
    world.register()
    world.commit("hello", {"a": b"1"}, author="sam@example.com", pusher="sam@example.com")
    world.build("1", author="ada@example.com")
    world.commit("delivery", {PATCH: b"patch 2"}, author="pat@example.com", pusher=None)
    _waiting(world)
    assert set(_excluded(world)) == {"ada", "pat"}


def test_an_acceptance_while_a_first_promotion_is_open_takes_nobody_out(world: World) -> None:
    """Nothing is pinned yet: authors count since the first accepted version, wherever the accepted one is by now."""
    world.register()
    world.commit("delivery", {PATCH: b"patch 2"}, author="pat@example.com", pusher="pat@example.com")
    world.build("1")
    _waiting(world)
    assert "pat" in _excluded(world)
    head = world.commit("delivery", {"docs/a": b"1"}, author="sam@example.com", pusher="sam@example.com")
    world.recorder.record("baseline.accepted", "delivery", "operator", {"commit": head, "why": "owners"})
    assert world.delivery().accepted == head
    assert "pat" in _excluded(world)


def test_a_merge_of_more_than_is_looked_at_is_walked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a big merge brought is never told in part: the newest would be missing. Too much of it excludes everybody."""
    monkeypatch.setattr(steps, "_MOST_MERGED", 5)
    monkeypatch.setattr(people, "_MOST_COMMITS", 5)
    world.register()
    world.build("1")
    world.to_prod(world.service())
    base = world.git.heads("delivery")["main"]
    for number in range(6):
        world.commit("delivery", {"docs/junk": str(number).encode()}, author="sam@example.com")
    side = world.commit("delivery", {PATCH: b"patch 2"}, author="pat@example.com")
    assert world.git.advance("delivery", "main", side, base)
    merge = world.commit("delivery", {PATCH: b"patch 2"}, author="ada@example.com", parents=[base, side])
    line = Lines(world.git).of("delivery", merge)
    tree = world.git.tree_id("delivery", merge, "environments/prod/web")
    assert line.between(merge, "environments/prod/web", tree, None, base) is None
    _waiting(world)
    assert set(_excluded(world)) == set(world.delivery().setpoint.people)
