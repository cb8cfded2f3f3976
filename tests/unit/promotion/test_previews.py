"""Previews: who makes one, what moves it, when it ends, and that nobody is sent away for who comes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.core import clock
from setpoint.core.documents import InvalidError
from setpoint.core.errors import ConfigError, NotAllowedError, NotFoundError, UserError
from setpoint.core.records import encode
from setpoint.evidence.ports import Signed
from setpoint.promotion import pin
from setpoint.promotion.generators import previews
from setpoint.promotion.generators.config import FromBranches, parse_generator
from setpoint.promotion.generators.decide import Now
from setpoint.promotion.generators.model import Element, Expansion
from setpoint.promotion.generators.previews import Branch
from setpoint.promotion.generators.service import GeneratorParts, Generators
from setpoint.promotion.generators.unpinning import Unpinning
from setpoint.source.model import RefUpdate
from unit.builders_home import ADA, DELIVERY, PAT, START, KilledError, World

TEXT = b"""apiVersion: setpoint.dev/v1alpha1
kind: Generator
previews:
  repository: hello
  branches: ["feature/*"]
  exclude: ["feature/wip*"]
  like: staging
  ttl: 2d
  grace: 1h
  ports: "7600-7602"
max: 2
"""
PATH = "generators/preview.yaml"
ZERO = "0" * 40


def _spec(text: bytes = TEXT) -> FromBranches:
    found = parse_generator(text, PATH).model.previews
    assert found is not None
    return found


def _at(hours: float = 0.0) -> str:
    return clock.to_text(START + timedelta(hours=hours))


def _now(hours: float = 0.0, *occupied: str) -> Now:
    return Now("preview", "c" * 40, "f" * 40, _at(hours), occupied)


def _branch(mark: str, hours: float = 0.0, *, trusted: bool = True, pusher: str = "ada@example.com") -> Branch:
    return Branch(mark * 40, mark * 40 if trusted else "", _at(hours) if trusted else "", pusher)


def _settle(before: Expansion | None, branches: dict[str, Branch], now: Now, most: int = 2) -> Expansion:
    return previews.settle(before, _spec(), most, branches, now, lambda _element: None)


def _names(expansion: Expansion) -> list[str]:
    return [element.name for element in expansion.elements]


def _codes(expansion: Expansion) -> list[str]:
    return [reason.code for reason in expansion.reasons]


def test_a_trusted_push_makes_a_preview_that_the_next_one_moves() -> None:
    """It is called after the branch, has a port of its own, and lives two days from the last push."""
    first = _settle(None, {"feature/login": _branch("a"), "main": _branch("m"), "feature/wip-x": _branch("w")}, _now())
    (element,) = first.elements
    assert (element.name, element.values, element.life and element.life.port) == ("feature-login", {"name": "feature-login"}, 7600)
    moved = _settle(first, {"feature/login": _branch("b", 10)}, _now(10))
    life = moved.elements[0].life
    assert life is not None
    assert (life.commit, previews.expires_at(_spec(), life)) == ("b" * 40, _at(58))
    assert list(previews.changes(None, first)) == [f"feature-login begins: branch feature/login at {'a' * 12}"]
    assert list(previews.changes(first, moved)) == [f"feature-login moves to {'b' * 12}"]


def test_an_untrusted_push_makes_none_and_moves_none() -> None:
    """It is told by whom; what was trusted before stays, and its time is not made longer."""
    none = _settle(None, {"feature/x": _branch("a", trusted=False, pusher="eve@example.com")}, _now())
    assert (none.elements, _codes(none)) == ((), ["PREVIEW_UNTRUSTED"])
    assert "eve@example.com" in none.reasons[0].found
    there = _settle(None, {"feature/x": _branch("a")}, _now())
    pushed = _settle(there, {"feature/x": Branch("e" * 40, "a" * 40, _at(), "eve@example.com")}, _now(5))
    assert (pushed.elements, _codes(pushed)) == (there.elements, ["PREVIEW_UNTRUSTED"])


def test_its_time_is_over_or_its_branch_is_gone_for_longer_than_the_grace() -> None:
    """It leaves, with why; while something is there the place is kept, and a branch that is back in time changes nothing."""
    there = _settle(None, {"feature/x": _branch("a")}, _now())
    over = _settle(there, {"feature/x": _branch("a")}, _now(48, "preview-feature-x"))
    assert (over.elements, over.leaving[0].life and over.leaving[0].life.ended) == ((), "no push since 2026-11-23 06:00:00 UTC")
    assert _settle(over, {"feature/x": _branch("a")}, _now(48)) == replace(over, leaving=())
    deleted = _settle(there, {}, _now(1))
    assert _names(deleted) == ["feature-x"]
    assert _settle(deleted, {"feature/x": _branch("a")}, _now(1.5)).elements == there.elements
    gone = _settle(deleted, {}, _now(2, "preview-feature-x"))
    assert (gone.elements, gone.leaving[0].life and gone.leaving[0].life.ended) == ((), "its branch was deleted")
    waits = _settle(gone, {"feature/x": _branch("b", 2)}, _now(2, "preview-feature-x"))
    assert (_names(waits), _codes(waits)) == ([], ["PREVIEW_WAITS"])
    assert _names(_settle(_settle(waits, {"feature/x": _branch("b", 2)}, _now(2)), {"feature/x": _branch("b", 2)}, _now(2))) == [
        "feature-x"
    ]


def test_who_comes_when_it_is_full_waits_and_nobody_is_sent_away() -> None:
    """The reason says when the next one ends; then the one that waited longest comes in."""
    two = {"feature/a": _branch("a"), "feature/b": _branch("b", 1)}
    full = _settle(_settle(None, two, _now(1)), {**two, "feature/c": _branch("c", 2), "feature/d": _branch("d", 3)}, _now(3))
    assert (_names(full), _codes(full)) == (["feature-a", "feature-b"], ["PREVIEW_WAITS", "PREVIEW_WAITS"])
    assert full.reasons[0].recheck_at == _at(48)
    after = _settle(full, {"feature/c": _branch("c", 2), "feature/d": _branch("d", 3), "feature/b": _branch("b", 1)}, _now(48))
    assert _names(after) == ["feature-b", "feature-c"]
    assert [one.life and one.life.port for one in after.elements] == [7601, 7600]


def test_two_branches_of_one_name_do_not_share_it() -> None:
    """`feature/a-b` and `feature/a/b` would be called alike: the first keeps it, the other is told."""
    found = _settle(None, {"feature/a-b": _branch("a"), "feature/a/b": _branch("b", 1)}, _now(1))
    assert (_names(found), _codes(found)) == (["feature-a-b"], ["NAME_TAKEN"])
    assert previews.part_of("feature/Ä_b") != previews.part_of("feature/ä-b")


def test_a_long_branch_has_a_name_that_fits_and_is_its_own() -> None:
    """Plain names of up to 40 characters stay as they are; longer ones are cut, and told apart by a digest."""
    fits, long = "feature/" + "a" * 32, "feature/" + "a" * 200
    assert previews.part_of(fits) == fits.replace("/", "-")
    assert len(previews.part_of(long)) <= 40
    assert previews.part_of(long) != previews.part_of(long + "a")


def test_a_preview_that_cannot_be_made_is_told_and_takes_no_room() -> None:
    """The next one has its place; one that is there and is not sound any more is told too, and stays."""
    branches = {"feature/a": _branch("a"), "feature/b": _branch("b", 1), "feature/c": _branch("c", 2)}

    def make(element: Element) -> None:
        if element.name == "feature-a":
            raise InvalidError("`namespace`: too long", "write less")

    found = previews.settle(None, _spec(), 2, branches, _now(2), make)
    assert (_names(found), _codes(found)) == (["feature-b", "feature-c"], ["ELEMENT_INVALID"])
    assert (found.reasons[0].subject, found.reasons[0].found) == ("branch feature/a of hello", "`namespace`: too long")
    there = previews.settle(None, _spec(), 2, branches, _now(2), lambda _element: None)
    stays = previews.settle(there, _spec(), 2, branches, _now(3), make)
    assert (_names(stays), _codes(stays)) == (["feature-a", "feature-b"], ["ELEMENT_INVALID", "PREVIEW_WAITS"])


_BRANCHES = st.dictionaries(
    st.sampled_from([f"feature/{letter}" for letter in "abcdef"]),
    st.tuples(st.sampled_from("0123456789"), st.integers(0, 30), st.booleans()),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_BRANCHES, min_size=1, max_size=6), st.integers(1, 4))
def test_no_history_of_branches_sends_a_preview_away_before_its_time(history: list[dict[str, tuple[str, int, bool]]], most: int) -> None:
    """Never more than the most, a port for each; who is there stays until its own rule ends it; the same look again changes nothing."""
    before: Expansion | None = None
    for hour, found in enumerate(history):
        branches = {name: _branch(mark, min(hours, hour), trusted=trusted) for name, (mark, hours, trusted) in found.items()}
        after = _settle(before, branches, _now(hour), most)
        shuffled = dict(reversed(list(branches.items())))
        assert _settle(before, shuffled, _now(hour), most) == after
        assert _settle(after, branches, _now(hour), most) == after
        ports = [one.life.port for one in after.elements if one.life is not None]
        assert len(ports) == len(set(ports)) <= most
        has = {one.name: one for one in after.elements}
        for one in before.elements if before is not None else ():
            assert one.life is not None
            still = (
                one.name in has
                or clock.seconds_between(_at(hour), previews.expires_at(_spec(), replace(one.life, deleted_at=_at(hour - 1)))) <= 0
            )
            assert still
        before = after


class _Home:
    """A home with a delivery repository that has previews; the signer composes removals as the real one does, unsigned."""

    def __init__(self, world: World, files: Mapping[str, bytes] | None = None) -> None:
        self.world, self.cleared, self.made = world, list[str](), set[str]()
        self.refused: set[str] = set()
        """Environments whose pins the signer removes not."""
        world.register({**DELIVERY, PATH: TEXT, **(files or {})})

    def unsettled(self, _repository: str, _branch: str, _commit: str) -> bool:
        return False

    def clear(self, environment: str) -> None:
        self.cleared.append(environment)

    def sign(self, kind: str, subject_id: str, context: str = "") -> list[Signed]:
        assert kind == "unpin"
        if subject_id in self.refused:
            raise UserError("SP404", "it is no preview", where=subject_id, fix="remove its folder")
        git = self.world.git
        pins = git.entries("delivery", context, f"pins/{subject_id}")
        tree = git.write_tree("delivery", context, {f"pins/{subject_id}/{name}": None for name in pins})
        payload = pin.commit_payload(tree, context, pin.removal_message(subject_id, "over"), _at())
        return [Signed("", subject_id, "", payload, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")]

    def service(self) -> Generators:
        world = self.world
        unpinning = Unpinning(world.git, self, world.recorder)
        parts = GeneratorParts(
            world.reader, world.records, world.recorder, dict, lambda: self.made, world.clock, world.git, self, unpinning
        )
        return Generators(parts)

    def push(self, branch: str, commit: str, pusher: str = "ada@example.com") -> None:
        """Move a branch of the source by a push."""
        world = self.world
        old = world.git.heads("hello").get(branch)
        assert world.git.advance("hello", branch, old, commit)
        body = {"updates": [encode(RefUpdate(f"refs/heads/{branch}", old or ZERO, commit))], "pusher": pusher}
        world.recorder.record("push.received", "hello", f"person:{pusher}", body)


@pytest.fixture
def home(world: World) -> _Home:
    """A home with previews."""
    return _Home(world)


def test_a_branch_that_was_built_is_promoted_into_its_preview_by_the_templates_gates(home: _Home) -> None:
    """The pin carries the digests of exactly that commit; the policy is the template's file; a later main changes nothing there."""
    world = home.world
    built = world.build("1")
    home.push("feature/x", built.revision)
    home.service().advance()
    delivery = world.delivery()
    assert delivery.apps_in("preview-feature-x") == ["web"]
    assert delivery.environments["preview-feature-x"].owners == ("team:dev",)
    host = delivery.environments["preview-feature-x"].target.host
    assert host is not None
    assert host.listen == "127.0.0.1:7600"
    assert world.reader.policy_id(delivery, "preview-feature-x") == world.reader.policy_id(delivery, "staging")
    service = world.service()
    service.advance()
    pinned = world.pinned("preview-feature-x")
    assert pinned is not None
    assert pinned.candidate.artifacts["web"].digest == built.digest
    world.build("2")
    service.advance()
    assert world.version("preview-feature-x") == "1"
    assert world.version("staging") == "2"


