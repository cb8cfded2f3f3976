"""Generators in a home: in force by their owners only, journalled when they change, and found again from the journal alone."""

from typing import Any, cast

import pytest

from setpoint.core.errors import ConfigError, ConflictError, NotAllowedError, NotFoundError
from setpoint.promotion.generators.service import GeneratorParts, Generators
from unit.builders_home import ADA, DELIVERY, OPERATOR, SAM, SETPOINT, World

SERVICES = b"""apiVersion: setpoint.dev/v1alpha1
kind: Generator
applications:
  folders: ["apps/*"]
  exclude: ["apps/web"]
  each: {environments: [staging]}
"""
EDGE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Generator
environments: {clusters: {fleet: edge}, like: base}
"""
BASE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {kubernetes: {cluster: one, namespace: shop, registry: registry.example.com}}
owners: ["team:dev"]
gates: {approvals: {required: 1, from: ["team:sre"]}}
"""
PATH = "generators/services.yaml"
FILES = {**DELIVERY, PATH: SERVICES, "apps/api/app.yaml": b"api", "apps/db/app.yaml": b"db"}


def _nothing() -> tuple[Any, Any]:
    """Return what only previews need."""
    return cast("Any", None), cast("Any", None)


class _Generating:
    def __init__(self, world: World) -> None:
        self.world = world
        self.clusters: dict[str, dict[str, str]] = {}
        self.occupied: set[str] = set()

    def service(self) -> Generators:
        world = self.world
        parts = GeneratorParts(
            world.reader, world.records, world.recorder, lambda: self.clusters, lambda: self.occupied, world.clock, world.git, *_nothing()
        )
        return Generators(parts)

    def apps(self) -> list[str]:
        self.service().advance()
        return list(self.world.delivery().setpoint.apps)


@pytest.fixture
def made(world: World) -> _Generating:
    """A home whose delivery repository has a generator."""
    world.register(FILES)
    return _Generating(world)


def test_folders_come_and_go_at_head_and_an_unchanged_world_is_no_entry(made: _Generating) -> None:
    """A folder that anybody pushes becomes an application; one that goes leaves within the budget; nothing else is written."""
    world = made.world
    assert made.apps() == ["web", "api", "db"]
    assert made.apps() == ["web", "api", "db"]
    assert world.kinds().count("generator.expanded") == 1
    world.commit("delivery", {"apps/mail/app.yaml": b"mail"})
    assert made.apps() == ["web", "api", "db", "mail"]
    world.commit("delivery", {}, remove=["apps/db/app.yaml"])
    assert made.apps() == ["web", "api", "mail"]
    assert world.kinds().count("generator.expanded") == 3


def test_what_was_made_runs_where_it_says_and_gets_pins_like_any_other(made: _Generating) -> None:
    """The generated application is promoted to staging and nowhere else; a question about another place is answered with where it runs."""
    made.apps()
    world, service = made.world, made.world.service()
    service.advance()
    assert world.pinned("staging", "api") is not None
    assert world.pinned("prod", "api") is None
    assert world.records.promotions("api", "prod") == []
    with pytest.raises(NotFoundError, match="SP591"):
        service.explain("api", "prod")


def test_a_strangers_generator_and_a_strangers_change_are_not_in_force(made: _Generating) -> None:
    """Law 9: only owners of setpoint.yaml; meanwhile the accepted file makes what it made."""
    made.apps()
    world = made.world
    world.commit(
        "delivery", {PATH: SERVICES.replace(b"exclude", b"folders_").replace(b"folders_: [", b"exclude: [")}, pusher="ada@example.com"
    )
    world.commit("delivery", {PATH: SERVICES.replace(b"[staging]", b"[prod]")}, pusher="ada@example.com")
    assert {reason.code for reason in world.delivery().pending} == {"NOT_ACCEPTED"}
    assert made.apps() == ["web", "api", "db"]
    assert world.delivery().runs("api", "staging")
    assert not world.delivery().runs("api", "prod")
    world.commit("delivery", {PATH: SERVICES}, pusher="sam@example.com")
    world.commit("delivery", {PATH: SERVICES.replace(b"[staging]", b"[prod]")}, pusher="sam@example.com")
    made.apps()
    assert world.delivery().runs("api", "prod")


