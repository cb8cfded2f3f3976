"""The candidate as an OCI artifact: a small manifest around its canonical JSON, so that gate and approval statements have a subject.

Pure; called by the signer, by attach and by whoever admits a pin: they all must come to the same digest.
"""

from typing import Any

from setpoint.core import canonical, digest
from setpoint.evidence.bundle import carrier_manifest
from setpoint.evidence.model import APPROVAL, CANDIDATE, SUMMARY, Statement, Subject


def candidate_manifest(candidate_data: bytes) -> bytes:
    """Return the OCI manifest (artifactType CANDIDATE, empty config, one layer) of a candidate's canonical JSON."""
    return carrier_manifest(CANDIDATE, candidate_data)


def candidate_digest(candidate_data: bytes) -> str:
    """Return the digest of `candidate_manifest`: the subject of gate and approval statements (not `Candidate.digest`)."""
    return digest.sha256(candidate_manifest(candidate_data))


def candidate_repository(app: str) -> str:
    """Return the registry repository that holds an application's candidates."""
    return f"candidates/{app}"


def candidate_subjects(content: dict[str, Any]) -> tuple[Subject, ...]:
    """Return the subjects of a statement about a candidate (`Candidate.content()`): its manifest, then each artifact by repository."""
    data = canonical.dumps(content)
    first = Subject(candidate_repository(content["app"]), sha256_set(candidate_digest(data)))
    pairs = sorted({(artifact["repository"], artifact["digest"]) for artifact in content["artifacts"].values()})
    return (first, *(Subject(repository, sha256_set(found)) for repository, found in pairs))


def candidate_of(statement: Statement) -> bytes | None:
    """Return the canonical JSON of the candidate that a gate or approval statement carries; None for other statements."""
    if statement.predicate_type not in (SUMMARY, APPROVAL):
        return None
    own = statement.predicate.get("setpoint")
    content = own.get("candidate") if isinstance(own, dict) else None
    return canonical.dumps(content) if isinstance(content, dict) else None


def sha256_set(text: str) -> dict[str, str]:
    """Return an OCI digest `sha256:<hex>` as in-toto's digest set `{"sha256": "<hex>"}`; bare hex is taken for sha256."""
    algorithm, colon, value = text.partition(":")
    return {algorithm: value} if colon else {"sha256": text}
