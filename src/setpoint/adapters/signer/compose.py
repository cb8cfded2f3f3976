"""Statements that are ready to be signed, from journalled facts; pure: whoever loads the facts hands them in.

Called by `runs` and `promotions` of this package; each draft says under which role's key it goes and where its bundle is attached.
"""

from dataclasses import dataclass, replace

from setpoint.artifact.model import ArtifactRecord
from setpoint.core import digest
from setpoint.evidence import provenance as slsa
from setpoint.evidence import statements
from setpoint.evidence.candidate import candidate_digest, candidate_repository, sha256_set
from setpoint.evidence.model import Document, Statement, Subject, signer_of
from setpoint.evidence.scans.statement import ScanFacts, scan_statement
from setpoint.ground.identity.model import Role
from setpoint.pipeline.model import Run
from setpoint.promotion.model import Approval, Promotion

Reported = statements.SuiteFacts | statements.JsonFacts | ScanFacts
"""What a task reported, of any kind."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An unsigned statement with what the server needs to know about it."""

    statement: Statement
    subject: str
    oci_repository: str
    result: str
    summary: str
    at: str
    task: str = ""
    artifact: str = ""
    report: str = ""
    document: Document | None = None

    @property
    def role(self) -> Role:
        """The role whose key signs it."""
        return signer_of(self.statement.predicate_type)


def report_of_artifact(facts: Reported, record: ArtifactRecord) -> Draft:
    """Return what a task reported, about one artifact."""
    statement = _stated(facts, Subject(record.oci_repository, sha256_set(record.digest)))
    note = "" if facts.coverage is None or facts.coverage.covers else "; does not cover the artifact"
    return Draft(
        statement,
        record.digest,
        record.oci_repository,
        facts.verdict,
        facts.summary + note,
        facts.at,
        task=facts.result.task,
        artifact=record.name,
        report=_name(facts),
        document=_document(facts),
    )


def report_of_revision(facts: Reported, run: Run) -> Draft:
    """Return what a task reported, about a revision that left no artifact: its subjects are the commit and the input root."""
    statement = _stated(facts, Subject(run.repository, {"gitCommit": run.revision}))
    inputs = Subject(f"{run.repository}#inputs", sha256_set(facts.result.manifest.inputs))
    statement = Statement((*statement.subjects, inputs), statement.predicate_type, statement.predicate)
    place = f"{run.repository}/evidence"
    about = f"gitCommit:{run.revision}"
    draft = Draft(statement, about, place, facts.verdict, facts.summary, facts.at, task=facts.result.task)
    return replace(draft, report=_name(facts), document=_document(facts))


def _stated(facts: Reported, subject: Subject) -> Statement:
    if isinstance(facts, ScanFacts):
        return scan_statement(facts, subject)
    if isinstance(facts, statements.JsonFacts):
        return statements.json_statement(facts, subject)
    return statements.suite_statement(facts, subject)


def _name(facts: Reported) -> str:
    if isinstance(facts, ScanFacts):
        return facts.name
    return facts.declared.name if isinstance(facts, statements.JsonFacts) else ""


def _document(facts: Reported) -> Document | None:
    return facts.document if isinstance(facts, ScanFacts) else None


def provenance(facts: slsa.BuildFacts) -> Draft:
    """Return how one artifact was built."""
    record = facts.record
    built = f"built from {digest.short(record.revision)} by run {record.run}"
    return Draft(slsa.provenance(facts), record.digest, record.oci_repository, "PASSED", built, facts.at, artifact=record.name)


def approval(promotion: Promotion, given: Approval) -> Draft:
    """Return a person's yes."""
    candidate = promotion.candidate
    statement = statements.approval(
        statements.ApprovalFacts(
            candidate=candidate.content(),
            promotion=promotion.promotion,
            binding=given.binding,
            person=given.person,
            email=given.email,
            message=given.message,
            at=given.at,
        ),
    )
    place = candidate_repository(candidate.app)
    return Draft(statement, candidate_digest(candidate.data()), place, "PASSED", f"approved by {given.person}", given.at)


def gate(facts: statements.SummaryFacts, promotion: Promotion) -> Draft:
    """Return the verdict about a promotion."""
    candidate = promotion.candidate
    result = "PASSED" if facts.passed else "FAILED"
    summary = f"gate of {candidate.environment}: {result}"
    place = candidate_repository(candidate.app)
    return Draft(statements.gate_summary(facts), candidate_digest(candidate.data()), place, result, summary, facts.at)