def test_a_broken_file_at_head_is_not_in_force_and_takes_nothing_away(made: _Generating) -> None:
    """What cannot be read is told with its place; the version before stays, and so does all that it made."""
    made.apps()
    world = made.world
    world.commit("delivery", {PATH: b"kind: [\n"}, pusher="sam@example.com")
    (reason,) = world.delivery().pending
    assert (reason.code, reason.subject.partition(":")[0]) == ("FAULTY", PATH)
    assert made.apps() == ["web", "api", "db"]


def test_all_folders_gone_takes_nothing_away_until_an_owner_says_so(made: _Generating) -> None:
    """The wrong person, the wrong set, the right one; then they leave, and the entry says who said it."""
    made.apps()
    world = made.world
    world.commit("delivery", {}, remove=["apps/api/app.yaml", "apps/db/app.yaml"])
    assert made.apps() == ["web", "api", "db"]
    (_version, (expansion,)) = world.records.expansions()
    assert expansion.held is not None
    assert [reason.code for reason in expansion.reasons] == ["GENERATOR_SHRINKS"]
    service = made.service()
    with pytest.raises(NotAllowedError, match="SP514"):
        service.confirm("services", expansion.held.set, ADA, "")
    with pytest.raises(ConflictError, match="SP593"):
        service.confirm("services", "sha256:0", SAM, "")
    with pytest.raises(NotFoundError, match="SP592"):
        service.confirm("other", expansion.held.set, OPERATOR, "")
    service.confirm("services", expansion.held.set, SAM, "moved away")
    assert made.apps() == ["web"]
    entry = next(entry for entry in world.journal.entries() if entry.kind == "generator.confirmed")
    assert (entry.actor, entry.body["elements"], entry.body["message"]) == ("person:sam@example.com", ["api", "db"], "moved away")
    with pytest.raises(NotFoundError, match="SP592"):
        service.confirm("services", expansion.held.set, SAM, "")


def test_the_database_can_be_deleted(made: _Generating) -> None:
    """Law 4: what was made, and what is held, come back from the journal."""
    made.apps()
    world = made.world
    world.commit("delivery", {}, remove=["apps/api/app.yaml", "apps/db/app.yaml"])
    made.apps()
    before = world.records.expansions()[1]
    world.forget_the_database()
    assert world.records.expansions()[1] == before


def test_a_name_of_two_is_refused_with_both_places(world: World) -> None:
    """By hand and by folder, and by two generators: nothing is in force that would replace something."""
    world.register(FILES)
    both = SERVICES.replace(b'  exclude: ["apps/web"]\n', b"")
    with pytest.raises(ConfigError, match="SP590") as caught:
        world.reader.governed("delivery", world.commit("delivery", {PATH: both}, pusher="sam@example.com"))
    assert "setpoint.yaml:3:" in caught.value.findings[0].what
    assert caught.value.findings[0].path == PATH
    twice = {PATH: SERVICES, "generators/more.yaml": SERVICES}
    with pytest.raises(ConfigError, match="SP590"):
        world.reader.governed("delivery", world.commit("delivery", twice, pusher="sam@example.com"))


def test_a_folder_that_nothing_makes_is_still_a_finding(world: World) -> None:
    """A generator answers for what it matches only."""
    with pytest.raises(ConfigError, match="SP532"):
        world.reader.governed("delivery", world.commit("delivery", {**FILES, PATH: SERVICES.replace(b"apps/*", b"apps/d*")}))


