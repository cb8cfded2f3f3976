"""The decision what stays: every reason keeps what it is for, and nothing but what Setpoint wrote and nobody needs goes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from setpoint.artifact.model import ArtifactRecord
from setpoint.core import canonical, clock
from setpoint.evidence.candidate import candidate_digest
from setpoint.evidence.model import PROVENANCE, Document, EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.promotion.model import Candidate, PinnedArtifact, Promotion, PromotionState
from setpoint.reconcile.model import Deployment, Health
from setpoint.reconcile.prune.model import Inventory
from setpoint.retention.claims import claims
from setpoint.retention.decide import plan
from setpoint.retention.model import Blob, Facts, Kind, Manifest, PastRun, Plan, Registry, Rules, Thing
from setpoint.rollout.model import Phase, Rollout, Side

NOW = datetime(2026, 11, 25, 6, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=90), NOW - timedelta(hours=1)
RULES = Rules(versions=2, days=30)
EMPTY = Facts((), (), (), (), (), (), (), (), {}, {}, {})


def _digest(name: str) -> str:
    return "sha256:" + name.encode().hex().ljust(64, "0")


def _record(number: int, at: datetime = OLD) -> ArtifactRecord:
    """Return the build of version `number`."""
    built = clock.to_text(at)
    return ArtifactRecord(
        "hello", "web", "hello/web", _digest(f"m{number}"), 9, f"r-{number}", "c" * 40, str(number), built, (), "", "host"
    )


def _promotion(number: int, state: PromotionState, at: datetime = OLD) -> Promotion:
    candidate = Candidate("web", "prod", {"web": PinnedArtifact("hello/web", _digest(f"m{number}"))}, "1" * 40, str(number))
    text = clock.to_text(at)
    made = Promotion(f"p-{number}", "advance", candidate, "hello", f"rev{number}", str(number), "d", "d", "e", "b", "setpoint", text, state)
    if state is not PromotionState.PINNED:
        return made
    return replace(made, pin_commit=f"commit{number}", pinned_at=clock.to_text(at + timedelta(seconds=number)))


def _image(number: int, at: datetime = OLD, tags: tuple[str, ...] | None = None) -> Manifest:
    names = (str(number),) if tags is None else tags
    return Manifest("hello/web", _digest(f"m{number}"), at.timestamp(), (_digest(f"c{number}"), _digest(f"l{number}")), (), "", names)


def _registry(*manifests: Manifest, at: datetime = OLD) -> Registry:
    """Return a registry that holds these manifests and all they name, 100 bytes each."""
    links: dict[str, frozenset[str]] = {}
    for item in manifests:
        links[item.repository] = links.get(item.repository, frozenset()) | frozenset(item.blobs)
    times = {item.digest: item.used_at for item in manifests}
    names = dict.fromkeys([*times, *(blob for found in links.values() for blob in found)])
    return Registry(manifests, tuple(Blob(name, 100, times.get(name, at.timestamp())) for name in names), links)


def _plan(registry: Registry, facts: Facts, things: dict[Kind, tuple[Thing, ...]] | None = None, rules: Rules = RULES) -> Plan:
    return plan(registry, things or {}, claims(facts, rules, NOW), facts, (rules, NOW))


def _gone(found: Plan, kind: Kind) -> set[str]:
    return {item.name for item in found.of(kind)}


BUILT = tuple(_record(number) for number in (4, 3, 2, 1))
"""Newest first: with two versions kept, 1 and 2 are beyond the rule."""
SIDE = Side("p-1", "commit1", "1", {})
WHY = {
    "pinned at HEAD": replace(EMPTY, pinned={_digest("m1"): "pinned for web in prod"}),
    "a replica runs it": replace(EMPTY, running={_digest("m1"): "replica web-1"}),
    "an open promotion": replace(EMPTY, promotions=(_promotion(1, PromotionState.OPEN),)),
    "a decided promotion": replace(EMPTY, promotions=(_promotion(1, PromotionState.DECIDED),)),
    "a young promotion": replace(EMPTY, promotions=(_promotion(1, PromotionState.DENIED, NEW),)),
    "a rollback may go to it": replace(EMPTY, promotions=(_promotion(1, PromotionState.PINNED),)),
    "its run goes on": replace(EMPTY, runs=(PastRun("r-1", "hello", clock.to_text(OLD), None),)),
    "the last rollout": replace(
        EMPTY,
        promotions=tuple(_promotion(n, PromotionState.PINNED) for n in (4, 3, 2, 1)),
        rollouts=(Rollout("ro", "web", "prod", "rolling", Phase.ROLLING, SIDE, None, "", ""),),
    ),
    "a hold's target": replace(
        EMPTY,
        promotions=tuple(_promotion(n, PromotionState.PINNED) for n in (4, 3, 2, 1)),
        holds=(Hold("hold-1", "rollback", "prod", "web", "operator", "bad", "", target="commit1"),),
    ),
    "an inventory": replace(
        EMPTY,
        promotions=tuple(_promotion(n, PromotionState.PINNED) for n in (4, 3, 2, 1)),
        inventories=(Inventory("web", "prod", {"Deployment/web": "commit1"}),),
    ),
    "deployed": replace(
        EMPTY,
        promotions=tuple(_promotion(n, PromotionState.PINNED) for n in (4, 3, 2, 1)),
        deployments=(Deployment("web", "prod", "p-1", "commit1", Health.HEALTHY, ""),),
    ),
}


@pytest.mark.parametrize("why", WHY)
def test_whatever_somebody_may_need_stays_whole(why: str) -> None:
    """Each reason alone keeps manifest and layers of an old version, which go without it."""
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)))
    assert _gone(_plan(registry, replace(EMPTY, artifacts=BUILT)), Kind.MANIFEST) >= {_digest("m1")}
    found = _plan(registry, replace(WHY[why], artifacts=BUILT))
    assert _digest("m1") not in _gone(found, Kind.MANIFEST)
    assert not {_digest("c1"), _digest("l1"), _digest("m1")} & _gone(found, Kind.BLOB)


def test_the_newest_versions_and_the_young_ones_stay_and_the_rest_goes_with_its_bytes() -> None:
    """Versions 3 and 4 are the newest two; 2 is young enough under a longer rule; 1 goes, its build's own tag notwithstanding."""
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)))
    facts = replace(EMPTY, artifacts=(*BUILT[:2], _record(2, NOW - timedelta(days=29)), _record(1)))
    found = _plan(registry, facts)
    assert _gone(found, Kind.MANIFEST) == {_digest("m1")}
    assert _gone(found, Kind.BLOB) == {_digest("m1"), _digest("c1"), _digest("l1")}
    assert set(found.unlinked) == {("hello/web", _digest("c1")), ("hello/web", _digest("l1"))}
    assert found.size_bytes == 300
    assert found.keeping["blobs"].count == 9


