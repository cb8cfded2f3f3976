"""DSSE: the bytes that are signed, and the check of a signature over them; called by the bundle and the signer, never holds a private key.

Source: secure-systems-lab/dsse, protocol.md v1.0 (PAE). ECDSA signatures are ASN.1 DER over PAE with SHA-256.
"""

import base64
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: `DSSEv1 <len> <type> <len> <body>`, lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_hint(public_pem: str) -> str:
    """Return base64 of SHA-256 over the key's SPKI DER: the hint of a bundle and the key's id.

    Raises:
        ValueError: the text is no PEM public key.
    """
    der = serialization.load_pem_public_key(public_pem.encode()).public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def signature_holds(public_pem: str, message: bytes, signature: bytes) -> bool:
    """Say whether the P-256 (or Ed25519) key made this signature over message; a broken key or signature is no."""
    try:
        key = serialization.load_pem_public_key(public_pem.encode())
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            return True
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return False
