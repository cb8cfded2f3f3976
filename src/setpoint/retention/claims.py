"""Why manifests and runs stay, apart from what the registry itself says: pure, called by the retention service before `decide.plan`.

Everything that runs, is pinned, may be gone back to, waits for a decision, or is among the newest versions; and, without its layers,
whatever was pinned once (law 4: what happened stays provable).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from setpoint.core import canonical, clock
from setpoint.evidence.candidate import candidate_digest
from setpoint.evidence.model import EvidenceRecord
from setpoint.promotion.model import Promotion, PromotionState
from setpoint.retention.model import Claims, Facts, Rules

_TWO = 2
"""A rollback needs the version before the one that runs, whatever the rules say."""


def claims(facts: Facts, rules: Rules, now: datetime) -> Claims:
    """Return why manifests and runs stay."""
    since = clock.to_text(now - timedelta(days=rules.days))
    limits = (max(rules.versions, _TWO), since)
    whole = {**facts.pinned, **facts.running}
    needed = _needed(facts, limits)
    for promotion in facts.promotions:
        if promotion.promotion in needed:
            for digest in _digests(promotion):
                whole.setdefault(digest, needed[promotion.promotion])
    for digest, why in _newest(facts, limits):
        whole.setdefault(digest, why)
    runs = _runs(facts, limits)
    for record in facts.artifacts:
        if record.digest in whole:
            runs.setdefault(record.run, "it built an artifact that stays")
            if record.base.startswith("sha"):
                whole.setdefault(record.base, "base of an artifact that stays")
    for digest, why in _proofs(facts, runs, since):
        whole.setdefault(digest, why)
    own = {record.digest for record in facts.artifacts} | {manifest for item in facts.evidence for manifest in _manifests(item)}
    own |= {_candidate(promotion) for promotion in facts.promotions}
    bases = frozenset((record.oci_repository, record.base) for record in facts.artifacts if record.base.startswith("sha"))
    tags = frozenset((record.oci_repository, record.version) for record in facts.artifacts)
    return Claims(whole, _records(facts), frozenset(own), runs, tags, bases)


def _newest(facts: Facts, limits: tuple[int, str]) -> Iterator[tuple[str, str]]:
    """Yield (digest, why) of builds that stay whether or not anybody pinned them."""
    count, since = limits
    open_runs = {run.run for run in facts.runs if run.finished_at is None}
    built: dict[str, set[str]] = defaultdict(set)
    for record in facts.artifacts:
        newest = built[record.oci_repository]
        if record.run in open_runs:
            yield record.digest, "its run goes on"
        if record.digest in newest or len(newest) < count:
            newest.add(record.digest)
            yield record.digest, f"one of the newest {count} versions of its artifact"
        if record.built_at >= since:
            yield record.digest, "built lately"


def _candidate(promotion: Promotion) -> str:
    return candidate_digest(canonical.dumps(promotion.candidate.content()))


def _digests(promotion: Promotion) -> tuple[str, ...]:
    return (_candidate(promotion), *(artifact.digest for artifact in promotion.candidate.artifacts.values()))


def _needed(facts: Facts, limits: tuple[int, str]) -> dict[str, str]:
    """Return {promotion: why its bytes stay}."""
    count, since = limits
    needed = dict(_named(facts))
    commits = dict(_commits(facts))
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    """Where -> the candidates that were pinned there, the last first; going to and fro between two takes no other's place."""
    for promotion in sorted(facts.promotions, key=lambda item: item.pinned_at or "", reverse=True):
        place = (promotion.candidate.app, promotion.candidate.environment)
        why = commits.get(promotion.pin_commit, "") if promotion.pin_commit else ""
        if promotion.state in (PromotionState.OPEN, PromotionState.DECIDED):
            why = "its promotion is open"
        elif promotion.pinned_at is not None:
            name = promotion.candidate.digest
            places[place] += [name] if name not in places[place] else []
            if name in places[place][:count] or promotion.pinned_at >= since:
                why = why or f"a rollback in {place[1]} may go to it"
        elif promotion.created_at >= since:
            why = "its promotion is young"
        if why:
            needed.setdefault(promotion.promotion, why)
    return needed


def _named(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield (promotion, why) of those that something in force names."""
    for rollout in facts.rollouts:
        for side in (rollout.new, rollout.stable):
            if side is not None:
                yield side.promotion, f"in the last rollout in {rollout.environment}"
    for deployment in facts.deployments:
        yield deployment.promotion, f"deployed in {deployment.environment}"
    for hold in facts.holds:
        yield hold.promotion, f"{hold.hold} brings it back"


def _commits(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield (pin commit, why) of those that something in force names."""
    for inventory in facts.inventories:
        for commit in inventory.objects.values():
            yield commit, f"objects in {inventory.environment} are from it"
    for deployment in facts.deployments:
        yield deployment.pin_commit, f"deployed in {deployment.environment}"
    for hold in facts.holds:
        yield hold.target, f"{hold.hold} holds {hold.place} at it"


def _runs(facts: Facts, limits: tuple[int, str]) -> dict[str, str]:
    count, since = limits
    kept: dict[str, str] = {}
    seen: dict[str, int] = defaultdict(int)
    for run in facts.runs:
        seen[run.repository] += 1
        if run.finished_at is None:
            kept[run.run] = "it goes on"
        elif seen[run.repository] <= count:
            kept[run.run] = f"one of the newest {count} runs of {run.repository}"
        elif run.finished_at >= since:
            kept[run.run] = "it is young"
    return kept


def _records(facts: Facts) -> dict[str, str]:
    """Return the artifacts that stay without layers: whatever was pinned once stays provable."""
    pinned = [promotion for promotion in facts.promotions if promotion.pinned_at is not None]
    return {digest: f"was pinned in {item.candidate.environment}" for item in pinned for digest in _digests(item)[1:]}


def _proofs(facts: Facts, runs: Mapping[str, str], since: str) -> Iterator[tuple[str, str]]:
    """Yield (manifest, why) of small documents that stay whole: candidates that were pinned, and evidence of commits."""
    pinned = [promotion for promotion in facts.promotions if promotion.pinned_at is not None]
    for promotion in pinned:
        yield _candidate(promotion), f"was pinned in {promotion.candidate.environment}"
    revisions = {promotion.source_revision for promotion in pinned}
    for item in facts.evidence:
        subject = item.subject.removeprefix("gitCommit:")
        if subject != item.subject and (subject in revisions or item.run in runs or item.at >= since):
            for manifest in _manifests(item):
                yield manifest, "evidence of a revision that was pinned, or of a run that stays"


def _manifests(item: EvidenceRecord) -> tuple[str, ...]:
    """Return the manifests of a bundle and of the document that its statement names."""
    return (item.manifest, item.document.manifest) if item.document is not None else (item.manifest,)
