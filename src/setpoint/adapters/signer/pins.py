"""Composes the commit that writes a pin, from the journal and the parent commit; called by the signer process.

Tree objects are written (they are content and harmless); no ref is moved: the server writes the commit and swaps the branch.
"""

from contextlib import suppress
from dataclasses import dataclass

from setpoint.adapters.signer.promotions import allowed, delivery_of, find, refuse_quarantined
from setpoint.adapters.signer.runs import Sources
from setpoint.core.errors import UserError
from setpoint.evidence import gate
from setpoint.evidence.candidate import candidate_digest, candidate_repository
from setpoint.evidence.model import SUMMARY
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.identity.model import Role
from setpoint.promotion import pin
from setpoint.promotion.generators.config import environment_path
from setpoint.promotion.model import Promotion


@dataclass(frozen=True, slots=True)
class PinCommit:
    """An unsigned pin commit."""

    promotion: str
    payload: bytes
    at: str
    summary: str


class PinCommits:
    """Composes pin commits."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def compose(self, promotion_id: str, parent: str, trust: TrustRoot) -> PinCommit:
        """Return the commit that pins a promotion on top of parent.

        Raises:
            UserError: the promotion is not allowed or was superseded (SP404), its gate statement is not journalled or does not hold
                (SP403), its candidate is quarantined (SP411), or parent does not follow the commit it was decided at (SP412).
        """
        facts = find(self._sources, promotion_id)
        promotion = facts.promotion
        if not allowed(facts) or facts.decision is None or facts.superseded:
            what = "the promotion was superseded" if facts.superseded else "the promotion is not decided, or denied"
            raise UserError("SP404", what, where=promotion_id, fix="setpoint why APP ENVIRONMENT")
        refuse_quarantined(self._sources, promotion.candidate)
        journalled = any(record.predicate_type == SUMMARY and record.result == "PASSED" for record in facts.evidence)
        fault = self._gate_fault(promotion, trust) if journalled else "no PASSED gate statement is journalled"
        if fault:
            raise UserError("SP403", f"the pin is not signed: {fault}", where=promotion_id, fix="setpoint verify APP ENVIRONMENT")
        delivery = delivery_of(self._sources, promotion)
        self._check_parent(delivery, parent, promotion)
        tree = self._sources.git.write_tree(delivery, parent, self._changes(delivery, parent, promotion, trust))
        at = facts.intended.get(parent, facts.decision.at)
        message = pin.commit_message(promotion)
        return PinCommit(promotion_id, pin.commit_payload(tree, parent, message, at), at, message.partition("\n")[0])

    def compose_removal(self, environment: str, parent: str) -> PinCommit:
        """Return the commit that removes every pin of a preview that has ended, on top of parent.

        Raises:
            UserError: the journal does not say that it ended, the environment is written down, or it has no pins (SP404).
        """
        ended = self._sources.ledger.ended.get(environment)
        git = self._sources.git
        delivery = self._holding(parent)
        pins = git.entries(delivery, parent, f"pins/{environment}") if delivery else {}
        if ended is None or not pins or git.tree_id(delivery, parent, environment_path(environment)) is not None:
            what = "the journal names no preview of this name that has ended and has pins"
            raise UserError("SP404", what, where=environment[:100], fix="setpoint preview list")
        at, why = ended
        tree = git.write_tree(delivery, parent, {f"pins/{environment}/{name}": None for name in pins})
        message = pin.removal_message(environment, why)
        return PinCommit(environment, pin.commit_payload(tree, parent, message, at), at, message.partition("\n")[0])

    def _holding(self, commit: str) -> str:
        """Return the delivery repository that has a commit, named by its whole id; empty when none does."""
        for repository in self._sources.ledger.deliveries:
            with suppress(UserError):
                if self._sources.git.revision(repository, commit).commit == commit:
                    return repository
        return ""

    def _gate_fault(self, promotion: Promotion, trust: TrustRoot) -> str:
        data = promotion.candidate.data()
        repository = candidate_repository(promotion.candidate.app)
        statements = gate.gate_statement(self._sources.store, trust, repository, candidate_digest(data))
        return gate.admission_fault(statements, data, promotion.promotion, promotion.policy)

    def _check_parent(self, delivery: str, parent: str, promotion: Promotion) -> None:
        """Refuse a parent that is unknown, abbreviated, or older than what was decided about: pins never go backwards in history."""
        git = self._sources.git
        if git.revision(delivery, parent).commit != parent or git.history(delivery, promotion.delivery_commit, parent, 1):
            what = "the parent commit does not contain the commit that the promotion was decided at"
            raise UserError("SP412", what, where=f"{delivery} {parent[:40]}", fix="the decision is taken anew on the branch's head")

    def _changes(self, delivery: str, parent: str, promotion: Promotion, trust: TrustRoot) -> dict[str, bytes]:
        candidate = promotion.candidate
        changes = {pin.pin_path(candidate.environment, candidate.app): pin.render_pin(pin.pin_of(promotion))}
        signers = pin.allowed_signers(trust.key(Role.COMMIT))
        if self._sources.git.read(delivery, parent, pin.ALLOWED_SIGNERS) != signers:
            changes[pin.ALLOWED_SIGNERS] = signers
        return changes
