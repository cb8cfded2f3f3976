"""Gathers what a gate decision looks at: evidence, render, upstreams, checks, approvals, exclusions, policy result.

Called by the promotion service before every decision; it reads and probes, and decides nothing.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from setpoint.core import canonical, clock, digest
from setpoint.core.records import encode
from setpoint.evidence.model import ArtifactEvidence
from setpoint.ground.hold.service import Holds
from setpoint.promotion import report_facts
from setpoint.promotion.checks.decide import NOT_THERE, answer, label, question, runs_there
from setpoint.promotion.commits import SignedCommits
from setpoint.promotion.config import Gates
from setpoint.promotion.decide import CHECK_INTERVAL_S
from setpoint.promotion.model import Candidate, CheckResult, GateFacts, PolicyResult, Promotion, RenderFacts, UpstreamFacts
from setpoint.promotion.people import Exclusions
from setpoint.promotion.pod_standard import standard_of
from setpoint.promotion.ports import EvidenceView, HttpChecks, PolicyEngine, PromotionRecords, Renderer, UpstreamView
from setpoint.promotion.propose import quarantine_of
from setpoint.promotion.render_content import LIMIT
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.standing import Pins

_CHECKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FactParts:
    """Where facts come from."""

    delivery: DeliveryReader
    records: PromotionRecords
    evidence: EvidenceView
    renderer: Renderer
    upstreams: UpstreamView
    checks: HttpChecks
    policy: PolicyEngine
    exclusions: Exclusions
    signed: SignedCommits
    holds: Holds
    clock: clock.Clock


class FactGatherer:
    """Gathers GateFacts for a promotion; HTTP checks are asked again only after CHECK_INTERVAL_S, commands by a service of their own."""

    def __init__(self, parts: FactParts) -> None:
        self._parts = parts
        self._checked: dict[tuple[str, str, str, int], tuple[datetime, CheckResult]] = {}

    def binding(self, candidate: Candidate, delivery: Delivery) -> str:
        """Return the digest that approvals bind to: candidate, render, the policy in force, and what is lost by it."""
        render = self._parts.renderer.render_facts(candidate, delivery.repository)
        policy = self._parts.delivery.policy_id(delivery, candidate.environment)
        scripts = self.scripts(candidate, delivery)
        parts = [candidate.digest, render.digest, policy, list(self.losses(candidate, delivery)), *([scripts] if scripts else [])]
        return digest.sha256(canonical.dumps(parts))

    def scripts(self, candidate: Candidate, delivery: Delivery) -> str:
        """Return the tree id of the accepted scripts that the environment's checks run with; empty without any."""
        gates = delivery.environment(candidate.environment).gates
        commands = any(check.command is not None for check in gates.checks)
        return self._parts.delivery.scripts_id(delivery, candidate.environment) if commands else ""

    def losses(self, candidate: Candidate, delivery: Delivery) -> tuple[str, ...]:
        """Return what a candidate would destroy of what Setpoint pinned last."""
        pin = Pins(self._parts.delivery, self._parts.records).last(delivery, candidate.environment, candidate.app)
        return self._parts.renderer.losses(candidate, pin.candidate if pin is not None else None, delivery.repository)

    def gather(self, promotion: Promotion, delivery: Delivery) -> GateFacts:
        """Return everything the decision needs, as of now."""
        parts, candidate = self._parts, promotion.candidate
        environment = delivery.environment(candidate.environment)
        gates = environment.gates
        evidence = tuple(parts.evidence.artifact(name, a.oci_repository, a.digest) for name, a in sorted(candidate.artifacts.items()))
        render = parts.renderer.render_facts(candidate, delivery.repository)
        upstreams = tuple(parts.upstreams.upstream(candidate.app, name) for name in environment.after)
        # Whose approval counts is measured from what Setpoint pinned: a pin by hand could name the candidate itself as the base.
        pin = Pins(parts.delivery, parts.records).last(delivery, candidate.environment, candidate.app)
        losses = self.losses(candidate, delivery)
        approvers: frozenset[str] = frozenset()
        excluded: dict[str, str] = {}
        if gates.approvals is not None:
            people = {person.name for person in delivery.directory.people if person.kind == "human"}
            approvers = delivery.directory.members(tuple(gates.approvals.approvers)) & people
            excluded = parts.exclusions.of(promotion, delivery, pin, gates.approvals.excluded)
            if "commit-signer" in gates.approvals.excluded:
                excluded = parts.signed.excluded(promotion, delivery, pin) | excluded
        return GateFacts(
            candidate=candidate,
            evidence=evidence,
            upstreams=upstreams,
            checks=(*self._http_checks(promotion, delivery, gates, upstreams), *self._commands(promotion, delivery, gates, upstreams)),
            approvals=tuple(parts.records.approvals(promotion.promotion)),
            binding=promotion.binding,
            excluded=excluded,
            approvers=approvers,
            quarantined=quarantine_of(candidate, parts.records.quarantines(candidate.app, candidate.environment)),
            render=render,
            policy_result=self._policy(gates, candidate, evidence, (render, losses)),
            losses=losses,
            pods=parts.renderer.pods(candidate, delivery.repository, standard_of(gates.pods)) if gates.pods is not None else None,
            commits=parts.signed.facts(promotion, delivery, pin) if gates.commits is not None else None,
            stops=parts.holds.stops(candidate.app, candidate.environment),
            last_entry_at=parts.holds.last_entry_at(),
        )

    def _policy(
        self, gates: Gates, candidate: Candidate, evidence: tuple[ArtifactEvidence, ...], rendered: tuple[RenderFacts, tuple[str, ...]]
    ) -> PolicyResult | None:
        if gates.policy is None:
            return None
        facts = policy_facts(candidate, evidence, *rendered, now=self._parts.clock.now())
        result = self._parts.policy.evaluate(gates.policy, facts)
        faults = [] if result.passed else report_facts.faults(gates.policy, evidence)
        return replace(result, detail="; ".join([result.detail, *faults]))

    def _http_checks(
        self, promotion: Promotion, delivery: Delivery, gates: Gates, upstreams: tuple[UpstreamFacts, ...]
    ) -> tuple[CheckResult, ...]:
        """Ask each check in each upstream that runs the same content, all at once; a check elsewhere would prove nothing."""
        requests = [check.http for check in gates.checks if check.http is not None]
        asked = [(upstream, request.path, request.status) for upstream in upstreams for request in requests]
        if not asked:
            return ()
        if len(asked) == 1:
            return (self._http_check(promotion, delivery, *asked[0]),)
        with ThreadPoolExecutor(min(len(asked), _CHECKS_AT_ONCE), "check") as pool:
            return tuple(pool.map(lambda one: self._http_check(promotion, delivery, *one), asked))

    def _http_check(self, promotion: Promotion, delivery: Delivery, upstream: UpstreamFacts, path: str, status: int) -> CheckResult:
        now = self._parts.clock.now()
        pinned, wanted = upstream.pinned, f"status {status}"
        if pinned is None or not runs_there(upstream, promotion):
            return CheckResult(upstream.environment, path, wanted, "failed", NOT_THERE, clock.to_text(now))
        key = (promotion.promotion, upstream.environment, path, status)
        asked_at, result = self._checked.get(key, (None, None))
        fresh = asked_at is not None and timedelta() <= now - asked_at < timedelta(seconds=CHECK_INTERVAL_S)
        if result is None or not fresh:  # an answer from what is now the future is of no known age: the clock was set back
            url = delivery.environment(upstream.environment).target.url
            passed, text = (
                self._parts.checks.check(url, path, status) if url else (False, "nobody said where it is reached: `url:` of its target")
            )
            state: Literal["passed", "failed"] = "passed" if passed else "failed"
            result = CheckResult(upstream.environment, path, wanted, state, text, clock.to_text(now), pinned.digest)
            self._checked[key] = (now, result)
        return result

    def _commands(
        self, promotion: Promotion, delivery: Delivery, gates: Gates, upstreams: tuple[UpstreamFacts, ...]
    ) -> Iterator[CheckResult]:
        """Yield what became of each command in each upstream; nothing is begun here."""
        now = self._parts.clock.now()
        for upstream in upstreams:
            for command in (check.command for check in gates.checks if check.command is not None):
                if not runs_there(upstream, promotion):
                    yield CheckResult(upstream.environment, label(command), "exit status 0", "failed", NOT_THERE, clock.to_text(now))
                    continue
                asked = question(promotion, upstream, command, self.scripts(promotion.candidate, delivery))
                yield answer(asked, self._parts.records.command_run(asked.check), now)