def test_a_build_of_an_untrusted_head_stays_out_of_the_preview(home: _Home) -> None:
    """Pat's commit is the head and was built green; the preview keeps the newest trusted commit, until Ada pushes it herself."""
    world, name = home.world, "preview-feature-x"
    home.push("feature/x", world.build("1").revision)
    strange = world.build("2").revision
    home.push("feature/x", strange, "pat@example.com")
    home.service().advance()
    service = world.service()
    service.advance()
    assert world.version(name) == "1"
    home.push("feature/x", world.build("3").revision)
    home.service().advance()
    service.advance()
    assert world.version(name) == "3"


def test_a_branch_whose_host_name_would_be_too_long_is_told_in_a_home_too(world: World) -> None:
    """What `each:` makes of it is tried before it counts."""
    home = _Home(world, {PATH: TEXT.replace(b"ttl: 2d", b'each: {host: "' + b"x" * 30 + b'-${name}.example.com"}')})
    commit = world.build("1").revision
    home.push("feature/" + "a" * 32, commit)
    home.push("feature/b", commit)
    home.service().advance()
    (_version, (expansion,)) = world.records.expansions()
    assert (_names(expansion), _codes(expansion)) == (["feature-b"], ["ELEMENT_INVALID"])
    assert "is no host name" in expansion.reasons[0].found


