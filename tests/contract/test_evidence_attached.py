"""What `setpoint evidence` says of bundles in a real store: who signed, or why a bundle does not count; and the tar that leaves."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import EMPTY, EMPTY_BYTES, MANIFEST, Descriptor
from setpoint.core import digest
from setpoint.evidence.attached import Attached, attached, result_of, summary_of
from setpoint.evidence.bundle import carrier_manifest, referrer_manifest, render_bundle, render_statement
from setpoint.evidence.dsse import key_hint, pae
from setpoint.evidence.model import BUNDLE, PAYLOAD, TEST_RESULT, Statement, Subject
from setpoint.evidence.pack import PackedSubject, pack
from setpoint.evidence.verify import TrustRoot

REPOSITORY = "hello/web"
DATA = carrier_manifest("application/vnd.example", b"an artifact")
ARTIFACT = digest.sha256(DATA)


@dataclass
class Registry:
    """A store with one artifact, a trusted scanner key and a stranger's."""

    store: OciStoreFolder
    ours: ec.EllipticCurvePrivateKey
    other: ec.EllipticCurvePrivateKey

    @property
    def trust(self) -> TrustRoot:
        """The trust root with the scanner's key."""
        return TrustRoot({"scanner": _pem(self.ours)})

    def attach(self, result: str, at: str, key: ec.EllipticCurvePrivateKey, about: str = ARTIFACT) -> str:
        """Attach a test result and return its bundle's digest."""
        own = {"task": "test", "at": at, "counts": {"passed": 3, "failed": 0, "skipped": 1}}
        subject = Subject(REPOSITORY, {"sha256": about.partition(":")[2]})
        payload = render_statement(Statement((subject,), TEST_RESULT, {"result": result, "setpoint": own}))
        bundle = render_bundle(payload, key.sign(pae(PAYLOAD, payload), ec.ECDSA(hashes.SHA256())), key_hint(_pem(key)))
        return self.put(bundle)

    def put(self, bundle: bytes) -> str:
        """Push a bundle as a referrer of the artifact."""
        self.store.put_blob(REPOSITORY, bundle, BUNDLE)
        manifest = referrer_manifest(bundle, Descriptor(MANIFEST, ARTIFACT, len(DATA)), TEST_RESULT, "2026-01-01T00:00:00Z")
        self.store.put_manifest(REPOSITORY, manifest, MANIFEST)
        return digest.sha256(bundle)

    def found(self) -> list[Attached]:
        """Return what is attached to the artifact."""
        return attached(self.store, self.trust, REPOSITORY, ARTIFACT)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store that holds the artifact."""
    store = OciStoreFolder(tmp_path)
    store.put_blob(REPOSITORY, EMPTY_BYTES, EMPTY)
    store.put_blob(REPOSITORY, b"an artifact", "application/vnd.example")
    store.put_manifest(REPOSITORY, DATA, MANIFEST)
    return Registry(store, ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))


def test_bundles_come_in_signed_order_with_their_signer(registry: Registry) -> None:
    """The signed time orders, the statement speaks, the key's role is named."""
    late = registry.attach("FAILED", "2026-01-02T00:00:00.000Z", registry.ours)
    early = registry.attach("PASSED", "2026-01-01T00:00:00.000Z", registry.ours)
    found = registry.found()
    assert [digest.sha256(item.data) for item in found] == [early, late]
    assert [(item.role, result_of(item.statement), item.fault) for item in found] == [("scanner", "PASSED", ""), ("scanner", "FAILED", "")]
    assert summary_of(found[0].statement) == "3 of 3 tests passed (1 skipped) in task test"


def test_what_does_not_verify_is_listed_with_its_fault(registry: Registry) -> None:
    """A stranger's signature, a statement about something else and rubbish are shown, never as signed, and hide no good one."""
    registry.attach("PASSED", "2026-01-01T00:00:00.000Z", registry.ours)
    registry.attach("PASSED", "2026-01-02T00:00:00.000Z", registry.other)
    registry.attach("PASSED", "2026-01-03T00:00:00.000Z", registry.ours, about="sha256:" + "0" * 64)
    registry.put(b"{}")
    found = registry.found()
    assert sorted((item.role, item.fault) for item in found) == [
        ("", "not signed by this home's scanner key"),
        ("", "signed, but about another subject"),
        ("", "the bundle cannot be read"),
        ("scanner", ""),
    ]


def test_the_tar_is_deterministic_and_says_what_counts(registry: Registry) -> None:
    """Twice the same bytes, no times, names by digest, a command for what verifies and a sentence for what does not."""
    good = registry.attach("PASSED", "2026-01-01T00:00:00.000Z", registry.ours)
    registry.attach("PASSED", "2026-01-02T00:00:00.000Z", registry.other)
    subject = PackedSubject("artifact web", ARTIFACT, DATA, registry.found())
    data = pack("hello", [subject], registry.trust)
    assert data == pack("hello", [subject], registry.trust)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        page = tar.extractfile("evidence/README.md")
        assert page is not None
        text = page.read().decode()
    assert {(member.mtime, member.uid, member.mode) for member in members} == {(0, 0, 0o644)}
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {"evidence/keys/scanner.pub", f"evidence/manifests/{ARTIFACT.replace(':', '-')}.json"} <= set(names)
    assert text.count("cosign verify-blob-attestation") == 1
    assert f"--bundle bundles/{good.replace(':', '-')}.sigstore.json" in text
    assert "Does not count: not signed by this home's scanner key." in text
