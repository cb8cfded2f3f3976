"""What evidence needs from outside: the signer process, and the evidence that is already journalled."""

from dataclasses import dataclass
from typing import Literal, Protocol

from setpoint.evidence.model import Document, EvidenceRecord

SigningKind = Literal["run", "approval", "promotion", "pin", "unpin", "adoption"]


@dataclass(frozen=True, slots=True)
class Signed:
    """What the signer gives back."""

    predicate_type: str
    """Empty for a pin commit."""
    subject: str
    oci_repository: str
    """Where the bundle is to be attached."""
    payload: bytes
    """The Sigstore bundle, or the commit payload that was signed."""
    signature: bytes = b""
    """The armored SSHSIG of a pin commit."""
    result: str = ""
    task: str = ""
    artifact: str = ""
    summary: str = ""
    at: str = ""
    """The statement's own time (from the journal); becomes the referrer's `created` annotation."""
    report: str = ""
    """The name that the task declares for a report."""
    document: Document | None = None
    """The original that the statement names; the server keeps it beside the bundle."""


class Signer(Protocol):
    """The separate process that holds the role keys (design law 8).

    It is told a kind and an id, re-reads journal, Git and bytes, composes the statement itself and signs only that.
    """

    def sign(self, kind: SigningKind, subject_id: str, context: str = "") -> list[Signed]:
        """Return what was signed: every statement of a run, one approval, one gate summary, or one commit of a pin or an adoption.

        context is the parent commit id for kind `pin` and the person's email for kind `approval`.
        UserError SP404 when the journal does not hold what is to be signed; WorldError SP405 when the signer is gone.
        """
        ...


class EvidenceRecords(Protocol):
    """Evidence as the journal tells it (adapters.database.records)."""

    def evidence(self, *, subject: str | None = None, run: str | None = None, promotion: str | None = None) -> list[EvidenceRecord]:
        """Return evidence by subject, run or promotion, in journal order."""
        ...
