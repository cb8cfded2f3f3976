"""Does a bundle prove anything: signature by the key of the right role, type, subject and bytes; called by facts, gate, lines, the signer.

Trust comes from the journal's first entry (law 9), never from the key files; a signature alone is no approval, so callers look at the
content of what is verified here. Reads the OCI store only, so it works offline.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import SetpointError, UserError
from setpoint.evidence.bundle import LIMIT_BYTES, parse_bundle, parse_statement
from setpoint.evidence.dsse import pae, signature_holds
from setpoint.evidence.model import BUNDLE, PAYLOAD, Verified, signer_of
from setpoint.ground.identity.model import Role
from setpoint.ground.journal.model import Entry

_FIX: Final = "only bundles signed by this home's role keys count; see `setpoint verify`"


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """The public halves of the role keys, as the home was created with them."""

    keys: dict[str, str]
    """role -> PEM SPKI; for `commit` one OpenSSH line"""

    @classmethod
    def from_entry(cls, entry: Entry) -> "TrustRoot":
        """Return the trust root of a `home.created` entry.

        Raises:
            UserError: it is another entry, or holds no keys (SP406).
        """
        keys = entry.body.get("keys")
        if entry.kind != "home.created" or not isinstance(keys, dict):
            raise UserError("SP406", "the journal's first entry names no role keys", fix="restore the journal from a copy")
        return cls({str(role): str(text) for role, text in keys.items()})

    def key(self, role: Role) -> str:
        """Return a role's public key; empty when there is none, which verifies nothing."""
        return self.keys.get(role.value, "")


def verify_bundle(data: bytes, trust: TrustRoot, subject: tuple[str, str]) -> Verified:
    """Return what a bundle proves about subject, for example `("sha256", "<hex>")`.

    Raises:
        UserError: it is malformed (SP401), or signature, role, type or subject do not hold (SP403).
    """
    bundle = parse_bundle(data)
    statement = parse_statement(bundle.payload)
    role = signer_of(statement.predicate_type)
    if not signature_holds(trust.key(role), pae(PAYLOAD, bundle.payload), bundle.signature):
        raise UserError("SP403", f"not signed by this home's {role} key", fix=_FIX)
    algorithm, value = subject
    if all(item.digest.get(algorithm) != value for item in statement.subjects):
        raise UserError("SP403", "signed, but about another subject", fix=_FIX)
    return Verified(statement, role, digest.sha256(data))


@dataclass(frozen=True, slots=True)
class Found:
    """Everything attached to one subject."""

    verified: tuple[Verified, ...]
    """In the registry's order."""
    faults: tuple[str, ...]
    """Bundles that do not count, and why."""


def verify_subject(store: OciStore, trust: TrustRoot, oci_repository: str, subject_digest: str) -> Found:
    """Verify every bundle that the registry lists as a referrer of a digest; a faulty one never hides a good one."""
    verified: list[Verified] = []
    faults: list[str] = []
    seen: set[str] = set()
    algorithm, _, value = subject_digest.partition(":")
    for descriptor in store.referrers(oci_repository, subject_digest, BUNDLE):
        try:
            found = verify_bundle(bundle_bytes(store, oci_repository, descriptor.digest), trust, (algorithm, value))
        except SetpointError as error:
            faults.append(f"bundle {digest.short(descriptor.digest)}: {error.what}")
            continue
        if found.bundle not in seen:
            seen.add(found.bundle)
            verified.append(found)
    return Found(tuple(verified), tuple(faults))


def bundle_bytes(store: OciStore, oci_repository: str, manifest_digest: str) -> bytes:
    """Return the bundle that a referrer manifest carries, with both digests checked again.

    Raises:
        UserError: the manifest carries no single bundle, or bytes do not match their digest (SP401).
    """
    manifest = store.manifest(oci_repository, manifest_digest)
    if manifest is None or digest.sha256(manifest.data) != manifest_digest:
        raise UserError("SP401", "the bundle's manifest is gone or does not match its digest", where=manifest_digest)
    try:
        value: dict[str, Any] = json.loads(manifest.data)
        (layer,) = value["layers"]
        media_type, wanted = layer["mediaType"], layer["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("SP401", "the bundle's manifest does not carry one bundle", where=manifest_digest) from error
    if media_type != BUNDLE:
        raise UserError("SP401", "the manifest's layer is no bundle", where=manifest_digest)
    data = store.read_blob(oci_repository, wanted, LIMIT_BYTES)
    if digest.sha256(data) != wanted:
        raise UserError("SP401", "the bundle does not match its digest", where=str(wanted))
    return data
