"""Sigstore bundles v0.3 with one keyed DSSE signature, and the OCI manifests that carry them; pure, called by signer, attach and verify.

The exact layout is what stock cosign and oras accept (cosign 3.1): no keyid, one signature, `tlogEntries` empty, no fields of our own,
for cosign takes a bundle with an unknown field for no bundle at all. Source: sigstore protobuf-specs v0.3, image-spec 1.1.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.model import EMPTY, EMPTY_BYTES, MANIFEST, Descriptor
from setpoint.core import canonical, digest
from setpoint.core.errors import UserError
from setpoint.evidence.model import BUNDLE, PAYLOAD, STATEMENT, Document, Statement, Subject

LIMIT_BYTES: Final = 16 << 20
"""A bundle larger than this is not read."""
_STATEMENTS: Final = (STATEMENT, "https://in-toto.io/Statement/v0.1")
_FIX: Final = "attach a Sigstore bundle v0.3 that holds one DSSE signature over an in-toto statement"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A parsed bundle; nothing about it is proved yet."""

    payload: bytes
    payload_type: str
    signature: bytes
    hint: str


def render_bundle(payload: bytes, signature: bytes, hint: str) -> bytes:
    """Return the bundle's JSON: the payload (a statement's JSON), its signature over PAE, and the key's hint."""
    return canonical.dumps(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD,
                "signatures": [{"sig": base64.b64encode(signature).decode()}],
            },
        },
    )


def parse_bundle(data: bytes) -> Bundle:
    """Return what a bundle holds.

    Raises:
        UserError: it is no bundle v0.3 with exactly one keyed signature over an in-toto payload (SP401).
    """
    if len(data) > LIMIT_BYTES:
        raise UserError("SP401", f"the bundle has {len(data)} bytes, more than {LIMIT_BYTES}", fix=_FIX)
    try:
        value = json.loads(data)
        envelope = value["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        hint = value["verificationMaterial"].get("publicKey", {}).get("hint", "")
        bundle = Bundle(
            base64.b64decode(envelope["payload"], validate=True),
            envelope["payloadType"],
            base64.b64decode(signature["sig"], validate=True),
            str(hint),
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise UserError("SP401", "the bundle cannot be read", fix=_FIX) from error
    if value.get("mediaType") != BUNDLE or bundle.payload_type != PAYLOAD:
        raise UserError("SP401", "the bundle's media type or payload type is not the supported one", fix=_FIX)
    return bundle


def render_statement(statement: Statement) -> bytes:
    """Return the canonical JSON of an in-toto Statement v1."""
    subjects = [_described(subject) for subject in statement.subjects]
    body = {"_type": STATEMENT, "subject": subjects, "predicateType": statement.predicate_type, "predicate": statement.predicate}
    return canonical.dumps(body)


def _described(subject: Subject) -> dict[str, Any]:
    described: dict[str, Any] = {"name": subject.name, "digest": subject.digest}
    return {**described, "annotations": subject.annotations} if subject.annotations else described


def parse_statement(payload: bytes) -> Statement:
    """Return the statement of a payload (v1, and v0.1 on reading).

    Raises:
        UserError: it is no in-toto statement (SP401).
    """
    try:
        value = json.loads(payload)
        if value["_type"] not in _STATEMENTS:
            raise UserError("SP401", f"the statement's type is {value['_type']!r}", fix=_FIX)
        subjects = tuple(_subject(item) for item in value["subject"])
        kind, predicate = value["predicateType"], value.get("predicate", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError("SP401", "the payload is no in-toto statement", fix=_FIX) from error
    if not subjects or not isinstance(kind, str) or not isinstance(predicate, dict):
        raise UserError("SP401", "the statement lacks subject, type or predicate", fix=_FIX)
    return Statement(subjects, kind, predicate)


def _subject(item: dict[str, Any]) -> Subject:
    notes = item.get("annotations") or {}
    digests = {str(name): str(value) for name, value in item["digest"].items()}
    return Subject(str(item.get("name", "")), digests, notes if isinstance(notes, dict) else {})


def referrer_manifest(bundle: bytes, subject: Descriptor | None, predicate_type: str, created: str) -> bytes:
    """Return the OCI manifest of a bundle blob: a referrer of subject, or a manifest of its own when there is none.

    created is RFC 3339; bundle blob and the empty config `{}` must be in the same repository.
    """
    blob = digest.sha256(bundle)
    manifest: dict[str, Any] = _carrier(BUNDLE, BUNDLE, bundle)
    manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": f"{blob.replace(':', '-')}.sigstore.json"}
    manifest["annotations"] = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        "org.opencontainers.image.created": created,
    }
    if subject is not None:
        manifest["subject"] = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size_bytes}
    return canonical.dumps(manifest)


def document_manifest(document: Document, subject: Descriptor | None, created: str) -> bytes:
    """Return the OCI manifest that carries a scanner's report as its tool wrote it: a referrer of subject, if there is one.

    Its artifactType is the document's media type, by which stock tools look for an SBOM.
    """
    manifest = _manifest(document.media_type, {"mediaType": document.media_type, "digest": document.digest, "size": document.size_bytes})
    manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": document.name}
    manifest["annotations"] = {"org.opencontainers.image.created": created}
    if subject is not None:
        manifest["subject"] = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size_bytes}
    return canonical.dumps(manifest)


def carrier_manifest(artifact_type: str, data: bytes) -> bytes:
    """Return an OCI manifest that carries one file (data) as its only layer, with media type and artifact type artifact_type."""
    return canonical.dumps(_carrier(artifact_type, artifact_type, data))


def _carrier(artifact_type: str, media_type: str, data: bytes) -> dict[str, Any]:
    return _manifest(artifact_type, {"mediaType": media_type, "digest": digest.sha256(data), "size": len(data)})


def _manifest(artifact_type: str, layer: dict[str, Any]) -> dict[str, Any]:
    empty = {"mediaType": EMPTY, "digest": digest.sha256(EMPTY_BYTES), "size": len(EMPTY_BYTES), "data": "e30="}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type, "config": empty, "layers": [layer]}
