"""Statements, bundles and the facts that gates read; in-toto Statement v1 in Sigstore bundles v0.3.

Sources: in-toto attestation framework v1.2, SLSA v1.2 (provenance v1, verification summary v1), DSSE v1, Sigstore bundle v0.3.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from setpoint.ground.identity.model import Role

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
APPROVAL: Final = "https://setpoint.dev/attestations/approval/v1"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD: Final = "application/vnd.in-toto+json"
REPORT: Final = "https://setpoint.dev/attestations/report/v1"
"""Predicate type of a JSON report that is declared without one."""
CYCLONEDX: Final = "https://cyclonedx.org/bom"
"""CycloneDX's own predicate type: the document itself, only about an artifact that it covers."""
SCAN_SUMMARY: Final = "https://setpoint.dev/attestations/{format}/v1"
"""Predicate type of what Setpoint counted in a scanner's report: of every SARIF report, and of CycloneDX that does not count."""
OWN: Final = "setpoint"
"""Where our own words about a statement lie: a key of the predicates that we write, an annotation of the subject of a report."""
CANDIDATE: Final = "application/vnd.setpoint.candidate.v1+json"
"""Media type of a candidate's canonical JSON, and artifactType of the small manifest that carries it."""

BUILD_TYPE: Final = "https://setpoint.dev/buildtypes/pipeline/v1"
SANDBOXED_BUILDER: Final = "https://setpoint.dev/builders/sandbox/v1"
UNSANDBOXED_BUILDER: Final = "https://setpoint.dev/builders/unsandboxed/v1"
"""A server's run in which a task had no sandbox; gates refuse it."""
KUBERNETES_BUILDER: Final = "https://setpoint.dev/builders/kubernetes/v1"
"""A server's run of which a task was a pod of a cluster that the delivery repository's owners offer; everything else had the sandbox."""
ISOLATED_BUILDERS: Final = frozenset({SANDBOXED_BUILDER, KUBERNETES_BUILDER})
"""Whose artifacts may deploy: every task was kept from everything but its declared inputs."""
LOCAL_BUILDER: Final = "https://setpoint.dev/builders/local/v1"

SIGNER_OF: Final = {PROVENANCE: Role.BUILDER, TEST_RESULT: Role.SCANNER, SUMMARY: Role.GATE, APPROVAL: Role.APPROVAL}
"""Which role's key must have signed a statement of this type; any other signature proves nothing."""


def signer_of(predicate_type: str) -> Role:
    """Return the role that signs statements of a type: every type that is not our own is a report, which the scanner key signs."""
    return SIGNER_OF.get(predicate_type, Role.SCANNER)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about."""

    name: str
    digest: dict[str, str]
    """`{"sha256": hex}` for an OCI manifest, `{"gitCommit": hex}` for a revision."""
    annotations: dict[str, Any] = field(default_factory=dict)
    """What is said about a report beside its predicate, which is the tool's own words (in-toto ResourceDescriptor)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto Statement v1."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]

    @property
    def own(self) -> dict[str, Any]:
        """What Setpoint says beside what the type defines: task, artifact, run, coverage; empty when there is nothing.

        The predicate of a report is written by project code, so nothing in it may pass for these words.
        """
        beside = self.subjects[0].annotations if self.subjects else {}
        found = (self.predicate if self.predicate_type in SIGNER_OF else beside).get(OWN)
        return found if isinstance(found, dict) else {}


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
class Document:
    """A scanner's report as its tool wrote it, kept beside the statement about it."""

    digest: str
    size_bytes: int
    media_type: str
    name: str
    """File name for people: `scan.sarif`."""
    manifest: str = ""
    """Digest of the manifest that carries it in the registry; empty before it lies there."""


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
    report: str = ""
    """The name that the task declares for a report; empty for tests and for what is no report."""
    document: Document | None = None
    """The original of a scanner's report."""


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
class ReportFacts:
    """What the newest reports of one name say about an artifact, or about all artifacts of an application."""

    result: str
    """PASSED or FAILED; empty when none covers the artifact."""
    report: dict[str, Any] = field(default_factory=dict)
    """The report within bounds; empty when it is not PASSED, so that a policy that names a key of it is denied."""
    says: str = field(default="", compare=False)
    """For people: what it says, or why it does not count."""
    format: str = ""
    """`sarif` or `cyclonedx`, whose counts can be added; empty for JSON of the project's own."""
    counted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Digest of a scanner's document -> its summary: what was counted, each document once."""


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
    reports: dict[str, ReportFacts] = field(default_factory=dict)
    """By the name that the task declares."""