def test_what_ever_was_pinned_keeps_manifest_config_and_evidence_and_loses_its_layers() -> None:
    """Beyond the rule a pin's bytes go; everything that verifies it stays, its candidate and statements too."""
    pins = tuple(_promotion(number, PromotionState.PINNED) for number in (4, 3, 2, 1))
    evidence = Manifest("hello/web", _digest("e1"), OLD.timestamp(), (_digest("ec"), _digest("eb")), (), _digest("m1"))
    name = candidate_digest(canonical.dumps(pins[3].candidate.content()))
    candidate = Manifest("candidates/web", name, OLD.timestamp(), (_digest("cc"), _digest("cl")))
    gate = Manifest("candidates/web", _digest("g1"), OLD.timestamp(), (_digest("ec"), _digest("gb")), (), name)
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)), evidence, candidate, gate)
    found = _plan(registry, replace(EMPTY, artifacts=BUILT, promotions=pins))
    assert not _gone(found, Kind.MANIFEST)
    assert _gone(found, Kind.BLOB) == {_digest("l1"), _digest("l2")}


def test_evidence_goes_with_a_version_that_was_never_pinned() -> None:
    """A referrer, Setpoint's or a person's, stays or goes with its subject."""
    evidence = Manifest("hello/web", _digest("e1"), OLD.timestamp(), (_digest("eb"),), (), _digest("m1"))
    record = EvidenceRecord(PROVENANCE, _digest("eb"), _digest("e1"), "hello/web", _digest("m1"), "PASSED")
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)), evidence)
    found = _plan(registry, replace(EMPTY, artifacts=BUILT, evidence=(record,)))
    assert {_digest("e1"), _digest("m1")} <= _gone(found, Kind.MANIFEST)
    assert _digest("eb") in _gone(found, Kind.BLOB)


