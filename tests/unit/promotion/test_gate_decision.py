"""Gate decisions as pure functions: every reason code, both outcomes, and that the worst wins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from setpoint.core import clock
from setpoint.core.reasons import Outcome, Reason, Verdict
from setpoint.evidence.model import LOCAL_BUILDER, SANDBOXED_BUILDER, ArtifactEvidence
from setpoint.ground.hold.model import Hold
from setpoint.promotion.config import Approvals, Gates
from setpoint.promotion.decide import decide
from setpoint.promotion.model import (
    Approval,
    Candidate,
    CheckResult,
    GateFacts,
    PinnedArtifact,
    PolicyResult,
    Promotion,
    Quarantine,
    RenderFacts,
    UpstreamFacts,
)
from setpoint.promotion.pod_standard import PodFault, PodVerdict

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AT = clock.to_text(NOW)
IMAGE = "sha256:" + "a" * 64
CANDIDATE = Candidate("web", "prod", {"web": PinnedArtifact("hello/web", IMAGE)}, "1" * 40, "2" * 40)
UPSTREAM = UpstreamFacts("staging", replace(CANDIDATE, environment="staging", environment_tree=None), True, AT, "fine")
EVIDENCE = ArtifactEvidence("web", IMAGE, True, SANDBOXED_BUILDER, "c" * 40, 3, 0, 0, "PASSED")
PROMOTION = Promotion("p-1", "advance", CANDIDATE, "hello", "c" * 40, "1", "d" * 40, "d" * 40, "e" * 40, "b", "setpoint", AT)
FACTS = GateFacts(
    candidate=CANDIDATE,
    evidence=(EVIDENCE,),
    upstreams=(),
    checks=(),
    approvals=(),
    binding="b",
    excluded={},
    approvers=frozenset(),
    quarantined=None,
    render=RenderFacts("r", ("Deployment/web",)),
    policy_result=None,
)
FAULT = PodFault("privileged", "Deployment/web", "spec.x", "is `true`", "no privileged container", "remove it", "apps/web/a.yaml:1")
QUARANTINE = Quarantine("prod", "web", CANDIDATE.digest, {}, (None, None), AT, "operator", "it leaks")
SOAK = Gates.model_validate({"soak": "60s"})
SAM_OR_PAT = frozenset({"sam", "pat"})
FROM_SRE = Approvals(required=2, approvers=("team:sre",))


def _verdict(facts: GateFacts, gates: Gates | None = None, now: datetime = NOW) -> Verdict:
    return decide(facts, gates or Gates(), PROMOTION, now)


def _reason(facts: GateFacts, code: str, gates: Gates | None = None, now: datetime = NOW) -> Reason:
    found = [reason for reason in _verdict(facts, gates, now).reasons if reason.code == code]
    assert found, f"{code} is not among {[reason.code for reason in _verdict(facts, gates, now).reasons]}"
    return found[0]


def _check(state: Literal["passed", "failed", "error", "running"], **more: str) -> CheckResult:
    return CheckResult("staging", "/health", "status 200", state, "status 200" if state == "passed" else "status 500", AT, **more)


def _yes(person: str, binding: str = "b") -> Approval:
    return Approval("p-1", person, f"{person}@example.com", binding, "", AT)


@pytest.mark.parametrize(
    ("changes", "gates", "code", "outcome"),
    [
        ({}, Gates(), "RENDERED", Outcome.ALLOW),
        ({"render": RenderFacts("", (), "no such field")}, Gates(), "RENDER_FAILED", Outcome.DENY),
        ({}, Gates(), "NOT_QUARANTINED", Outcome.ALLOW),
        ({"quarantined": QUARANTINE}, Gates(), "QUARANTINED", Outcome.DENY),
        ({}, Gates(), "PROVENANCE_SIGNED", Outcome.ALLOW),
        ({"evidence": (replace(EVIDENCE, provenance=False),)}, Gates(), "PROVENANCE_MISSING", Outcome.DENY),
        ({"evidence": (replace(EVIDENCE, builder=LOCAL_BUILDER),)}, Gates(), "BUILDER_REFUSED", Outcome.DENY),
        ({"upstreams": (UPSTREAM,)}, Gates(), "UPSTREAM_RUNS_IT", Outcome.ALLOW),
        ({"upstreams": (replace(UPSTREAM, pinned=None),)}, Gates(), "UPSTREAM_EMPTY", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, pinned=replace(CANDIDATE, app_tree=None)),)}, Gates(), "UPSTREAM_DIFFERS", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, pinned=replace(CANDIDATE, artifacts={})),)}, Gates(), "UPSTREAM_DIFFERS", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, healthy=False),)}, Gates(), "UPSTREAM_UNHEALTHY", Outcome.WAIT),
        ({"policy_result": PolicyResult("x", True, "ok")}, Gates(policy="x"), "POLICY_PASSED", Outcome.ALLOW),
        ({"policy_result": PolicyResult("x", False, "no")}, Gates(policy="x"), "POLICY_FAILED", Outcome.DENY),
        ({"policy_result": None}, Gates(policy="x"), "POLICY_FAILED", Outcome.DENY),
        ({"pods": PodVerdict(1)}, Gates(pods="restricted"), "POD_SECURITY_KEPT", Outcome.ALLOW),
        ({"pods": PodVerdict(1, (FAULT,))}, Gates(pods="baseline"), "POD_SECURITY", Outcome.DENY),
        ({"pods": None}, Gates(pods="baseline"), "POD_SECURITY", Outcome.DENY),
        ({"checks": (_check("passed"),)}, Gates(), "CHECK_PASSED", Outcome.ALLOW),
        ({"checks": (_check("failed"),)}, Gates(), "CHECK_FAILED", Outcome.WAIT),
        ({"checks": (_check("error"),)}, Gates(), "CHECK_ERROR", Outcome.WAIT),
        ({"checks": (_check("running"),)}, Gates(), "CHECK_RUNNING", Outcome.WAIT),
        ({"upstreams": (UPSTREAM,)}, SOAK, "SOAK_NOT_OVER", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, healthy=False, healthy_since=None),)}, SOAK, "SOAK_NOT_BEGUN", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, pinned=None),)}, SOAK, "SOAK_NOT_BEGUN", Outcome.WAIT),
        ({"upstreams": (replace(UPSTREAM, healthy_since="2026-11-23T11:59:00.000Z"),)}, SOAK, "SOAK_OVER", Outcome.ALLOW),
        ({}, Gates(approvals=FROM_SRE), "APPROVAL_MISSING", Outcome.WAIT),
        (
            {"approvals": (_yes("sam"), _yes("pat")), "approvers": SAM_OR_PAT},
            Gates(approvals=FROM_SRE),
            "APPROVED",
            Outcome.ALLOW,
        ),
    ],
)
def test_every_reason_has_its_code_and_outcome(changes: dict[str, object], gates: Gates, code: str, outcome: Outcome) -> None:
    """One fact decides one reason; a blocking one keeps the whole verdict from ALLOW."""
    facts = replace(FACTS, **changes)  # type: ignore[arg-type]
    assert _reason(facts, code, gates).outcome is outcome
    assert (_verdict(facts, gates).outcome is Outcome.ALLOW) == (outcome is Outcome.ALLOW)


def test_the_worst_reason_wins_and_all_are_told() -> None:
    """WAIT beside DENY is DENY; every reason is in the verdict."""
    facts = replace(FACTS, quarantined=QUARANTINE, checks=(_check("failed"),))
    verdict = _verdict(facts, Gates(approvals=FROM_SRE))
    assert verdict.outcome is Outcome.DENY
    assert [reason.code for reason in verdict.blocking()] == ["QUARANTINED", "CHECK_FAILED", "APPROVAL_MISSING"]


def test_faults_of_pods_are_reasons_of_their_own_and_bounded() -> None:
    """Each names object, field, place, standard and fix; what is over twenty is counted."""
    faults = tuple(replace(FAULT, field=f"spec.{index}") for index in range(23))
    found = [
        r for r in _verdict(replace(FACTS, pods=PodVerdict(1, faults)), Gates(pods="restricted:v1.30")).reasons if r.code == "POD_SECURITY"
    ]
    assert len(found) == 21
    assert (found[0].subject, found[0].found) == ("pods of Deployment/web", "`spec.0` is `true` (apps/web/a.yaml:1)")
    assert (found[0].wanted, found[0].fix) == ("restricted:v1.30, privileged: no privileged container", "remove it")
    assert found[-1].found == "3 more fields"
    exempt = PodVerdict(2, (), ("seccompProfile_restricted",))
    assert (
        "not judged, for this target has no such thing: seccompProfile_restricted"
        in _reason(replace(FACTS, pods=exempt), "POD_SECURITY_KEPT", Gates(pods="restricted")).found
    )


def test_an_approval_counts_only_for_this_binding_by_somebody_who_may() -> None:
    """Given to another render, by an author, or by somebody outside the team: void, and the text says which."""
    approvals = (_yes("sam", "older"), _yes("ada"), _yes("eve"), _yes("pat"))
    facts = replace(FACTS, approvals=approvals, approvers=frozenset({"sam", "pat", "ada"}), excluded={"ada": "author of 41d2e0b"})
    reason = _reason(facts, "APPROVAL_MISSING", Gates(approvals=FROM_SRE))
    assert reason.found.startswith("1 of 2 (pat)")
    for void in (
        "sam: given to another render, policy or set of losses",
        "ada: author of 41d2e0b",
        "eve: not one of team:sre",
        "may approve: sam",
    ):
        assert void in reason.found
    assert reason.fix == "setpoint approve p-1"


def test_an_approval_expires_and_the_same_person_may_give_it_again() -> None:
    """A day after it was given it counts no more, to the second; the reason of a passed gate says when it will not pass any more."""
    gates = Gates(approvals=Approvals(required=1, approvers=("team:sre",)))
    facts = replace(FACTS, approvals=(_yes("sam"),), approvers=SAM_OR_PAT)
    assert _reason(facts, "APPROVED", gates, NOW + timedelta(hours=24, seconds=-1)).recheck_at == clock.to_text(NOW + timedelta(hours=24))
    reason = _reason(facts, "APPROVAL_EXPIRED", gates, NOW + timedelta(hours=24))
    assert (reason.outcome, reason.fix) == (Outcome.WAIT, "setpoint approve p-1")
    assert f"sam: given at {AT}, expired after 24h 0m" in reason.found
    assert "may approve: pat, sam" in reason.found
    again = replace(_yes("sam"), at=clock.to_text(NOW + timedelta(hours=25)))
    renewed = replace(facts, approvals=(_yes("sam"), again))
    assert "does not count" not in _reason(renewed, "APPROVED", gates, NOW + timedelta(hours=26)).found
    short = Gates.model_validate({"approvals": {"required": 1, "from": ("team:sre",), "expires": "10m"}})
    assert _reason(facts, "APPROVAL_EXPIRED", short, NOW + timedelta(minutes=10)).found.endswith("may approve: pat, sam")


def test_of_two_approvals_the_older_one_ends_the_gate() -> None:
    """With more approvals than needed the gate passes as long as enough of them are young."""
    later = replace(_yes("pat"), at=clock.to_text(NOW + timedelta(hours=2)))
    facts = replace(FACTS, approvals=(_yes("sam"), later), approvers=SAM_OR_PAT)
    both = _reason(facts, "APPROVED", Gates(approvals=FROM_SRE), NOW + timedelta(hours=3))
    one = _reason(facts, "APPROVED", Gates(approvals=Approvals(required=1, approvers=("team:sre",))), NOW + timedelta(hours=3))
    assert (both.recheck_at, one.recheck_at) == (clock.to_text(NOW + timedelta(hours=24)), clock.to_text(NOW + timedelta(hours=26)))


def test_a_clock_behind_the_journal_waits_where_time_is_judged() -> None:
    """Soak, approvals and a hold with an end wait for the right time; gates without time do not care."""
    behind = replace(FACTS, last_entry_at=clock.to_text(NOW + timedelta(milliseconds=1)))
    for gates in (SOAK, Gates(approvals=FROM_SRE)):
        assert _reason(behind, "CLOCK", gates).recheck_at == behind.last_entry_at
    hold = Hold("hold-1", "stop", "prod", "web", "operator", "audit", AT, until=clock.to_text(NOW + timedelta(hours=1)))
    assert _reason(replace(behind, stops=(hold,)), "CLOCK").outcome is Outcome.WAIT
    assert _verdict(behind).outcome is Outcome.ALLOW
    right = replace(FACTS, last_entry_at=AT, approvals=(_yes("sam"), _yes("pat")), approvers=SAM_OR_PAT)
    assert _verdict(right, Gates(approvals=FROM_SRE)).outcome is Outcome.ALLOW


def test_what_is_lost_is_said_beside_the_render() -> None:
    """A reader of the reasons sees what is removed, and that approvals are for exactly that."""
    lost = replace(FACTS, losses=("Deployment/worker: its replicas stop",))
    assert _reason(lost, "DESTRUCTIVE", Gates(approvals=FROM_SRE)).wanted == "approvals are for exactly this"


def test_one_person_counts_once() -> None:
    """Two approvals of one person are one."""
    facts = replace(FACTS, approvals=(_yes("sam"), _yes("sam")), approvers=frozenset({"sam", "pat"}))
    assert _reason(facts, "APPROVAL_MISSING", Gates(approvals=FROM_SRE)).found.startswith("1 of 2")


def test_too_few_people_are_said() -> None:
    """When exclusions leave fewer people than are needed, waiting would be for ever: the reason names who is out and why."""
    facts = replace(FACTS, approvers=frozenset({"sam", "pat"}), excluded={"pat": "pushed 41d2e0b", "eve": "author"})
    found = _reason(facts, "APPROVAL_MISSING", Gates(approvals=FROM_SRE)).found
    assert "too few people may approve (pat: pushed 41d2e0b)" in found


def test_excluding_nobody_is_said() -> None:
    """`not: []` is a choice that a reader of the reason sees."""
    open_to_all = Approvals(required=1, approvers=("team:sre",), excluded=())
    assert "nobody excluded" in _reason(FACTS, "APPROVAL_MISSING", Gates(approvals=open_to_all)).wanted


def test_a_soak_says_when_it_is_over_and_is_over_exactly_then() -> None:
    """`recheck_at` is the first instant at which the answer changes."""
    facts, gates = replace(FACTS, upstreams=(UPSTREAM,)), Gates.model_validate({"soak": "30m"})
    over = clock.to_text(NOW + timedelta(seconds=1800))
    waiting = _reason(facts, "SOAK_NOT_OVER", gates, NOW + timedelta(seconds=1799))
    assert (waiting.recheck_at, waiting.found, waiting.wanted) == (over, "29m so far", "30m")
    assert _reason(facts, "SOAK_OVER", gates, clock.from_text(over)).found == "30m"


def test_a_failed_check_is_asked_again_soon() -> None:
    """Time alone may mend a check, so it says when."""
    assert _reason(replace(FACTS, checks=(_check("failed"),)), "CHECK_FAILED").recheck_at == clock.to_text(NOW + timedelta(seconds=5))
