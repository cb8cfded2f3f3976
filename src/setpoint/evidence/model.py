"""Statements, bundles and the facts that gates read; in-toto Statement v1 in Sigstore bundles v0.3.

Sources: in-toto attestation framework v1.2, SLSA v1.2 (provenance v1, verification summary v1), DSSE v1, Sigstore bundle v0.3.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from setpoint.ground.identity.model import Role

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
APPROVAL: Final = "https://setpoint.dev/attestations/approval/v1"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD: Final = "application/vnd.in-toto+json"
CANDIDATE: Final = "application/vnd.setpoint.candidate.v1+json"
"""Media type of a candidate's canonical JSON, and artifactType of the small manifest that carries it."""

BUILD_TYPE: Final = "https://setpoint.dev/buildtypes/pipeline/v1"
SANDBOXED_BUILDER: Final = "https://setpoint.dev/builders/sandbox/v1"
UNSANDBOXED_BUILDER: Final = "https://setpoint.dev/builders/unsandboxed/v1"
"""A server's run in which a task had no sandbox; gates refuse it."""
LOCAL_BUILDER: Final = "https://setpoint.dev/builders/local/v1"

SIGNER_OF: Final = {PROVENANCE: Role.BUILDER, TEST_RESULT: Role.SCANNER, SUMMARY: Role.GATE, APPROVAL: Role.APPROVAL}
"""Which role's key must have signed a statement of this type; any other signature proves nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about."""

    name: str
    digest: dict[str, str]
    """`{"sha256": hex}` for an OCI manifest, `{"gitCommit": hex}` for a revision."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto Statement v1."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a JUnit XML file says."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def result(self) -> Literal["PASSED", "FAILED"]:
        """FAILED when any test failed or none ran: an empty report proves nothing."""
        return "PASSED" if self.passed and not self.failed else "FAILED"


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """A signed bundle that lies in the registry; journalled as `evidence.attached`."""

    predicate_type: str
    bundle: str
    """Digest of the bundle blob."""
    manifest: str
    """Digest of the referrer manifest."""
    oci_repository: str
    subject: str
    """Digest of the artifact or candidate manifest; `gitCommit:<hex>` when a failed task left no artifact."""
    result: str
    """PASSED or FAILED."""
    run: str = ""
    task: str = ""
    artifact: str = ""
    promotion: str = ""
    at: str = ""
    summary: str = ""
    """For people: `70 of 70 tests passed`."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle whose signature, key role, type and subject hold."""

    statement: Statement
    role: Role
    bundle: str


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One numbered line of `verify`."""

    number: int
    what: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ArtifactEvidence:
    """Verified evidence of one artifact, aggregated for gates; policies see it as `evidence`, summed over all artifacts."""

    name: str
    digest: str
    provenance: bool
    builder: str
    revision: str
    tests_passed: int
    tests_failed: int
    tests_skipped: int
    tests_result: str
    """PASSED, FAILED or empty when no test evidence covers this artifact."""
    faults: tuple[str, ...] = ()
    """Bundles that do not count and why."""