def test_what_a_preview_does_not_have_is_the_templates(world: World) -> None:
    """An application of another source stays in the template; who depends on it waits for it there."""
    apps = b"apps: {db: {}, web: {source: hello, dependsOn: [db]}}"
    setpoint = DELIVERY["setpoint.yaml"].replace(b"apps: {web: {source: hello}}", apps)
    home = _Home(world, {"setpoint.yaml": setpoint, "apps/db/app.yaml": b"db"})
    home.push("feature/x", world.build("1").revision)
    home.service().advance()
    delivery = world.delivery()
    assert delivery.apps_in("preview-feature-x") == ["web"]
    found = delivery.app_in("web", "preview-feature-x")
    assert (found.branch, found.dependsOn) == ("feature/x", ("db@staging",))
    assert delivery.app_in("web", "staging").dependsOn == ("db",)


def test_a_strangers_push_makes_none_in_a_home_either(home: _Home) -> None:
    """Pat owns no staging; by path nobody pushed; a branch that was deleted and made anew is not trusted for what was before."""
    world = home.world
    built = world.build("1")
    home.push("feature/x", built.revision, "pat@example.com")
    home.service().advance()
    assert not world.delivery().generated.previews
    (_version, (expansion,)) = world.records.expansions()
    assert [reason.code for reason in expansion.reasons] == ["PREVIEW_UNTRUSTED"]
    body = {"updates": [encode(RefUpdate("refs/heads/feature/x", built.revision, ZERO))], "pusher": "ada@example.com"}
    world.recorder.record("push.received", "hello", "person:ada@example.com", body)
    again = {"updates": [encode(RefUpdate("refs/heads/feature/x", ZERO, built.revision))], "pusher": "pat@example.com"}
    world.recorder.record("push.received", "hello", "person:pat@example.com", again)
    home.service().advance()
    assert not world.delivery().generated.previews