def policy_facts(
    candidate: Candidate,
    evidence: tuple[ArtifactEvidence, ...],
    render: RenderFacts,
    losses: tuple[str, ...] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return what a CEL policy sees: evidence summed over the artifacts, each artifact, the candidate, the render and what it destroys.

    Ages of scans are as of now; without it they are not there.
    """
    passed, failed, skipped = (
        sum(getattr(artifact, field) for artifact in evidence) for field in ("tests_passed", "tests_failed", "tests_skipped")
    )
    artifacts = [
        {
            "name": artifact.name,
            "digest": artifact.digest,
            "provenance": artifact.provenance,
            "builder": artifact.builder,
            "revision": artifact.revision,
            "tests": {
                "passed": artifact.tests_passed,
                "failed": artifact.tests_failed,
                "skipped": artifact.tests_skipped,
                "total": artifact.tests_passed + artifact.tests_failed + artifact.tests_skipped,
                "result": artifact.tests_result,
            },
            "reports": {name: report_facts.seen(facts, now) for name, facts in artifact.reports.items()},
        }
        for artifact in evidence
    ]
    tests = {"passed": passed, "failed": failed, "skipped": skipped, "total": passed + failed + skipped}
    return {
        "evidence": {**report_facts.of_all(evidence, now), "tests": tests},
        "artifacts": artifacts,
        "candidate": candidate.content(),
        "environment": candidate.environment,
        "render": {"digest": render.digest, "objects": list(render.objects), "losses": list(losses[:LIMIT]), **encode(render.content)},
    }
