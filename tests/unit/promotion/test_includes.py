"""Folders that an application includes are pinned with it, and count as its own do: for candidates, gates, approvals and quarantines."""

from dataclasses import replace

import pytest

from setpoint.core.errors import ConfigError, UserError
from setpoint.core.reasons import Outcome
from setpoint.promotion import pin
from setpoint.promotion.candidates import Candidates
from setpoint.promotion.config import EVERY_EXCLUSION, parse_setpoint
from setpoint.promotion.model import Candidate, Pin, PinnedArtifact, Quarantine
from setpoint.promotion.people import Exclusions
from setpoint.promotion.propose import Build, ProposalFacts, Upstream, propose
from unit.builders_home import DELIVERY, SETPOINT, World

BUILD = Build({"web": PinnedArtifact("hello/web", "sha256:" + "1" * 64)}, "1" * 40, "1")
CHARTS = {"charts/web": "c" * 40}
BARE = Candidate("web", "prod", BUILD.artifacts, "a" * 40, "e" * 40)
CANDIDATE = replace(BARE, includes=CHARTS)
FACTS = ProposalFacts("web", "prod", True, BUILD, (), None, None, "a" * 40, "e" * 40, (), CHARTS)
INCLUDING = {**DELIVERY, "setpoint.yaml": SETPOINT.replace(b"{source: hello}", b"{source: hello, includes: [charts/web/]}")}


def _setpoint(includes: str) -> tuple[str, ...]:
    text = f"apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\napps: {{web: {{includes: {includes}}}}}\n"
    return parse_setpoint(text.encode()).model.apps["web"].includes


def test_folders_are_listed_from_the_root() -> None:
    """A slash at the end is nothing; several folders are read in any order."""
    assert _setpoint("[charts/web/, environments/base/web-common, lib]") == ("charts/web", "environments/base/web-common", "lib")


@pytest.mark.parametrize(
    ("includes", "code"),
    [
        ("['']", "SP550"),
        ("['.']", "SP550"),
        ("[/]", "SP550"),
        ("[pins]", "SP550"),
        ("[pins/prod]", "SP550"),
        ("[../other]", "SP550"),
        ("[charts/../pins]", "SP550"),
        ("[charts//web]", "SP550"),
        ("[.hidden]", "SP550"),
        ("['charts/*']", "SP550"),
        ("[apps/web]", "SP551"),
        ("[apps]", "SP551"),
        ("[apps/web/base]", "SP551"),
        ("[environments/prod/web]", "SP551"),
        ("[environments/prod]", "SP551"),
        ("[environments]", "SP551"),
        ("[charts, charts/web]", "SP551"),
        ("[charts, charts]", "SP551"),
    ],
)
def test_neither_the_root_nor_the_pins_nor_what_is_read_already(includes: str, code: str) -> None:
    """What holds the pins would change with every pin; what is read twice could only confuse."""
    with pytest.raises(ConfigError) as caught:
        _setpoint(includes)
    assert {finding.code for finding in caught.value.findings} == {code}
    assert caught.value.findings[0].line == 3


def test_a_candidate_without_includes_is_what_it_always_was() -> None:
    """Its canonical JSON, and so its digest, and its pin's bytes do not know of includes; with includes both do."""
    assert b"includes" not in BARE.data()
    assert b"includes" not in pin.render_pin(Pin(BARE, "p-abc", "hello", "3" * 40, "1", "4" * 40))
    assert CANDIDATE.content()["trees"] == {"app": "a" * 40, "environment": "e" * 40, "includes": CHARTS}
    assert CANDIDATE.digest != BARE.digest
    assert not CANDIDATE.same_content(BARE)
    assert not CANDIDATE.same_content(replace(CANDIDATE, includes={"charts/web": "d" * 40}))


def test_a_pin_with_includes_comes_back_as_it_was() -> None:
    """Rendering and parsing are inverse; several folders lie in their order."""
    one = Pin(replace(CANDIDATE, includes={"lib/b": "b" * 40, **CHARTS}), "p-abc", "hello", "3" * 40, "1", "4" * 40)
    data = pin.render_pin(one)
    assert data.index(b"charts/web") < data.index(b"lib/b")
    assert pin.parse_pin(data, "pins/prod/web.yaml") == one
    assert pin.render_pin(pin.parse_pin(data, "pins/prod/web.yaml")) == data


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"charts/web": "', b'"pins/prod": "'),
        (b'"charts/web": "', b'"../web": "'),
        (b'"charts/web": "', b'"charts/web": "x'),
        (b"c" * 40, b"null"),
        (b'    "charts/web": "' + b"c" * 40 + b'"\n', b""),
        (b"  includes:\n", b"  includes: {}\n  other:\n"),
    ],
)
def test_a_hand_on_the_includes_of_a_pin_is_refused(old: bytes, new: bytes) -> None:
    """Another folder, no tree id, an empty list: SP540."""
    data = pin.render_pin(Pin(CANDIDATE, "p-abc", "hello", "3" * 40, "1", "4" * 40))
    assert old in data
    with pytest.raises(UserError, match="SP540"):
        pin.parse_pin(data.replace(old, new, 1), "pins/prod/web.yaml")


def test_a_changed_include_is_a_candidate() -> None:
    """The folder at HEAD goes into the candidate; an equal one starts nothing."""
    assert propose(FACTS).candidate == CANDIDATE
    pinned = replace(FACTS, pinned=CANDIDATE, pinned_build=BUILD)
    assert propose(pinned).candidate is None
    moved = propose(replace(pinned, includes={"charts/web": "d" * 40})).candidate
    assert moved == replace(CANDIDATE, includes={"charts/web": "d" * 40})


