"""Everything that is attached to a subject, bundle by bundle: what it says, who signed it, or why it does not count.

Called by `observe.evidence` for `setpoint evidence` and its export; reads the OCI store and the trust root only, and judges no candidate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import SetpointError
from setpoint.evidence.bundle import parse_bundle, parse_statement
from setpoint.evidence.model import APPROVAL, BUNDLE, PROVENANCE, SIGNER_OF, SUMMARY, TEST_RESULT, Statement
from setpoint.evidence.provenance import claims
from setpoint.evidence.scans.statement import said_by
from setpoint.evidence.statements import VERIFIER, stated_at
from setpoint.evidence.verify import TrustRoot, bundle_bytes, verify_bundle


@dataclass(frozen=True, slots=True)
class Attached:
    """A bundle as it lies in the registry."""

    manifest: str
    """Digest of the referrer manifest that carries it."""
    data: bytes
    """Empty when it cannot be read."""
    statement: Statement | None
    role: str
    """Of the key that signed it; empty when it does not verify."""
    fault: str

    @property
    def at(self) -> str:
        """The signed time; empty when there is none."""
        return stated_at(self.statement) if self.statement is not None else ""


def attached(store: OciStore, trust: TrustRoot, oci_repository: str, subject: str, manifests: Iterable[str] = ()) -> list[Attached]:
    """Return the bundles of a subject by signed time, each once; manifests are those that no referrer list has (of a commit)."""
    listed = list(manifests) or [descriptor.digest for descriptor in store.referrers(oci_repository, subject, BUNDLE)]
    algorithm, _, value = subject.partition(":")
    found: dict[str, Attached] = {}
    for manifest in listed:
        item = _read(store, trust, (oci_repository, manifest), (algorithm, value))
        found.setdefault(digest.sha256(item.data) if item.data else manifest, item)
    return sorted(found.values(), key=lambda item: (item.at, item.manifest))


def _read(store: OciStore, trust: TrustRoot, place: tuple[str, str], subject: tuple[str, str]) -> Attached:
    data, statement = b"", None
    try:
        data = bundle_bytes(store, *place)
        statement = parse_statement(parse_bundle(data).payload)
        return Attached(place[1], data, statement, verify_bundle(data, trust, subject).role.value, "")
    except SetpointError as error:
        return Attached(place[1], data, statement, "", error.what)


def result_of(statement: Statement | None) -> str:
    """Return PASSED or FAILED as the statement says; empty for kinds that say neither."""
    if statement is None:
        return ""
    if statement.predicate_type in (PROVENANCE, APPROVAL):
        return "PASSED"
    if statement.predicate_type not in SIGNER_OF:
        return str(statement.own.get("result", ""))
    key = {SUMMARY: "verificationResult", TEST_RESULT: "result"}.get(statement.predicate_type, "")
    return str(statement.predicate.get(key, ""))


def summary_of(statement: Statement | None) -> str:
    """Return what a person reads of a statement: `70 of 70 tests passed`, `dana@example.com: looks good`."""
    if statement is None:
        return ""
    words = {PROVENANCE: _provenance, TEST_RESULT: _tests, SUMMARY: _gate, APPROVAL: _approval}.get(statement.predicate_type, _report)
    return " ".join(word for word in words(statement) if word)


def _report(statement: Statement) -> Iterator[str]:
    own = statement.own
    if own.get("format"):
        yield f"{own.get('report', '')}: {said_by(statement)}, in task {own.get('task')}"
        return
    yield str(own.get("report", ""))
    yield said_by(statement)
    yield f"in task {own.get('task')}" if own else ""


def _provenance(statement: Statement) -> Iterator[str]:
    built = claims(statement)
    yield f"revision {digest.short(built.revision)} of {built.repository}" if built.revision else "no revision is named"
    yield f"with the network: {', '.join(built.networked)}" if built.networked else ""


def _tests(statement: Statement) -> Iterator[str]:
    own = statement.predicate.get("setpoint")
    counts = own.get("counts") if isinstance(own, dict) else None
    if not isinstance(own, dict) or not isinstance(counts, dict):
        return
    passed, failed, skipped = (counts.get(name) for name in ("passed", "failed", "skipped"))
    if isinstance(passed, int) and isinstance(failed, int):
        yield f"{passed} of {passed + failed} tests passed"
    yield f"({skipped} skipped)" if skipped else ""
    yield f"in task {own.get('task')}"


def _gate(statement: Statement) -> Iterator[str]:
    own, verifier = statement.predicate.get("setpoint"), statement.predicate.get("verifier")
    if isinstance(own, dict) and isinstance(verifier, dict):
        yield f"gate of {str(verifier.get('id', '')).removeprefix(VERIFIER)}, promotion {own.get('promotion', '')}"


def _approval(statement: Statement) -> Iterator[str]:
    approver = statement.predicate.get("approver")
    if isinstance(approver, dict):
        message = str(statement.predicate.get("message", ""))
        yield f"{approver.get('email', '')}: {message}" if message else str(approver.get("email", ""))
        yield f"(promotion {statement.predicate.get('promotion', '')})"