def test_the_evidence_of_a_commit_stays_while_its_revision_was_pinned_or_its_run_stays() -> None:
    """It has no subject in the registry, so it stays by what the journal says of it."""
    records = tuple(
        EvidenceRecord(PROVENANCE, _digest("b"), _digest(f"e{name}"), "hello", f"gitCommit:{name}", "FAILED", run=f"r-{name}")
        for name in ("rev1", "kept", "lost")
    )
    manifests = tuple(Manifest("hello", record.manifest, OLD.timestamp(), (_digest("b"),)) for record in records)
    runs = (PastRun("r-kept", "hello", "", clock.to_text(OLD)),)
    pins = (_promotion(1, PromotionState.PINNED),)
    found = _plan(_registry(*manifests), replace(EMPTY, evidence=records, runs=runs, promotions=pins))
    assert _gone(found, Kind.MANIFEST) == {_digest("elost")}


def test_the_original_of_a_report_goes_and_stays_with_the_statement_about_it() -> None:
    """Setpoint put it there, so it takes it away: with the artifact, or, about a commit, with the bundle."""
    original = Document(_digest("od"), 9, "application/sarif+json", "scan.sarif", _digest("om"))
    lying = Manifest("hello/web", _digest("om"), OLD.timestamp(), (_digest("od"),), (), _digest("m1"))
    record = EvidenceRecord(PROVENANCE, _digest("eb"), _digest("e1"), "hello/web", _digest("m1"), "PASSED", document=original)
    found = _plan(_registry(*(_image(number) for number in (1, 2, 3, 4)), lying), replace(EMPTY, artifacts=BUILT, evidence=(record,)))
    assert (_digest("om") in _gone(found, Kind.MANIFEST), _digest("od") in _gone(found, Kind.BLOB)) == (True, True)
    records = tuple(
        replace(record, subject=f"gitCommit:{name}", run=f"r-{name}", document=replace(original, manifest=_digest(f"o{name}")))
        for name in ("kept", "lost")
    )
    manifests = (Manifest("hello", _digest(f"o{name}"), OLD.timestamp(), (_digest("od"),)) for name in ("kept", "lost"))
    runs = (PastRun("r-kept", "hello", "", clock.to_text(OLD)),)
    assert _gone(_plan(_registry(*manifests), replace(EMPTY, evidence=records, runs=runs)), Kind.MANIFEST) == {_digest("olost")}


def test_what_a_person_pushed_or_tagged_stays() -> None:
    """A foreign manifest stays without a tag; a tag that no build gave keeps an old version, whole."""
    foreign = Manifest("bases/python", _digest("f"), OLD.timestamp(), (_digest("fl"),))
    registry = _registry(_image(1, tags=("1", "keep-me")), _image(2), _image(3), _image(4), foreign)
    found = _plan(registry, replace(EMPTY, artifacts=BUILT))
    assert _gone(found, Kind.MANIFEST) == {_digest("m2")}
    assert _digest("fl") not in _gone(found, Kind.BLOB)


