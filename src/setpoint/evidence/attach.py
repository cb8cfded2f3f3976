"""Puts signed bundles into the registry as referrers of what they are about; called by the evidence service, signs and judges nothing.

Everything here may be repeated: the same bundle gives the same blobs and manifests.
"""

from dataclasses import replace

from setpoint.artifact.model import EMPTY, EMPTY_BYTES, MANIFEST, Descriptor
from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import BugError, NotFoundError
from setpoint.evidence.bundle import document_manifest, parse_bundle, parse_statement, referrer_manifest
from setpoint.evidence.candidate import candidate_manifest, candidate_of
from setpoint.evidence.model import BUNDLE, CANDIDATE, Document, EvidenceRecord, Statement
from setpoint.evidence.ports import Signed


def attach(store: OciStore, signed: Signed, original: bytes = b"", *, run: str = "", promotion: str = "") -> EvidenceRecord:
    """Push a bundle for its primary subject, and for a gate or approval statement also for each artifact of the candidate.

    original is the document that the statement names, if it names one; it becomes a referrer of the same subject, before the bundle.

    Raises:
        NotFoundError: the artifact it is about is not in the registry (SP407).
        BugError: the statement's candidate is not the subject (SP408).
    """
    statement = parse_statement(parse_bundle(signed.payload).payload)
    candidate = candidate_of(statement)
    if candidate is not None:
        _push_candidate(store, signed, candidate)
    subject = None
    if digest.is_digest(signed.subject):
        subject = _describe(store, signed.oci_repository, signed.subject)
        if subject is None:
            fix = "push the artifact again, or run its pipeline again"
            raise NotFoundError("SP407", "the artifact is not in the registry", where=f"{signed.oci_repository}@{signed.subject}", fix=fix)
    document = _push_document(store, signed, subject, original) if signed.document is not None else None
    manifest = _push(store, signed.oci_repository, signed, subject)
    if candidate is not None:
        _push_to_artifacts(store, signed, statement)
    return EvidenceRecord(
        predicate_type=signed.predicate_type,
        bundle=digest.sha256(signed.payload),
        manifest=manifest,
        oci_repository=signed.oci_repository,
        subject=signed.subject,
        result=signed.result,
        run=run,
        task=signed.task,
        artifact=signed.artifact,
        promotion=promotion,
        at=signed.at,
        summary=signed.summary,
        report=signed.report,
        document=document,
    )


def _push(store: OciStore, repository: str, signed: Signed, subject: Descriptor | None) -> str:
    store.put_blob(repository, EMPTY_BYTES, EMPTY)
    store.put_blob(repository, signed.payload, BUNDLE)
    data = referrer_manifest(signed.payload, subject, signed.predicate_type, signed.at)
    return store.put_manifest(repository, data, MANIFEST).digest


def _push_document(store: OciStore, signed: Signed, subject: Descriptor | None, original: bytes) -> Document | None:
    document = signed.document
    if document is None or digest.sha256(original) != document.digest:
        raise BugError("SP408", "the document is another than the statement is about", where=signed.subject)
    store.put_blob(signed.oci_repository, EMPTY_BYTES, EMPTY)
    store.put_blob(signed.oci_repository, original, document.media_type)
    data = document_manifest(document, subject, signed.at)
    return replace(document, manifest=store.put_manifest(signed.oci_repository, data, MANIFEST).digest)


def _push_candidate(store: OciStore, signed: Signed, candidate: bytes) -> None:
    manifest = candidate_manifest(candidate)
    if digest.sha256(manifest) != signed.subject:
        raise BugError("SP408", "the signer's statement is about another candidate than it carries", where=signed.subject)
    store.put_blob(signed.oci_repository, EMPTY_BYTES, EMPTY)
    store.put_blob(signed.oci_repository, candidate, CANDIDATE)
    store.put_manifest(signed.oci_repository, manifest, MANIFEST)


def _push_to_artifacts(store: OciStore, signed: Signed, statement: Statement) -> None:
    for subject in statement.subjects[1:]:
        algorithm, value = next(iter(subject.digest.items()))
        described = _describe(store, subject.name, f"{algorithm}:{value}")
        # What is gone from the registry needs no copy: the statement lies at the candidate in any case.
        if described is not None:
            _push(store, subject.name, signed, described)


def _describe(store: OciStore, repository: str, wanted: str) -> Descriptor | None:
    manifest = store.manifest(repository, wanted)
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.data)) if manifest is not None else None
