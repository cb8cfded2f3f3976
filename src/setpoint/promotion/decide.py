"""Whether a candidate may enter an environment, with every reason: pure functions of facts and the time (law 6).

Called by the promotion service, and only there; `why`, API, pages and journal repeat what is returned here. In this order: clock, holds,
render, quarantine, provenance, reports, upstreams, policy, pods, commits, checks, soak, approvals.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from setpoint.core import clock, digest, names
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.core.words import counted
from setpoint.evidence.model import ISOLATED_BUILDERS, SANDBOXED_BUILDER
from setpoint.ground.hold import decide as hold_decide
from setpoint.promotion.config import Approvals, Gates
from setpoint.promotion.model import Approval, GateFacts, Promotion, UpstreamFacts
from setpoint.promotion.pod_standard import standard_of

CHECK_INTERVAL_S = 5
_SHOWN = 20
"""Reasons of one gate about fields or commits; what is more is counted."""


def decide(facts: GateFacts, gates: Gates, promotion: Promotion, now: datetime) -> Verdict:
    """Return the verdict over a promotion: ALLOW only when every gate allows."""
    reasons = [
        *_clock(facts, gates, now),
        *hold_decide.reasons(facts.stops),
        *_render(facts, gates),
        *_quarantine(facts, promotion),
        *_provenance(facts),
        *_reports(facts),
    ]
    reasons += [reason for upstream in facts.upstreams for reason in _upstream(facts, upstream)]
    reasons += [
        *_policy(facts, gates),
        *_pods(facts, gates),
        *_commits(facts, gates),
        *_checks(facts, now),
        *_soak(facts, gates, now),
        *_approvals(facts, gates, promotion, now),
    ]
    return conclude(reasons)


def _clock(facts: GateFacts, gates: Gates, now: datetime) -> Iterator[Reason]:
    """Judge no time by a wall clock that is behind the journal: a soak or an approval would seem younger than it is, a hold longer."""
    timed = gates.soak is not None or gates.approvals is not None or any(hold.until for hold in facts.stops)
    if timed and facts.last_entry_at and now < clock.from_text(facts.last_entry_at):
        found = f"this machine's clock says {clock.to_text(now)}, the journal's last entry is of {facts.last_entry_at}"
        fix = "set the machine's clock; until then nothing that depends on time is decided"
        yield Reason("CLOCK", Outcome.WAIT, "clock", found, "a clock that is not behind the journal", fix, facts.last_entry_at)


def _render(facts: GateFacts, gates: Gates) -> Iterator[Reason]:
    if facts.render.error:
        fix = "mend the files under apps/ or environments/ and push"
        yield Reason("RENDER_FAILED", Outcome.DENY, "render", facts.render.error, "objects that the target accepts", fix)
        return
    objects = ", ".join(facts.render.objects)
    yield Reason("RENDERED", Outcome.ALLOW, "render", f"{counted(len(facts.render.objects), 'object')}: {objects}")
    if facts.losses:
        wanted = "approvals are for exactly this" if gates.approvals is not None else ""
        yield Reason("DESTRUCTIVE", Outcome.ALLOW, "losses", "; ".join(facts.losses), wanted)


def _quarantine(facts: GateFacts, promotion: Promotion) -> Iterator[Reason]:
    barred = facts.quarantined
    if barred is None:
        yield Reason("NOT_QUARANTINED", Outcome.ALLOW, "quarantine", "not barred from this environment")
        return
    candidate = promotion.candidate
    fix = f"setpoint promote {candidate.app} --to {candidate.environment} --lift"
    found = f"barred since {clock.spoken(barred.since)} by {names.actor(barred.by)}: {barred.why}"
    yield Reason("QUARANTINED", Outcome.DENY, "quarantine", found, "a candidate that is not barred", fix)


def _provenance(facts: GateFacts) -> Iterator[Reason]:
    for artifact in facts.evidence:
        subject = f"provenance of {artifact.name}"
        short = digest.short(artifact.digest)
        if not artifact.provenance:
            fault = "; ".join(artifact.faults) or "no provenance is attached"
            wanted = "provenance signed by the builder key"
            yield Reason(
                "PROVENANCE_MISSING", Outcome.DENY, subject, f"{short}: {fault}", wanted, "build it again with a run of this server"
            )
        elif artifact.builder not in ISOLATED_BUILDERS:
            fix = "push the revision, so that the server builds it in its sandbox"
            yield Reason("BUILDER_REFUSED", Outcome.DENY, subject, f"built by {artifact.builder}", SANDBOXED_BUILDER, fix)
        else:
            yield Reason("PROVENANCE_SIGNED", Outcome.ALLOW, subject, f"{short} built from {digest.short(artifact.revision)}")


def _reports(facts: GateFacts) -> Iterator[Reason]:
    """Tell what the scanners say; whether that is good enough is for the policy to judge."""
    for artifact in facts.evidence:
        for name, report in sorted(artifact.reports.items()):
            subject = f"{name} of {artifact.name}"
            if report.result != "PASSED":
                yield Reason("REPORT_FAILED", Outcome.ALLOW, subject, report.says or "it does not count", "a report that counts")
            elif report.format:
                yield Reason("REPORTED", Outcome.ALLOW, subject, report.says)


def _upstream(facts: GateFacts, upstream: UpstreamFacts) -> Iterator[Reason]:
    subject = f"after {upstream.environment}"
    pinned = upstream.pinned
    if pinned is None:
        yield Reason("UPSTREAM_EMPTY", Outcome.WAIT, subject, "nothing is pinned there", "the same digests and application tree")
    elif not pinned.same_content(facts.candidate):
        yield Reason(
            "UPSTREAM_DIFFERS", Outcome.WAIT, subject, "another build or configuration runs there", "the same digests and application tree"
        )
    elif not upstream.healthy:
        fix = f"setpoint why {facts.candidate.app} {upstream.environment}"
        yield Reason("UPSTREAM_UNHEALTHY", Outcome.WAIT, subject, upstream.detail, "healthy", fix)
    else:
        since = f" since {clock.spoken(upstream.healthy_since)}" if upstream.healthy_since else ""
        yield Reason("UPSTREAM_RUNS_IT", Outcome.ALLOW, subject, f"runs the same and is healthy{since}")


def _policy(facts: GateFacts, gates: Gates) -> Iterator[Reason]:
    if gates.policy is None:
        return
    result = facts.policy_result
    if result is None or not result.passed:
        detail = result.detail if result else "it was not evaluated"
        fix = "setpoint verify REF shows the evidence it reads; mend the build or, as an owner of the environment, the policy"
        yield Reason("POLICY_FAILED", Outcome.DENY, "policy", detail, gates.policy.strip(), fix)
    else:
        yield Reason("POLICY_PASSED", Outcome.ALLOW, "policy", result.detail, gates.policy.strip())


def _pods(facts: GateFacts, gates: Gates) -> Iterator[Reason]:
    verdict = facts.pods
    if gates.pods is None or facts.render.error:
        return
    standard = str(standard_of(gates.pods))
    if verdict is None:
        yield Reason("POD_SECURITY", Outcome.DENY, "pods", "they were not judged", standard, "setpoint promote asks again")
        return
    for fault in verdict.faults[:_SHOWN]:
        found = f"`{fault.field}` {fault.found}" + (f" ({fault.place})" if fault.place else "")
        yield Reason(
            "POD_SECURITY", Outcome.DENY, f"pods of {fault.object}", found, f"{standard}, {fault.control}: {fault.wanted}", fault.fix
        )
    more = len(verdict.faults) - _SHOWN
    if more > 0:
        yield Reason("POD_SECURITY", Outcome.DENY, "pods", f"{more} more fields", standard, "setpoint check lists all of them")
    if not verdict.faults:
        left_out = f"; not judged, for this target has no such thing: {', '.join(verdict.exempt)}" if verdict.exempt else ""
        yield Reason("POD_SECURITY_KEPT", Outcome.ALLOW, "pods", f"{verdict.pods} pod templates keep to it{left_out}", standard)


def _commits(facts: GateFacts, gates: Gates) -> Iterator[Reason]:
    if gates.commits is None:
        return
    found, wanted = facts.commits, "each signed by a key of a person in setpoint.yaml"
    if found is None or found.error:
        fix = "it is looked at again by itself once that is mended"
        yield Reason("COMMITS_UNCHECKED", Outcome.WAIT, "commits", found.error if found else "they were not looked at", wanted, fix)
        return
    for fault in found.faults[:_SHOWN]:
        subject, said = f"commit {digest.short(fault.commit)} of {fault.repository}", f"{fault.detail} ({fault.title})"
        if fault.state == "unknown":
            fix = "an owner of setpoint.yaml adds it: `people: {NAME: {keys: [...]}}`"
            yield Reason("COMMIT_SIGNER_UNKNOWN", Outcome.WAIT, subject, f"signed by {said}, which is nobody's", wanted, fix)
        else:
            fix = "sign what is pushed (git config commit.gpgSign true); for this one an owner of the environment takes `commits` out once"
            yield Reason("COMMIT_NOT_SIGNED", Outcome.DENY, subject, said, wanted, fix)
    more = len(found.faults) - _SHOWN
    if more > 0:
        yield Reason("COMMIT_NOT_SIGNED", Outcome.DENY, "commits", f"{more} more at least", wanted, "git log --format='%h %G? %an %s'")
    if not found.faults:
        by = f" by {', '.join(found.signers)}" if found.signers else ""
        yield Reason("COMMITS_SIGNED", Outcome.ALLOW, "commits", f"{found.total} signed{by}", wanted)


def _checks(facts: GateFacts, now: datetime) -> Iterator[Reason]:
    for check in facts.checks:
        subject = f"check {check.what} in {check.environment}"
        if check.state == "passed":
            yield Reason("CHECK_PASSED", Outcome.ALLOW, subject, check.found, check.wanted, recheck_at=check.recheck_at)
            continue
        again = check.recheck_at or clock.to_text(now + timedelta(seconds=CHECK_INTERVAL_S))
        fix = check.fix or f"setpoint why {facts.candidate.app} {check.environment}"
        told = (Outcome.WAIT, subject, check.found, check.wanted, fix, again)
        if check.state == "failed":
            yield Reason("CHECK_FAILED", *told)
        elif check.state == "error":
            yield Reason("CHECK_ERROR", *told)
        else:
            yield Reason("CHECK_RUNNING", *told)


def _soak(facts: GateFacts, gates: Gates, now: datetime) -> Iterator[Reason]:
    if gates.soak is None:
        return
    for upstream in facts.upstreams:
        subject, wanted = f"soak in {upstream.environment}", _minutes(gates.soak)
        same = upstream.pinned is not None and upstream.pinned.same_content(facts.candidate)
        if not same or not upstream.healthy or upstream.healthy_since is None:
            yield Reason("SOAK_NOT_BEGUN", Outcome.WAIT, subject, "it does not run there healthy yet", wanted)
            continue
        over = clock.from_text(upstream.healthy_since) + timedelta(seconds=gates.soak)
        done = _minutes((now - clock.from_text(upstream.healthy_since)).total_seconds())
        if now < over:
            yield Reason("SOAK_NOT_OVER", Outcome.WAIT, subject, f"{done} so far", wanted, recheck_at=clock.to_text(over))
        else:
            yield Reason("SOAK_OVER", Outcome.ALLOW, subject, done, wanted)


def _minutes(seconds: float) -> str:
    """Return a duration as people say it: `45s`, `12m`, `3h 20m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    return f"{whole // 3600}h {whole % 3600 // 60}m"


def fresh(approvals: Sequence[Approval], wanted: Approvals, now: datetime) -> list[Approval]:
    """Return the approvals whose time is not over."""
    return [given for given in approvals if now < clock.from_text(given.at) + timedelta(seconds=wanted.expires_s)]


def _approvals(facts: GateFacts, gates: Gates, promotion: Promotion, now: datetime) -> Iterator[Reason]:
    wanted = gates.approvals
    if wanted is None:
        return
    counting, void, expired = _counted(facts, wanted, now)
    names = ", ".join(sorted(counting)) or "nobody"
    found = f"{len(counting)} of {wanted.required} ({names})" + (f"; does not count: {'; '.join(void)}" if void else "")
    needed = f"{wanted.required} from {', '.join(wanted.approvers)}"
    if not wanted.excluded:
        needed += ", nobody excluded (not: [])"
    if len(counting) >= wanted.required:
        ends = sorted(clock.from_text(at) for at in counting.values())[-wanted.required] + timedelta(seconds=wanted.expires_s)
        yield Reason("APPROVED", Outcome.ALLOW, "approvals", found, needed, recheck_at=clock.to_text(ends))
        return
    able = sorted(facts.approvers - set(facts.excluded) - set(counting))
    again = f"setpoint approve {promotion.promotion}"
    code, fix = ("APPROVAL_EXPIRED", again) if expired else ("APPROVAL_MISSING", again)
    if able:
        found += f"; may approve: {', '.join(able)}"
    if len(able) + len(counting) < wanted.required:
        excluded = "; ".join(f"{name}: {why}" for name, why in sorted(facts.excluded.items()) if name in facts.approvers)
        found += f"; too few people may approve ({excluded or 'none are left'})"
    yield Reason(code, Outcome.WAIT, "approvals", found, needed, fix)


def _counted(facts: GateFacts, wanted: Approvals, now: datetime) -> tuple[dict[str, str], list[str], bool]:
    """Return ({person: when} of the approvals that count, why the others do not, whether one that would count has expired)."""
    young = set(fresh(facts.approvals, wanted, now))
    counting: dict[str, str] = {}
    void: dict[str, str] = {}
    expired = False
    for approval in facts.approvals:
        if approval.binding != facts.binding:
            void[approval.person] = "given to another render, policy or set of losses"
        elif approval.person in facts.excluded:
            void[approval.person] = facts.excluded[approval.person]
        elif approval.person not in facts.approvers:
            void[approval.person] = f"not one of {', '.join(wanted.approvers)}"
        elif approval not in young:
            void[approval.person], expired = f"given at {approval.at}, expired after {_minutes(wanted.expires_s)}", True
        else:
            counting[approval.person] = approval.at
    return counting, [f"{person}: {why}" for person, why in void.items() if person not in counting], expired
