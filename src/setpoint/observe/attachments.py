"""What is attached to a thing, as `evidence` answers it: subjects, their signed bundles, and the originals of scanners' reports.

The words of `observe.evidence`, which fills them, and of the API and the command line, which show them; records only.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class AttachedBundle:
    """A signed bundle that is attached to a subject."""

    predicate_type: str
    result: str
    """What the statement says: PASSED, FAILED; empty when it cannot be read."""
    summary: str
    """For people: `70 of 70 tests passed`, `approved by ann@example.com`."""
    signer: str
    """The role whose key signed it; empty when it does not verify."""
    verified: bool
    fault: str
    bundle: str
    """Digest of the bundle."""
    manifest: str
    """Digest of the referrer manifest that carries it."""
    size_bytes: int
    at: str
    """The signed time."""
    report: str = ""
    """The name that the task declares for a report."""
    document: str = ""
    """Digest of a scanner's report as its tool wrote it; `evidence/original` gives the bytes."""
    counts: dict[str, Any] = field(default_factory=dict)
    """What was counted in a scanner's report, as policies see it."""


@dataclass(frozen=True, slots=True)
class Original:
    """A scanner's report as its tool wrote it."""

    data: bytes
    media_type: str
    name: str
    """File name: `scan.sarif`."""


@dataclass(frozen=True, slots=True)
class EvidenceSubject:
    """Something that statements are about, and the statements."""

    kind: Literal["artifact", "candidate", "revision"]
    name: str
    oci_repository: str
    digest: str
    """Of the manifest; `gitCommit:<id>` of a revision whose run left no artifact."""
    bundles: tuple[AttachedBundle, ...]


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """What is attached to a thing."""

    thing: str
    subjects: tuple[EvidenceSubject, ...]
