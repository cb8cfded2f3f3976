"""DSSE and Sigstore bundles: the exact bytes that other tools accept."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from setpoint.artifact.model import MANIFEST, Descriptor
from setpoint.core import digest
from setpoint.core.errors import UserError
from setpoint.evidence import bundle, dsse
from setpoint.evidence.candidate import candidate_manifest, candidate_subjects
from setpoint.evidence.model import BUNDLE, CANDIDATE, PAYLOAD, TEST_RESULT, Statement, Subject

STATEMENT = Statement((Subject("web", {"sha256": "ab" * 32}),), TEST_RESULT, {"result": "PASSED"})


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def test_pae_is_the_published_vector() -> None:
    """The pre-authentication encoding is that of the DSSE protocol's own example."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_pae_counts_bytes_not_letters() -> None:
    """Lengths are of UTF-8 bytes, so no two (type, body) pairs share an encoding."""
    assert dsse.pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_signature_holds_only_for_its_key_and_message() -> None:
    """A signature by another key, over other bytes, or that is rubbish proves nothing."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"m", ec.ECDSA(hashes.SHA256()))
    assert dsse.signature_holds(_pem(key), b"m", signature)
    assert not dsse.signature_holds(_pem(other), b"m", signature)
    assert not dsse.signature_holds(_pem(key), b"n", signature)
    assert not dsse.signature_holds(_pem(key), b"m", b"rubbish")
    assert not dsse.signature_holds("", b"m", signature)


def test_other_curves_are_no_keys_of_ours() -> None:
    """A key on another curve is refused, whatever it signed."""
    key = ec.generate_private_key(ec.SECP384R1())
    assert not dsse.signature_holds(_pem(key), b"m", key.sign(b"m", ec.ECDSA(hashes.SHA256())))


def test_bundle_has_exactly_the_fields_that_cosign_takes() -> None:
    """No keyid, one signature, an empty tlogEntries and nothing else: an unknown field makes cosign skip the bundle."""
    value = json.loads(bundle.render_bundle(b"{}", b"sig", "hint"))
    assert value == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "hint"}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(b"{}").decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(b"sig").decode()}],
        },
    }


def test_bundle_and_statement_come_back_as_they_were() -> None:
    """Parsing is the inverse of rendering."""
    data = bundle.render_bundle(bundle.render_statement(STATEMENT), b"sig", "h")
    parsed = bundle.parse_bundle(data)
    assert (parsed.signature, parsed.payload_type, parsed.hint) == (b"sig", PAYLOAD, "h")
    assert bundle.parse_statement(parsed.payload) == STATEMENT


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"},
        {"dsseEnvelope": None},
        {"dsseEnvelope": {"payload": "e30=", "payloadType": PAYLOAD, "signatures": []}},
        {"dsseEnvelope": {"payload": "e30=", "payloadType": PAYLOAD, "signatures": [{"sig": "YQ=="}, {"sig": "YQ=="}]}},
        {"dsseEnvelope": {"payload": "e30=", "payloadType": "text/plain", "signatures": [{"sig": "YQ=="}]}},
        {"dsseEnvelope": {"payload": "%%", "payloadType": PAYLOAD, "signatures": [{"sig": "YQ=="}]}},
        {"verificationMaterial": []},
    ],
)
def test_faulty_bundles_are_refused(change: dict[str, object]) -> None:
    """Anything but one signature over an in-toto payload in a v0.3 bundle is SP401, never an exception of the parser."""
    value = json.loads(bundle.render_bundle(b"{}", b"s", "h")) | change
    with pytest.raises(UserError, match="SP401"):
        bundle.parse_bundle(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'"text"'])
def test_rubbish_is_refused(data: bytes) -> None:
    """Bytes that are no JSON object are SP401 for bundle and statement."""
    with pytest.raises(UserError, match="SP401"):
        bundle.parse_bundle(data)
    with pytest.raises(UserError, match="SP401"):
        bundle.parse_statement(data)


def test_referrer_manifest_follows_the_layout() -> None:
    """Artifact type, empty config with data, titled layer, subject and the annotations that oras and cosign read."""
    data = bundle.render_bundle(b"{}", b"s", "h")
    subject = Descriptor(MANIFEST, "sha256:" + "cd" * 32, 7)
    value = json.loads(bundle.referrer_manifest(data, subject, TEST_RESULT, "2026-01-01T00:00:00.000Z"))
    blob = digest.sha256(data)
    assert value["artifactType"] == BUNDLE
    assert value["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
        "data": "e30=",
    }
    assert value["layers"] == [
        {
            "mediaType": BUNDLE,
            "digest": blob,
            "size": len(data),
            "annotations": {"org.opencontainers.image.title": f"{blob.replace(':', '-')}.sigstore.json"},
        },
    ]
    assert value["subject"] == {"mediaType": MANIFEST, "digest": subject.digest, "size": 7}
    assert value["annotations"] == {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": TEST_RESULT,
        "org.opencontainers.image.created": "2026-01-01T00:00:00.000Z",
    }
    assert "subject" not in json.loads(bundle.referrer_manifest(data, None, TEST_RESULT, ""))


def test_candidate_manifest_is_the_first_subject() -> None:
    """Everybody who renders a candidate's manifest comes to the digest that gate statements are about; artifacts follow."""
    artifact = {"repository": "hello/web", "digest": "sha256:" + "ab" * 32}
    content = {"app": "web", "environment": "prod", "artifacts": {"web": artifact}, "trees": {"app": None, "environment": None}}
    manifest = candidate_manifest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    assert json.loads(manifest)["artifactType"] == CANDIDATE
    first, second = candidate_subjects(content)
    assert first == Subject("candidates/web", {"sha256": digest.sha256(manifest)[7:]})
    assert second == Subject("hello/web", {"sha256": "ab" * 32})