def test_an_ended_preview_takes_its_pins_along_and_comes_back_by_a_push_only(home: _Home) -> None:
    """Nothing is removed from Git while something runs; then the pins go, what served it is ended, and that commit stays ended."""
    world, name = home.world, "preview-feature-x"
    built = world.build("1")
    home.push("feature/x", built.revision)
    home.service().advance()
    world.service().advance()
    home.made = {name}
    with pytest.raises(NotAllowedError, match="SP514"):
        home.service().end(name, PAT, "")
    home.service().end(name, ADA, "seen")
    home.service().advance()
    delivery = world.delivery()
    assert (delivery.apps_in(name), delivery.generated.previews[name].life.ended) == ([], "ended by ada@example.com: seen")
    assert world.pinned(name) is not None
    home.made = set()
    home.service().advance()
    assert world.pinned(name) is None
    assert home.cleared == []
    home.service().advance()
    assert home.cleared == [name]
    assert name not in world.delivery().environments
    home.service().advance()
    assert name not in world.delivery().environments, "the commit that was ended brings none back"
    newer = world.build("2")
    home.push("feature/x", newer.revision)
    home.service().advance()
    world.service().advance()
    assert world.version(name) == "2"
    before = world.records.expansions()[1]
    world.forget_the_database()
    assert world.records.expansions()[1] == before


def test_a_refused_removal_of_pins_is_told_and_nobody_waits_for_it(home: _Home) -> None:
    """The other preview that ended loses its pins, a new branch gets its preview, and the reason is journalled once."""
    world = home.world
    home.push("feature/a", world.build("1").revision)
    home.push("feature/b", world.build("2").revision)
    home.service().advance()
    world.service().advance()
    for name in ("preview-feature-a", "preview-feature-b"):
        assert world.pinned(name) is not None
        home.service().end(name, ADA, "")
    home.refused = {"preview-feature-a"}
    home.service().advance()
    assert world.pinned("preview-feature-a") is not None
    assert world.pinned("preview-feature-b") is None
    home.push("feature/c", world.build("3").revision)
    for _ in range(2):
        home.service().advance()
    (_version, (expansion,)) = world.records.expansions()
    assert (_names(expansion), _codes(expansion), home.cleared) == (["feature-c"], ["UNPIN_REFUSED"], ["preview-feature-b"])
    assert "it is no preview (SP404)" in expansion.reasons[0].found
    entries = len(world.kinds())
    home.service().advance()
    assert len(world.kinds()) == entries
    home.refused = set()
    for _ in range(2):
        home.service().advance()
    (_version, (expansion,)) = world.records.expansions()
    assert (expansion.reasons, world.pinned("preview-feature-a")) == ((), None)


