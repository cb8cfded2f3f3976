"""Gate and approval statements of a candidate: which one speaks for a promotion, and does it pass; called at admission and by `verify`.

Law 2 in one place: a pin is admitted only with a PASSED statement for exactly these digests, trees, environment, policy and promotion.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.evidence.candidate import candidate_of
from setpoint.evidence.model import APPROVAL, SUMMARY, Verified
from setpoint.evidence.statements import VERIFIER, stated_at
from setpoint.evidence.verify import TrustRoot, verify_subject


@dataclass(frozen=True, slots=True)
class GateStatement:
    """A verified gate statement, read."""

    promotion: str
    kind: str
    passed: bool
    environment: str
    policy: str
    binding: str
    candidate: bytes
    """Canonical JSON of the candidate."""
    at: str
    bundle: str
    approvals: tuple[str, ...]
    """Emails of the approvals it counted."""


def gate_statement(store: OciStore, trust: TrustRoot, oci_repository: str, candidate_manifest_digest: str) -> list[Verified]:
    """Return the verified gate statements of a candidate manifest, oldest first by their signed time."""
    found = verify_subject(store, trust, oci_repository, candidate_manifest_digest).verified
    return sorted((item for item in found if item.statement.predicate_type == SUMMARY), key=lambda item: stated_at(item.statement))


def read_gate(verified: Verified) -> GateStatement | None:
    """Return a gate statement's content, or None when it lacks what every statement of ours has."""
    statement = verified.statement
    candidate = candidate_of(statement)
    if statement.predicate_type != SUMMARY or candidate is None:
        return None
    predicate = statement.predicate
    own: dict[str, Any] = predicate["setpoint"]
    try:
        return GateStatement(
            promotion=str(own["promotion"]),
            kind=str(own["kind"]),
            passed=predicate["verificationResult"] == "PASSED",
            environment=str(predicate["verifier"]["id"]).removeprefix(VERIFIER),
            policy=str(predicate["policy"]["digest"]["gitBlob"]),
            binding=str(own["binding"]),
            candidate=candidate,
            at=str(predicate["timeVerified"]),
            bundle=verified.bundle,
            approvals=tuple(str(item["email"]) for item in own["approvals"]),
        )
    except (KeyError, TypeError):
        return None


def admission_fault(verified: Sequence[Verified], candidate_data: bytes, promotion: str, policy: str) -> str:
    """Return why these gate statements do not admit a candidate (`Candidate.data()`) under a promotion and policy; empty: admitted.

    The newest statement of the promotion speaks; a FAILED one never passes.
    """
    statements = [gate for gate in map(read_gate, verified) if gate is not None and gate.promotion == promotion]
    if not statements:
        return f"no gate statement for promotion {promotion} is signed by the gate key"
    last = max(statements, key=lambda gate: gate.at)
    if not last.passed:
        return f"the gate statement of promotion {promotion} says FAILED"
    if last.candidate != candidate_data:
        return f"the gate statement of promotion {promotion} is about other digests or trees"
    if last.environment != _environment(candidate_data):
        return f"the gate statement of promotion {promotion} is for environment {last.environment}"
    if last.policy != policy:
        return f"the gate statement was made under policy {digest.short(last.policy)}, the pin names {digest.short(policy)}"
    return ""


def approvals_of(verified: Sequence[Verified], promotion: str, binding: str) -> dict[str, Verified]:
    """Return {email: statement} of the verified approvals of a promotion's binding; a person's last one, by its signed time."""
    found: dict[str, Verified] = {}
    for item in sorted(verified, key=lambda item: stated_at(item.statement)):
        predicate = item.statement.predicate
        approver = predicate.get("approver")
        right = predicate.get("promotion") == promotion and predicate.get("binding") == binding
        if item.statement.predicate_type == APPROVAL and right and isinstance(approver, dict):
            found[str(approver.get("email", ""))] = item
    return found


def _environment(candidate_data: bytes) -> str:
    value: dict[str, Any] = json.loads(candidate_data)
    return str(value["environment"])