def test_an_index_keeps_its_children_and_a_base_kept_as_a_blob_goes_with_the_last_artifact_on_it() -> None:
    """Children follow their index; an index that lies there as a blob follows the base image that was chosen from it."""
    child = Manifest("shop", _digest("child"), OLD.timestamp(), (_digest("cl"),))
    index = Manifest("shop", _digest("index"), OLD.timestamp(), (), (_digest("child"),), "", ("v1",))
    base = Manifest("hello/web", _digest("base"), OLD.timestamp(), (_digest("bl"),))
    registry = _registry(child, index, base, *(_image(number) for number in (1, 2, 3, 4)))
    blob = Blob(_digest("bi"), 100, OLD.timestamp())
    links = {**registry.links, "hello/web": registry.links["hello/web"] | {_digest("bi")}}
    listed: dict[tuple[str, str], tuple[str, ...]] = {("hello/web", _digest("bi")): (_digest("base"),)}
    registry = replace(registry, blobs=(*registry.blobs, blob), links=links, indexes=listed)
    used = replace(BUILT[0], base=_digest("base"))
    stays = _plan(registry, replace(EMPTY, artifacts=(used, *BUILT[1:])))
    assert not {_digest("base"), _digest("bi"), _digest("bl"), _digest("cl")} & (_gone(stays, Kind.BLOB) | _gone(stays, Kind.MANIFEST))
    goes = _plan(registry, replace(EMPTY, artifacts=(*BUILT[:3], replace(BUILT[3], base=_digest("base")))))
    assert {_digest("base"), _digest("bi"), _digest("bl")} <= _gone(goes, Kind.BLOB)
    assert _digest("cl") not in _gone(goes, Kind.BLOB)


def test_a_base_in_a_person_s_own_repository_stays_and_only_the_copy_beside_the_artifact_goes() -> None:
    """A person may push a base by digest alone; that a build copied it gives Setpoint no right to theirs."""
    theirs, copy = (Manifest(name, _digest("base"), OLD.timestamp(), (_digest("bl"),)) for name in ("bases/python", "hello/web"))
    registry = _registry(theirs, copy, *(_image(number) for number in (1, 2, 3, 4)))
    found = _plan(registry, replace(EMPTY, artifacts=(*BUILT[:3], replace(BUILT[3], base=_digest("base")))))
    assert {item.repository for item in found.of(Kind.MANIFEST) if item.name == _digest("base")} == {"hello/web"}
    assert not {_digest("base"), _digest("bl")} & _gone(found, Kind.BLOB)


def test_nothing_that_was_written_or_used_within_a_day_goes() -> None:
    """A push may be in flight: fresh manifests keep all they name, fresh blobs stay without any manifest."""
    registry = _registry(_image(1, NEW), _image(2), _image(3), _image(4))
    loose, old = Blob(_digest("up"), 5, NEW.timestamp()), Blob(_digest("left"), 5, OLD.timestamp())
    links = {**registry.links, "other": frozenset({_digest("up"), _digest("left")})}
    registry = replace(registry, blobs=(*registry.blobs, loose, old), links=links)
    found = _plan(registry, replace(EMPTY, artifacts=BUILT))
    assert _gone(found, Kind.MANIFEST) == {_digest("m2")}
    assert _digest("left") in _gone(found, Kind.BLOB)
    assert not {_digest("up"), _digest("l1")} & _gone(found, Kind.BLOB)


def test_bytes_that_another_repository_needs_stay_there_and_only_the_link_goes() -> None:
    """Blobs are shared: a link goes with its manifest, the bytes with the last link."""
    copy = Manifest("mirror", _digest("copy"), OLD.timestamp(), (_digest("c1"), _digest("l1")))
    registry = _registry(copy, *(_image(number) for number in (1, 2, 3, 4)))
    found = _plan(registry, replace(EMPTY, artifacts=BUILT))
    assert ("hello/web", _digest("l1")) in found.unlinked
    assert _digest("l1") not in _gone(found, Kind.BLOB)


