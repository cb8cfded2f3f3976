"""Which candidate comes next: pure selection from builds, configuration, pins and quarantines."""

from dataclasses import replace

from setpoint.core.reasons import Outcome
from setpoint.promotion.model import Candidate, PinnedArtifact, Quarantine
from setpoint.promotion.propose import Build, Proposal, ProposalFacts, Upstream, propose


def _build(version: str) -> Build:
    return Build({"web": PinnedArtifact("hello/web", "sha256:" + version * 64)}, version * 40, version)


ONE, TWO, THREE = (_build(version) for version in "123")
FACTS = ProposalFacts("web", "prod", True, ONE, (), None, None, "a" * 40, "e" * 40, ())


def _candidate(build: Build, app_tree: str = "a" * 40, environment_tree: str | None = "e" * 40) -> Candidate:
    return Candidate("web", "prod", build.artifacts, app_tree, environment_tree)


def _barred(candidate: Candidate) -> Quarantine:
    digests = {name: artifact.digest for name, artifact in candidate.artifacts.items()}
    trees = (candidate.app_tree, candidate.environment_tree)
    return Quarantine("prod", "web", candidate.digest, digests, trees, "2026-11-23T06:00:00.000Z", "operator", "bad")


def _pinned(facts: ProposalFacts, build: Build, candidate: Candidate | None = None) -> ProposalFacts:
    return replace(facts, pinned=candidate or _candidate(build), pinned_build=build)


def _codes(proposal: Proposal) -> list[str]:
    return [reason.code for reason in proposal.reasons]


def test_a_new_artifact_is_paired_with_the_configuration_at_head() -> None:
    """The newest build and both trees at HEAD make the candidate, with the build's revision and version."""
    proposal = propose(_pinned(replace(FACTS, build=TWO, app_tree="b" * 40), ONE))
    assert (proposal.candidate, proposal.build) == (_candidate(TWO, "b" * 40), TWO)


def test_a_configuration_commit_is_a_candidate_with_the_pinned_digests() -> None:
    """Only the overlay changed: same artifacts, new tree."""
    proposal = propose(_pinned(replace(FACTS, environment_tree="f" * 40), ONE))
    assert proposal.candidate == _candidate(ONE, environment_tree="f" * 40)


def test_before_the_first_artifact_nothing_is_proposed() -> None:
    """NO_ARTIFACT waits; it denies nothing."""
    proposal = propose(replace(FACTS, build=None))
    assert (proposal.candidate, _codes(proposal), proposal.reasons[0].outcome) == (None, ["NO_ARTIFACT"], Outcome.WAIT)


def test_an_application_without_artifacts_of_its_own_is_promoted_by_configuration() -> None:
    """Outside images only: the candidate has no artifact."""
    proposal = propose(replace(FACTS, wants_artifacts=False, build=None))
    assert proposal.candidate == Candidate("web", "prod", {}, "a" * 40, "e" * 40)


def test_without_any_configuration_there_is_nothing_to_propose() -> None:
    """An application without a folder anywhere is not configured here."""
    proposal = propose(replace(FACTS, app_tree=None, environment_tree=None))
    assert proposal.candidate is None
    assert proposal.reasons[0].outcome is Outcome.WAIT


def test_what_is_pinned_is_not_proposed_again() -> None:
    """A candidate equal to the pin starts nothing."""
    proposal = propose(_pinned(FACTS, ONE))
    assert (proposal.candidate, _codes(proposal), proposal.reasons[0].outcome) == (None, ["PINNED"], Outcome.ALLOW)


def test_downstream_takes_what_upstream_has_pinned() -> None:
    """Digests and the application's tree come from upstream, not from HEAD; the environment's own tree comes from HEAD."""
    upstream = Upstream("staging", replace(_candidate(ONE), environment="staging", environment_tree="9" * 40), ONE)
    proposal = propose(replace(FACTS, build=TWO, app_tree="b" * 40, upstreams=(upstream,)))
    assert (proposal.candidate, proposal.build) == (_candidate(ONE), ONE)


def test_downstream_waits_for_an_empty_upstream() -> None:
    """Nothing pinned upstream is nothing to propose."""
    proposal = propose(replace(FACTS, upstreams=(Upstream("staging", None, None),)))
    assert (proposal.candidate, _codes(proposal)) == (None, ["UPSTREAM_EMPTY"])


def test_a_barred_candidate_is_not_proposed() -> None:
    """After a rollback from 2 to 1, 2 stays out and the reason says who barred it."""
    proposal = propose(_pinned(replace(FACTS, build=TWO, quarantines=(_barred(_candidate(TWO)),)), ONE))
    assert (proposal.candidate, _codes(proposal)) == (None, ["QUARANTINED"])
    assert proposal.reasons[0].fix == "setpoint promote web --to prod --lift"


def test_newer_configuration_moves_on_with_the_pinned_digests_while_the_build_is_barred() -> None:
    """The barred build does not come back with another overlay; the overlay comes with the build that runs."""
    facts = replace(FACTS, build=TWO, environment_tree="f" * 40, quarantines=(_barred(_candidate(TWO)),))
    proposal = propose(_pinned(facts, ONE))
    assert (proposal.candidate, proposal.build) == (_candidate(ONE, environment_tree="f" * 40), ONE)
    assert _codes(proposal) == ["QUARANTINED"]


def test_a_newer_build_is_proposed_although_an_older_one_is_barred() -> None:
    """3 comes although 2 was sent back, under the same configuration."""
    proposal = propose(_pinned(replace(FACTS, build=THREE, quarantines=(_barred(_candidate(TWO)),)), ONE))
    assert proposal.candidate == _candidate(THREE)


def test_barred_configuration_stays_out_and_newer_configuration_comes() -> None:
    """After a rollback of an overlay alone, exactly that overlay is out; the next one is proposed with the same build."""
    barred = _barred(_candidate(ONE, environment_tree="f" * 40))
    facts = _pinned(replace(FACTS, environment_tree="f" * 40, quarantines=(barred,)), ONE)
    assert propose(facts).candidate is None
    assert propose(replace(facts, environment_tree="9" * 40)).candidate == _candidate(ONE, environment_tree="9" * 40)


def test_lifting_the_quarantine_proposes_the_build_again() -> None:
    """Without a quarantine in force the newest build is the candidate."""
    assert propose(_pinned(replace(FACTS, build=TWO), ONE)).candidate == _candidate(TWO)


def test_downstream_keeps_its_own_application_tree_while_the_build_is_barred() -> None:
    """Upstream's newer application tree does not slip in beside a barred build."""
    upstream = Upstream("staging", replace(_candidate(TWO, "b" * 40), environment="staging"), TWO)
    quarantines = (_barred(_candidate(TWO, "b" * 40)),)
    facts = replace(FACTS, upstreams=(upstream,), environment_tree="f" * 40, quarantines=quarantines)
    assert propose(_pinned(facts, ONE)).candidate == _candidate(ONE, environment_tree="f" * 40)