def test_a_folder_that_is_not_there_is_waited_for() -> None:
    """Nothing is proposed with a part of what is read missing, and the reason names it."""
    proposal = propose(replace(FACTS, includes={**CHARTS, "lib": None}))
    assert (proposal.candidate, proposal.reasons[0].code, proposal.reasons[0].outcome) == (None, "INCLUDE_MISSING", Outcome.WAIT)
    assert "lib" in proposal.reasons[0].found


def test_downstream_takes_the_includes_that_upstream_has_pinned() -> None:
    """As with the application's tree, not what is at HEAD."""
    upstream = Upstream("staging", replace(CANDIDATE, environment="staging"), BUILD)
    assert propose(replace(FACTS, includes={"charts/web": "d" * 40}, upstreams=(upstream,))).candidate == CANDIDATE


def test_a_quarantine_bars_the_included_tree_and_the_next_one_comes() -> None:
    """The same build with the barred folder stays out; another tree of it is proposed with the digests that are pinned."""
    bad = replace(CANDIDATE, includes={"charts/web": "d" * 40})
    digests = {name: artifact.digest for name, artifact in bad.artifacts.items()}
    barred = Quarantine("prod", "web", bad.digest, digests, bad.trees, "2026-11-23T06:00:00.000Z", "operator", "bad")
    facts = replace(FACTS, pinned=CANDIDATE, pinned_build=BUILD, includes=bad.includes, quarantines=(barred,))
    assert propose(facts).candidate is None
    assert propose(replace(facts, includes={"charts/web": "f" * 40})).candidate == replace(CANDIDATE, includes={"charts/web": "f" * 40})


def _including(world: World) -> None:
    world.register({**INCLUDING, "charts/web/Chart.yaml": b"1"})
    world.build("1")
    world.to_prod(world.service())


def test_a_commit_to_an_included_folder_travels_like_any_other(world: World) -> None:
    """It is pinned in the first environment at once, waits for the approval of the next, and its author cannot give it."""
    _including(world)
    first = world.pinned("staging")
    assert first is not None
    assert first.candidate.includes == {"charts/web": world.git.tree_id("delivery", world.delivery().head, "charts/web")}
    world.commit("delivery", {"charts/web/Chart.yaml": b"2"}, author="pat@example.com", pusher="pat@example.com")
    world.commit("delivery", {"charts/other/Chart.yaml": b"2"}, author="sam@example.com", pusher="sam@example.com")
    service = world.service()
    service.advance()
    second = world.pinned("staging")
    assert second is not None
    assert second.candidate != first.candidate
    assert second.candidate.app_tree == first.candidate.app_tree
    world.healthy("staging")
    service.advance()
    waiting = world.promotions("prod")[-1]
    assert (waiting.state.value, waiting.candidate.includes) == ("open", second.candidate.includes)
    excluded = Exclusions(world.git, world.records).of(
        waiting, world.delivery(), world.reader.pin(world.delivery(), "prod", "web"), EVERY_EXCLUSION
    )
    assert set(excluded) == {"pat"}


def test_who_changed_what_is_included_cannot_approve_it(world: World) -> None:
    """A folder that was there long ago comes in by a line of setpoint.yaml: its author counts."""
    world.register({**DELIVERY, "charts/web/Chart.yaml": b"1"})
    world.commit("delivery", {"charts/web/Chart.yaml": b"2"}, author="pat@example.com", pusher="pat@example.com")
    world.build("1")
    world.to_prod(world.service())
    world.commit("delivery", {"setpoint.yaml": INCLUDING["setpoint.yaml"]}, author="sam@example.com", pusher="sam@example.com")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    waiting = world.promotions("prod")[-1]
    assert waiting.candidate.includes
    excluded = Exclusions(world.git, world.records).of(
        waiting, world.delivery(), world.reader.pin(world.delivery(), "prod", "web"), EVERY_EXCLUSION
    )
    assert {"sam", "pat"} <= set(excluded)


def test_what_was_decided_on_an_included_folder_is_dropped_when_it_moves(world: World) -> None:
    """Law 3: a decision is about HEAD; another tree of an include at HEAD makes the promotion stale."""
    _including(world)
    promotion = world.promotions("staging")[-1]
    candidates = Candidates(world.service()._parts)
    assert candidates.is_current(promotion, world.delivery())
    world.commit("delivery", {"charts/web/Chart.yaml": b"2"}, author="sam@example.com", pusher="sam@example.com")
    assert not candidates.is_current(promotion, world.delivery())


def test_an_include_that_is_a_file_is_no_folder(world: World) -> None:
    """A path that is a file, or gone, is waited for with its name."""
    world.register({**INCLUDING, "charts/web": b"a file"})
    world.build("1")
    assert world.reader.includes(world.delivery(), "web") == {"charts/web": None}
    proposal = Candidates(world.service()._parts).next(world.delivery(), "web", "staging")
    assert [reason.code for reason in proposal.reasons] == ["INCLUDE_MISSING"]


def test_who_pushed_the_including_line_before_the_pin_counts(world: World) -> None:
    """The line lay in the file at the pin and came into force afterwards: nothing changed since, and its author counts."""
    world.register({**DELIVERY, "charts/web/Chart.yaml": b"1"})
    accepted = world.delivery().accepted
    world.build("1")
    world.to_prod(world.service())
    pin = world.reader.pin(world.delivery(), "prod", "web")
    assert pin is not None
    line = world.commit("delivery", {"setpoint.yaml": INCLUDING["setpoint.yaml"]}, author="pat@example.com", pusher="sam@example.com")
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()
    waiting = world.promotions("prod")[-1]
    assert waiting.candidate.includes
    assert accepted != line
    excluded = Exclusions(world.git, world.records).of(waiting, world.delivery(), replace(pin, commit=line), EVERY_EXCLUSION)
    assert "pat" in excluded