def test_cached_results_go_by_last_use_and_content_with_the_last_that_names_it() -> None:
    """Content stays for a run that stays, for a cached result that stays, and for a day after its last use."""
    names = ("run", "cached", "expired", "fresh")
    content = tuple(Thing(_digest(name), 7, (NEW if name == "fresh" else OLD).timestamp()) for name in names)
    cache = (
        Thing("a", 1, (NOW - timedelta(days=13)).timestamp(), (_digest("cached"),)),
        Thing("b", 1, (NOW - timedelta(days=15)).timestamp(), (_digest("expired"),)),
    )
    runs = (PastRun("r-1", "hello", "", clock.to_text(OLD)),)
    facts = replace(EMPTY, runs=runs, outputs={"r-1": frozenset({_digest("run")}), "r-0": frozenset({_digest("expired")})})
    found = _plan(_registry(), facts, {Kind.CACHE: cache, Kind.CONTENT: content})
    assert _gone(found, Kind.CACHE) == {"b"}
    assert _gone(found, Kind.CONTENT) == {_digest("expired")}


def test_logs_go_by_the_end_of_their_run_and_images_and_renders_by_their_last_use() -> None:
    """An open run's log stays however old, a log of no run goes when it is old; an image that is pinned or runs stays."""
    ends = {"open": None, "young": NOW - timedelta(days=29), "old": OLD}
    runs = tuple(PastRun(name, "hello", "", clock.to_text(end) if end else None) for name, end in ends.items())
    logs = tuple(Thing(name, 3, OLD.timestamp()) for name in (*ends, "nobody"))
    images = tuple(Thing(_digest(name)[7:], 3, OLD.timestamp()) for name in ("pinned", "runs", "idle"))
    facts = replace(EMPTY, runs=runs, pinned={_digest("pinned"): ""}, running={_digest("runs"): ""})
    renders = (Thing("aa/old", 3, OLD.timestamp()), Thing("aa/used", 3, (NOW - timedelta(days=13)).timestamp()))
    found = _plan(_registry(), facts, {Kind.LOG: logs, Kind.IMAGE: images, Kind.RENDER: renders})
    assert _gone(found, Kind.RENDER) == {"aa/old"}
    assert _gone(found, Kind.LOG) == {"old", "nobody"}
    assert _gone(found, Kind.IMAGE) == {_digest("idle")[7:]}


def test_two_versions_stay_whatever_the_rules_say() -> None:
    """A rule of no versions and no days would leave nothing to roll back to."""
    pins = tuple(_promotion(number, PromotionState.PINNED) for number in (4, 3, 2, 1))
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)))
    found = _plan(registry, replace(EMPTY, artifacts=BUILT, promotions=pins), rules=Rules(versions=0, days=0))
    assert _gone(found, Kind.BLOB) == {_digest("l1"), _digest("l2")}


def test_going_to_and_fro_between_two_takes_no_other_version_its_place() -> None:
    """Of three that were pinned, the oldest may be gone back to under a rule of three, however often the others came and went."""
    order = (3, 2, 3, 2, 3, 2, 1)
    pins = tuple(
        replace(_promotion(number, PromotionState.PINNED), promotion=f"p-{place}", pinned_at=clock.to_text(OLD - timedelta(days=place)))
        for place, number in enumerate(order)
    )
    registry = _registry(*(_image(number) for number in (1, 2, 3, 4)))
    facts = replace(EMPTY, artifacts=BUILT, promotions=pins)
    assert _gone(_plan(registry, facts, rules=Rules(versions=3, days=0)), Kind.BLOB) == set()
    assert _gone(_plan(registry, facts, rules=Rules(versions=2, days=0)), Kind.BLOB) == {_digest("l1")}
