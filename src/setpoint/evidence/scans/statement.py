"""The statement about a scanner's report, from facts that the signer loaded itself; pure.

A CycloneDX document that counts for an artifact is signed as it is under CycloneDX's own type, so that stock tools find it. Everything else
is stated as the counts: SARIF, because the document is large and only its counts are judged, and an inventory that does not cover
the artifact, because other tools would take it for the artifact's own. The document's digest is in the statement in any case.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.evidence.coverage import Coverage
from setpoint.evidence.model import CYCLONEDX, OWN, SCAN_SUMMARY, Document, Statement, Subject
from setpoint.evidence.statements import task_words
from setpoint.pipeline.model import ScanFormat, ScanSummary, TaskResult


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """A scanner's report, ready to be stated about one subject."""

    result: TaskResult
    name: str
    """What the task calls it: `scan`."""
    format: ScanFormat
    path: str
    scan: ScanSummary
    at: str
    document: Document | None = None
    """None when the task left none."""
    predicate: dict[str, Any] = field(default_factory=dict)
    """The document itself, of CycloneDX that can be used."""
    artifact: str = ""
    coverage: Coverage | None = None
    cells: tuple[str, ...] = ()
    """All cells of the task's matrix, itself among them."""
    entry: int = -1

    @property
    def fault(self) -> str:
        """Why it does not count, whatever it says; empty when it may."""
        return self.scan.fault or self.scan.incomplete

    @property
    def verdict(self) -> str:
        """PASSED only if the task ended green, its report can be used, and the scanner did all of its work."""
        return "PASSED" if self.result.state.green and not self.fault else "FAILED"

    @property
    def summary(self) -> str:
        """What a person reads: `scan: 3 errors, 12 warnings by semgrep 1.2; 2 suppressed`."""
        return f"{self.name}: {'; '.join(filter(None, (self.scan.says, self.fault)))}"


def scan_statement(facts: ScanFacts, subject: Subject) -> Statement:
    """Return the statement; our own words are an annotation of the subject."""
    document = _described(facts.document)
    counts = facts.verdict == "PASSED" and facts.coverage is not None and facts.coverage.covers
    whole = facts.format == "cyclonedx" and counts
    own = task_words(facts) | {
        "report": facts.name,
        "format": facts.format,
        "result": facts.verdict,
        "says": facts.scan.says,
        "file": facts.path,
        "key": facts.result.key,
        "inputs": facts.result.manifest.inputs,
    }
    own |= {"document": document} if document else {}
    own |= {"summary": facts.scan.facts} if whole else {}
    kind = CYCLONEDX if whole else SCAN_SUMMARY.format(format=facts.format)
    predicate = facts.predicate if whole else {"summary": facts.scan.facts, "document": document}
    return Statement((replace(subject, annotations={OWN: own}),), kind, predicate)


def _described(document: Document | None) -> dict[str, Any]:
    """Return a document as an in-toto ResourceDescriptor."""
    if document is None:
        return {}
    hex_ = document.digest.partition(":")[2]
    return {"name": document.name, "digest": {"sha256": hex_}, "mediaType": document.media_type, "size": document.size_bytes}


def said_by(statement: Statement) -> str:
    """Return what any report says, for people, or why it does not count: `3 errors by semgrep 1.2`, `keeps to schemas/lint.json`."""
    own = statement.own
    schema = own.get("schema")
    what = str(own.get("says", ""))
    if not what and isinstance(schema, dict):
        what = f"keeps to {schema.get('path')}"
    if fault := own.get("fault"):
        return f"{own['says']}; {fault}" if own.get("says") else f"cannot be used: {fault}"
    red = own.get("result") != "PASSED"
    return f"{what}; its task {own.get('state')}" if red else what


def document_of(statement: Statement) -> Document | None:
    """Return the document that a statement about a scanner's report names, None when it names none."""
    written = statement.own.get("document")
    if not isinstance(written, dict) or not isinstance(written.get("digest"), dict):
        return None
    digest, size = f"sha256:{written['digest'].get('sha256', '')}", written.get("size")
    return Document(digest, size if isinstance(size, int) else 0, str(written.get("mediaType", "")), str(written.get("name", "")))


def summary_in(statement: Statement) -> dict[str, Any]:
    """Return the counts that a statement about a scanner's report carries; empty for any other."""
    if not statement.own.get("format"):
        return {}
    holder = statement.own if statement.predicate_type == CYCLONEDX else statement.predicate
    found = holder.get("summary")
    return found if isinstance(found, dict) else {}