@pytest.mark.parametrize("dies_at", ["generator.expanded", "preview.unpinned"])
def test_a_death_in_the_middle_of_an_end_changes_nothing(home: _Home, dies_at: str) -> None:
    """Law 5: killed before either entry, the next server comes to the same end; the pins are removed once."""
    world, name = home.world, "preview-feature-x"
    home.push("feature/x", world.build("1").revision)
    home.service().advance()
    world.service().advance()
    home.service().end(name, ADA, "")
    world.recorder.dies_at = dies_at
    for _ in range(3):
        with suppress(KilledError):
            home.service().advance()
    world.recorder.dies_at = ""
    home.service().advance()
    home.service().advance()
    assert name not in world.delivery().environments
    assert world.pinned(name) is None
    messages = [world.git.revision("delivery", one).title for one in world.git.first_parents("delivery", world.delivery().head)]
    assert messages.count(f"Remove the pins of {name}: over") == 1
    assert set(home.cleared) == {name}


def test_a_person_lets_one_live_longer(home: _Home) -> None:
    """Not shorter, not for ever; the next look keeps the word."""
    world, name = home.world, "preview-feature-x"
    home.push("feature/x", world.build("1").revision)
    home.service().advance()
    home.service().extend(name, 5 * 86_400, ADA, "demo")
    home.service().advance()
    assert world.delivery().generated.previews[name].expires_at == _at(120)
    home.service().extend(name, 60, ADA, "")
    assert world.delivery().generated.previews[name].expires_at == _at(120)
    with pytest.raises(UserError, match="SP599"):
        home.service().extend(name, 91 * 86_400, ADA, "")
    with pytest.raises(NotFoundError, match="SP597"):
        home.service().extend("staging", 60, ADA, "")
    world.clock.move(120 * 3600)
    home.service().advance()
    assert name not in world.delivery().environments


def test_a_repository_that_cannot_be_read_ends_nothing(home: _Home) -> None:
    """The previews stay, with the reason and since when."""
    world = home.world
    home.push("feature/x", world.build("1").revision)
    home.service().advance()
    folder = world.git.path("hello")
    folder.rename(folder.with_name("away"))
    home.service().advance()
    (_version, (expansion,)) = world.records.expansions()
    assert ([reason.code for reason in expansion.reasons], len(expansion.elements)) == (["GENERATOR_FAILED"], 1)
    folder.with_name("away").rename(folder)
    home.service().advance()
    assert world.records.expansions()[1][0].reasons == ()


def test_a_removed_generator_ends_its_previews(home: _Home) -> None:
    """By an owner of setpoint.yaml; the pins go the same way."""
    world, name = home.world, "preview-feature-x"
    home.push("feature/x", world.build("1").revision)
    home.service().advance()
    world.service().advance()
    world.commit("delivery", {}, remove=[PATH], pusher="sam@example.com")
    for _ in range(3):
        home.service().advance()
    assert name not in world.delivery().environments
    assert world.pinned(name) is None
    assert world.records.expansions()[1] == ()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"like: staging", b"like: prod", "SP588"),
        (b"like: staging", b"like: none", "SP588"),
        (b'  ports: "7600-7602"\n', b"", "SP596"),
        (b'"7600-7602"', b'"7500-7502"', "SP535"),
        (b'"7600-7602"', b'"80-90"', "SP585"),
        (b"ttl: 2d", b"applications: [mail]", "SP595"),
        (b"ttl: 2d", b'pushers: ["team:nobody"]', "SP595"),
        (b"ttl: 2d", b'each: {url: "https://${name}.example.com"}', "SP596"),
        (b"ttl: 2d", b'each: {host: "${branch}.example.com"}', "SP585"),
        (b'"feature/*"', b'"../x"', "SP585"),
    ],
)
def test_what_cannot_be_a_preview_is_a_finding(world: World, old: bytes, new: bytes, code: str) -> None:
    """A template that comes after another, ports that somebody has, people who are nobody."""
    with pytest.raises(ConfigError) as caught:
        world.reader.governed("delivery", world.commit("delivery", {**DELIVERY, PATH: TEXT.replace(old, new)}))
    assert code in {finding.code for finding in caught.value.findings}
