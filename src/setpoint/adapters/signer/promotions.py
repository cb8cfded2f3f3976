"""Loads what was decided about a promotion and drafts gate and approval statements; called by the signer process.

The server decides; the signer only says so when the journal says it too, and when trees, policy, digests and their provenance are there
to be read. A rollback's statement rests on the target's earlier PASSED one (law 2).
"""

from typing import NoReturn

from setpoint.adapters.signer import compose
from setpoint.adapters.signer.compose import Draft
from setpoint.adapters.signer.ledger import Decision, PromotionFacts
from setpoint.adapters.signer.runs import Sources
from setpoint.core import clock, digest
from setpoint.core.errors import UserError
from setpoint.core.reasons import Outcome
from setpoint.evidence import gate
from setpoint.evidence.candidate import candidate_digest, candidate_repository
from setpoint.evidence.model import ISOLATED_BUILDERS, PROVENANCE, TEST_RESULT, Verified
from setpoint.evidence.provenance import claims
from setpoint.evidence.statements import SummaryFacts
from setpoint.evidence.verify import TrustRoot, verify_subject
from setpoint.ground.identity.model import Role
from setpoint.promotion.checks.written import scripts_path
from setpoint.promotion.config import parse_environment
from setpoint.promotion.decide import fresh
from setpoint.promotion.generators.config import environment_path, generator_of, parse_generator
from setpoint.promotion.model import Approval, Candidate, Promotion


def find(sources: Sources, promotion_id: str) -> PromotionFacts:
    """Return a journalled promotion; UserError SP404 otherwise."""
    facts = sources.ledger.promotions.get(promotion_id)
    if facts is None:
        raise UserError("SP404", "the journal holds no such promotion", where=promotion_id, fix="setpoint events")
    return facts


def allowed(facts: PromotionFacts) -> bool:
    """Say whether the last journalled decision lets the promotion pass."""
    decision = facts.decision
    return decision is not None and decision.state == "decided" and decision.verdict.outcome is Outcome.ALLOW


def delivery_of(sources: Sources, promotion: Promotion) -> str:
    """Return the delivery repository that holds the commit the promotion was made at; UserError SP404 when none does."""
    for repository in sources.ledger.deliveries:
        try:
            sources.git.revision(repository, promotion.delivery_commit)
        except UserError:
            continue
        return repository
    fix = "register the delivery repository: setpoint init"
    raise UserError("SP404", "no registered delivery repository holds the promotion's commit", where=promotion.promotion, fix=fix)


def refuse_quarantined(sources: Sources, candidate: Candidate) -> None:
    """Raise UserError SP411 when the candidate is barred from its environment."""
    names = [candidate.digest, *(artifact.digest for artifact in candidate.artifacts.values())]
    if any((name, candidate.app, candidate.environment) in sources.ledger.quarantined for name in names):
        fix = f"setpoint promote {candidate.app} --to {candidate.environment} --lift"
        raise UserError("SP411", "the candidate is quarantined", where=f"{candidate.app} in {candidate.environment}", fix=fix)


