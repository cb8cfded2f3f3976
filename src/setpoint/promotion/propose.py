"""Which candidate an environment should get next: pure selection from what was built, what is pinned and what is configured.

Called by the promotion service for every application and environment on every pass. A new artifact is paired with the configuration at
HEAD; where the newest artifact is barred by a quarantine, configuration moves on with the pinned digests; only a rollback moves back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from setpoint.core import clock, names
from setpoint.core.reasons import Outcome, Reason
from setpoint.promotion.model import Candidate, PinnedArtifact, Quarantine


@dataclass(frozen=True, slots=True)
class Build:
    """The newest artifacts of an application's source: by first-parent position of the newest revision that built them."""

    artifacts: dict[str, PinnedArtifact]
    revision: str
    version: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """What an environment of `after:` has pinned, with the revision and version behind it."""

    environment: str
    candidate: Candidate | None
    build: Build | None


@dataclass(frozen=True, slots=True)
class ProposalFacts:
    """Everything the choice looks at."""

    app: str
    environment: str
    wants_artifacts: bool
    build: Build | None
    upstreams: Sequence[Upstream]
    pinned: Candidate | None
    pinned_build: Build | None
    app_tree: str | None
    environment_tree: str | None
    quarantines: Sequence[Quarantine]
    includes: Mapping[str, str | None] = field(default_factory=dict)
    """folder of `includes:` -> its tree at HEAD; None when there is no such folder"""
    older: str = ""
    """What the first upstream has that is older than what is pinned here, by its place on the branch: only a rollback moves back."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The candidate to promote next (None: nothing to do) and why."""

    candidate: Candidate | None
    build: Build | None
    reasons: tuple[Reason, ...]


def propose(facts: ProposalFacts) -> Proposal:
    """Return the next candidate for an application in an environment, or why there is none."""
    if facts.app_tree is None and facts.environment_tree is None:
        wanted = f"apps/{facts.app}/ or environments/{facts.environment}/{facts.app}/ in the delivery repository"
        return _nothing("NO_CONFIGURATION", "configuration", "the application has no manifests", wanted)
    if facts.upstreams:
        return _from_upstream(facts)
    if facts.wants_artifacts and facts.build is None:
        return _nothing("NO_ARTIFACT", "artifact", "no run of the source has built one yet", "a green run", "setpoint runs")
    lacking = sorted(path for path, tree in facts.includes.items() if tree is None)
    if lacking:
        fix = f"add it, or take it out of `includes:` of `{facts.app}` in setpoint.yaml"
        return _nothing(
            "INCLUDE_MISSING", "configuration", f"there is no folder {', '.join(lacking)} at HEAD", "every included folder", fix
        )
    build = facts.build or Build({}, "", "")
    candidate = Candidate(facts.app, facts.environment, build.artifacts, facts.app_tree, facts.environment_tree, _there(facts.includes))
    return _settle(facts, candidate, build)


def _from_upstream(facts: ProposalFacts) -> Proposal:
    first = facts.upstreams[0]
    if first.candidate is None or first.build is None:
        return _nothing("UPSTREAM_EMPTY", f"after {first.environment}", "nothing is pinned there yet", "a pinned candidate")
    if facts.older:
        wanted = "the same or something newer; only a rollback moves back"
        fix = f"setpoint rollback {facts.app} {facts.environment}"
        return _nothing("MOVES_BACK", f"after {first.environment}", f"{first.environment} has {facts.older}", wanted, fix)
    candidate = replace(first.candidate, environment=facts.environment, environment_tree=facts.environment_tree)
    return _settle(facts, candidate, first.build)


def _settle(facts: ProposalFacts, candidate: Candidate, build: Build) -> Proposal:
    """Drop what is pinned already; step around what is quarantined."""
    barred = _already_barred(candidate, facts.quarantines)
    if barred is not None:
        since = f"barred since {clock.spoken(barred.since)} by {names.actor(barred.by)}: {barred.why}"
        reason = Reason(
            "QUARANTINED",
            Outcome.DENY,
            "quarantine",
            f"{build.version or 'the newest candidate'} is {since}",
            "a newer candidate, or a person who lifts it",
            f"setpoint promote {facts.app} --to {facts.environment} --lift",
        )
        if facts.pinned is None or facts.pinned_build is None or candidate.trees == tuple(barred.trees):
            return Proposal(None, None, (reason,))
        base = facts.pinned if facts.upstreams else candidate
        candidate = replace(facts.pinned, app_tree=base.app_tree, environment_tree=facts.environment_tree, includes=base.includes)
        build = facts.pinned_build
        if candidate == facts.pinned or quarantine_of(candidate, facts.quarantines) is not None:
            return Proposal(None, None, (reason,))
        return Proposal(candidate, build, (reason,))
    if candidate == facts.pinned:
        reason = Reason("PINNED", Outcome.ALLOW, "candidate", f"{build.version or 'the configuration at HEAD'} is pinned: nothing newer")
        return Proposal(None, None, (reason,))
    return Proposal(candidate, build, ())


def _there(includes: Mapping[str, str | None]) -> dict[str, str]:
    return {path: tree for path, tree in includes.items() if tree is not None}


def quarantine_of(candidate: Candidate, quarantines: Sequence[Quarantine]) -> Quarantine | None:
    """Return the quarantine that bars exactly this candidate (digests plus trees), or one of its digests as such, if one is in force."""
    digests = {artifact.digest for artifact in candidate.artifacts.values()}
    return next((q for q in quarantines if q.candidate == candidate.digest or (q.bare and q.candidate in digests)), None)


def _already_barred(candidate: Candidate, quarantines: Sequence[Quarantine]) -> Quarantine | None:
    """Return the quarantine of this candidate, or of the same build under other configuration: a build that was sent back is not new."""
    digests = {name: artifact.digest for name, artifact in candidate.artifacts.items()}
    same_build = (barred for barred in quarantines if digests and barred.artifacts == digests)
    return quarantine_of(candidate, quarantines) or next(same_build, None)


def _nothing(code: str, subject: str, found: str, wanted: str, fix: str = "") -> Proposal:
    return Proposal(None, None, (Reason(code, Outcome.WAIT, subject, found, wanted, fix),))