def test_environments_of_clusters_inherit_gates_owners_and_policy(world: World) -> None:
    """A label makes one, with the template's gates and the template's file as its policy; without the label it makes nothing new."""
    world.register({**DELIVERY, "environments/base/environment.yaml": BASE, "generators/edge.yaml": EDGE})
    made = _Generating(world)
    made.clusters = {"eu": {"fleet": "edge"}, "us": {"fleet": "edge"}, "core": {}}
    made.service().advance()
    delivery = world.delivery()
    assert {"edge-eu", "edge-us"} <= set(delivery.environments)
    assert delivery.environments["edge-eu"].gates == delivery.environments["base"].gates
    assert delivery.environments["edge-eu"].owners == ("team:dev",)
    assert world.reader.policy_id(delivery, "edge-eu") == world.reader.policy_id(delivery, "base") != ""
    assert delivery.overlay("edge-eu", "web") == "environments/base/web"
    service = world.service()
    world.build("1")
    service.advance()
    waiting = service.explain("web", "edge-eu")
    assert [reason.code for reason in waiting.verdict.blocking()] == ["APPROVAL_MISSING"]
    made.clusters, made.occupied = {"eu": {"fleet": "edge"}, "us": {}}, {"edge-us"}
    made.service().advance()
    delivery = world.delivery()
    assert "edge-us" in delivery.environments, "what is there can still be removed"
    assert (delivery.apps_in("edge-us"), delivery.apps_in("edge-eu")) == ([], ["web"])
    made.occupied = set()
    made.service().advance()
    assert "edge-us" not in world.delivery().environments


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"generators/edge.yaml": EDGE}, "SP588"),
        ({"generators/edge.yaml": EDGE.replace(b"base", b"staging")}, "SP588"),
        ({"environments/edge-x/environment.yaml": BASE, "environments/base/environment.yaml": BASE, "generators/edge.yaml": EDGE}, "SP590"),
        ({"environments/base/environment.yaml": BASE, "generators/edge.yaml": EDGE, "generators/edge-of.yaml": EDGE}, "SP590"),
        ({PATH: SERVICES.replace(b"[staging]", b"[nowhere]")}, "SP589"),
        ({PATH: SERVICES.replace(b"each: {", b"each: {project: shop, ")}, "SP542"),
        ({"generators/Big.yaml": SERVICES}, "SP585"),
        ({"setpoint.yaml": SETPOINT.replace(b"{source: hello}", b"{source: hello, environments: [prd]}")}, "SP589"),
    ],
)
def test_what_refers_to_nothing_or_could_collide_is_a_finding(world: World, files: dict[str, bytes], code: str) -> None:
    """Names of environments that a generator will make are its own from the start."""
    with pytest.raises(ConfigError) as caught:
        world.reader.governed("delivery", world.commit("delivery", {**DELIVERY, **files}))
    assert code in {finding.code for finding in caught.value.findings}


def test_what_would_be_made_is_shown_before_it_is_in_force(made: _Generating) -> None:
    """The files and folders of any commit, beside what is made now; nothing is written."""
    made.apps()
    world = made.world
    base = world.git.heads("delivery")["main"]
    files = {PATH: SERVICES.replace(b'"apps/*"', b'"apps/*i*"'), "apps/mail/app.yaml": b"m"}
    commit = world.commit("delivery", files, remove=["apps/db/app.yaml"], pusher="ada@example.com")
    entries = len(list(world.journal.entries()))
    (found,) = made.service().shown(commit)
    assert (found.generator, found.makes, found.new, found.gone) == ("services", "applications", ("mail",), ("db",))
    (now,) = made.service().shown(base)
    assert (now.elements, now.new, now.gone, now.reasons) == (("api", "db"), (), (), ())
    assert len(list(world.journal.entries())) == entries


def test_a_generator_that_is_removed_leaves_nothing_of_itself(made: _Generating) -> None:
    """Its applications are no longer in force; what they made is an orphan's, and no entry says that anything was deleted."""
    made.apps()
    world = made.world
    world.commit("delivery", {}, remove=[PATH, "apps/api/app.yaml", "apps/db/app.yaml"], pusher="sam@example.com")
    assert made.apps() == ["web"]
    assert world.records.expansions()[1] == ()
    assert not [kind for kind in world.kinds() if kind.startswith("prune")]