class PromotionDrafts:
    """Drafts for promotions."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def approval(self, promotion_id: str, email: str) -> Draft:
        """Return the statement of a person's last approval that binds to this promotion; UserError SP404 when there is none."""
        facts = find(self._sources, promotion_id)
        given = _binding_approvals(facts).get(email.casefold())
        if given is None:
            what = f"the journal holds no approval of {email[:200]} for this promotion"
            raise UserError("SP404", what, where=promotion_id, fix="setpoint approve")
        return compose.approval(facts.promotion, given)

    def gate(self, promotion_id: str, trust: TrustRoot) -> Draft:
        """Return the summary of the last decision.

        Raises:
            UserError: it is not decided (SP404); it passed, but what it rests on is not there (SP404) or does not hold (SP403, SP411).
        """
        facts = find(self._sources, promotion_id)
        decision = facts.decision
        if decision is None or (not allowed(facts) and decision.state != "denied"):
            raise UserError("SP404", "the promotion is not decided", where=promotion_id, fix="setpoint why APP ENVIRONMENT")
        promotion = facts.promotion
        delivery = delivery_of(self._sources, promotion)
        if allowed(facts):
            self._check_configuration(promotion, delivery)
            self._check_artifacts(promotion)
            refuse_quarantined(self._sources, promotion.candidate)
        if promotion.kind == "rollback" and allowed(facts):
            earlier = self._earlier(promotion, trust)
            return compose.gate(self._summary(promotion, decision, delivery, ([earlier], [], ())), promotion)
        return compose.gate(self._summary(promotion, decision, delivery, self._rests_on(facts, trust, delivery)), promotion)

    def _summary(
        self, promotion: Promotion, decision: Decision, delivery: str, rests_on: tuple[list[str], list[Approval], tuple[str, ...]]
    ) -> SummaryFacts:
        candidate = promotion.candidate
        inputs, approvals, levels = rests_on
        path = self._judge(delivery, promotion)
        return SummaryFacts(
            candidate=candidate.content(),
            promotion=promotion.promotion,
            kind=promotion.kind,
            of=promotion.of,
            binding=promotion.binding,
            policy_uri=f"git+setpoint:{delivery}@{promotion.accepted_commit}#{path}",
            policy=promotion.policy,
            passed=decision.state == "decided",
            at=decision.at,
            reasons=decision.verdict.reasons,
            inputs=tuple(dict.fromkeys(inputs)),
            approvals=tuple({"name": given.person, "email": given.email, "at": given.at} for given in approvals),
            levels=levels,
        )

    def _check_configuration(self, promotion: Promotion, delivery: str) -> None:
        """Compare policy and trees with Git."""
        candidate, git = promotion.candidate, self._sources.git
        path = self._judge(delivery, promotion)
        folder = path.rpartition("/")[0]
        if git.tree_id(delivery, promotion.accepted_commit, path) != promotion.policy:
            _contradicted(promotion, "the policy is not the environment.yaml of the accepted commit")
        if promotion.kind == "advance":
            at_commit = git.tree_id(delivery, promotion.delivery_commit, f"{folder}/{candidate.app}")
            if at_commit != candidate.environment_tree:
                _contradicted(promotion, f"{folder}/{candidate.app} has another tree at the promotion's commit")
            scripts = scripts_path(folder.rpartition("/")[2])
            if promotion.scripts and git.tree_id(delivery, promotion.accepted_commit, scripts) != promotion.scripts:
                _contradicted(promotion, f"{scripts} has another tree at the accepted commit")
        for tree in candidate.folders().values():
            if tree is not None:
                git.files(delivery, tree)

    def _judge(self, delivery: str, promotion: Promotion) -> str:
        """Return the environment.yaml that judges: the environment's own, else that of the template of the generator that makes it."""
        git, commit, environment = self._sources.git, promotion.accepted_commit, promotion.candidate.environment
        own = environment_path(environment)
        if git.tree_id(delivery, commit, own) is not None:
            return own
        for name in sorted(git.entries(delivery, commit, "generators")):
            path = f"generators/{name}"
            if environment.startswith(f"{generator_of(path) or name}-"):
                like = parse_generator(git.read(delivery, commit, path) or b"", path).model.like
                if like:
                    return environment_path(like)
        return own

    def _check_artifacts(self, promotion: Promotion) -> None:
        for artifact in promotion.candidate.artifacts.values():
            if (artifact.oci_repository, artifact.digest) not in self._sources.ledger.built:
                _contradicted(promotion, f"no run built {artifact.oci_repository}@{digest.short(artifact.digest)}")
            manifest = self._sources.store.manifest(artifact.oci_repository, artifact.digest)
            if manifest is None or digest.sha256(manifest.data) != artifact.digest:
                _contradicted(promotion, f"{artifact.oci_repository}@{digest.short(artifact.digest)} is not in the registry")

    def _approvals(self, facts: PromotionFacts, delivery: str) -> list[Approval]:
        """Return the approvals that bind to a promotion and had not expired when it was decided."""
        promotion, decision = facts.promotion, facts.decision
        path = self._judge(delivery, promotion)
        data = self._sources.git.read(delivery, promotion.accepted_commit, path) or b""
        wanted = parse_environment(data, path).model.gates.approvals
        given = list(_binding_approvals(facts).values())
        return fresh(given, wanted, clock.from_text(decision.at)) if wanted is not None and decision is not None else given

    def _rests_on(self, facts: PromotionFacts, trust: TrustRoot, delivery: str) -> tuple[list[str], list[Approval], tuple[str, ...]]:
        """Return (bundles, approvals, SLSA levels) that a decision rests on; every bundle is verified again.

        Raises:
            UserError: it passed, but an artifact has no provenance that holds (SP403, law 1).
        """
        promotion, bundles, sandboxed = facts.promotion, list[str](), True
        for artifact in promotion.candidate.artifacts.values():
            found = verify_subject(self._sources.store, trust, artifact.oci_repository, artifact.digest)
            journalled = {record.bundle for record in self._sources.ledger.evidence[artifact.digest]}
            counted = [v for v in found.verified if v.bundle in journalled and _proves(v)]
            built = [v for v in counted if v.statement.predicate_type == PROVENANCE]
            if allowed(facts) and not any(_names(v, promotion) for v in built):
                what = f"{artifact.oci_repository}@{digest.short(artifact.digest)} has no provenance of the promotion's revision"
                raise UserError("SP403", what, where=promotion.promotion, fix="run its pipeline again")
            sandboxed = sandboxed and all(claims(v.statement).builder in ISOLATED_BUILDERS for v in built)
            bundles += [v.bundle for v in counted]
        approvals = self._approvals(facts, delivery)
        signed = verify_subject(
            self._sources.store, trust, candidate_repository(promotion.candidate.app), candidate_digest(promotion.candidate.data())
        )
        bundles += [v.bundle for v in gate.approvals_of(signed.verified, promotion.promotion, promotion.binding).values()]
        levels = ("SLSA_BUILD_LEVEL_2",) if promotion.candidate.artifacts and sandboxed else ()
        return bundles, approvals, levels

    def _earlier(self, promotion: Promotion, trust: TrustRoot) -> str:
        """Return the bundle of the target's PASSED statement, verified; UserError SP403 when it does not admit this candidate."""
        target = find(self._sources, promotion.of).promotion
        repository, subject = candidate_repository(target.candidate.app), candidate_digest(promotion.candidate.data())
        statements = gate.gate_statement(self._sources.store, trust, repository, subject)
        fault = gate.admission_fault(statements, promotion.candidate.data(), promotion.of, target.policy)
        if fault:
            raise UserError("SP403", f"the rollback's target was not admitted: {fault}", where=promotion.promotion)
        return [v.bundle for v in statements if v.statement.predicate["setpoint"]["promotion"] == promotion.of][-1]


def _binding_approvals(facts: PromotionFacts) -> dict[str, Approval]:
    """Return {email, folded: the last approval} among those that bind to the promotion as it is."""
    return {given.email.casefold(): given for given in facts.approvals if given.binding == facts.promotion.binding}


def _proves(verified: Verified) -> bool:
    """Say whether a statement is about how an artifact was made or judged: provenance, tests and reports, but no gate or approval."""
    return verified.statement.predicate_type in (PROVENANCE, TEST_RESULT) or verified.role is Role.SCANNER


def _names(verified: Verified, promotion: Promotion) -> bool:
    built = claims(verified.statement)
    return (built.repository, built.revision) == (promotion.source_repository, promotion.source_revision)


def _contradicted(promotion: Promotion, what: str) -> NoReturn:
    raise UserError("SP404", what, where=promotion.promotion, fix="the decision is taken anew on the next pass of the loop")
