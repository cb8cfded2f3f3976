"""SSHSIG signatures of commits: made in the signer process, checked by admission, `verify` and gates, all with `cryptography` alone.

Source: openssh-portable PROTOCOL.sshsig (namespace `git`, armored) and PROTOCOL.u2f; RFC 8332 for RSA, RFC 5656 for ECDSA. We sign
with Ed25519 and sha512. Stock `ssh-keygen -Y verify` and `git verify-commit` accept what this makes, and this accepts what stock
ssh-keygen signs (contract tests hold both). It reads no files and trusts no key found in a signature: who asks compares it with the keys
that count.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from setpoint.core.public_keys import LEAST_RSA_BITS
from setpoint.source.ports import GitStore

NAMESPACE: Final = "git"
BEGIN: Final = b"-----BEGIN SSH SIGNATURE-----"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_END: Final = b"-----END SSH SIGNATURE-----"
_ALGORITHM: Final = b"ssh-ed25519"
_HASHES: Final = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_LIMIT_BYTES: Final = 16 << 10
_WIDTH: Final = 70
_RSA: Final = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_CURVES: Final[dict[bytes, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    b"ecdsa-sha2-nistp256": (ec.SECP256R1(), hashes.SHA256()),
    b"ecdsa-sha2-nistp384": (ec.SECP384R1(), hashes.SHA384()),
    b"ecdsa-sha2-nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_SK_ED25519: Final = b"sk-ssh-ed25519@openssh.com"
_SK_ECDSA: Final = b"sk-ecdsa-sha2-nistp256@openssh.com"
_TOUCHED: Final = 0x01
"""Flag of a security key: somebody was there."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An armored signature, taken apart."""

    key: bytes
    """The public key's blob, as the signature names it."""
    message: bytes
    """What the key signed."""
    signature: bytes


def public_line(key: Ed25519PublicKey) -> str:
    """Return the key as OpenSSH writes it, without a comment: `ssh-ed25519 AAAA...`."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def sign(key: Ed25519PrivateKey, payload: bytes, namespace: str = NAMESPACE) -> bytes:
    """Return the armored signature over payload."""
    signature = key.sign(_signed_data(namespace.encode(), b"sha512", hashlib.sha512(payload).digest()))
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = _MAGIC + _VERSION.to_bytes(4, "big")
    blob += _string(_string(_ALGORITHM) + _string(raw)) + _string(namespace.encode()) + _string(b"") + _string(b"sha512")
    blob += _string(_string(_ALGORITHM) + _string(signature))
    text = base64.b64encode(blob)
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return b"\n".join([BEGIN, *lines, _END]) + b"\n"


def verify(public_key: str, payload: bytes, armored: bytes, namespace: str = NAMESPACE) -> bool:
    """Say whether armored is a signature of payload by this Ed25519 key (an OpenSSH line), in this namespace; anything odd is no."""
    try:
        key = load_ssh_public_key(public_key.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        found = envelope(payload, armored, namespace)
        wanted = _string(_ALGORITHM) + _string(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    except (UnsupportedAlgorithm, ValueError):
        return False
    return hmac.compare_digest(found.key, wanted) and holds(found)


def commit_signed(git: GitStore, repository: str, commit: str, public_key: str) -> bool:
    """Say whether a commit in a hosted repository carries the commit key's signature over exactly its bytes."""
    raw = git.raw_commit(repository, commit)
    return raw is not None and verify(public_key, raw[0], raw[1])


def envelope(payload: bytes, armored: bytes, namespace: str = NAMESPACE) -> Envelope:
    """Return a signature taken apart; ValueError when it is no SSHSIG of this namespace."""
    if len(armored) > _LIMIT_BYTES:
        raise ValueError("too long")
    lines = armored.strip().split(b"\n")
    if lines[0].strip() != BEGIN or lines[-1].strip() != _END:
        raise ValueError("no armor")
    try:
        reader = _Reader(base64.b64decode(b"".join(line.strip() for line in lines[1:-1]), validate=True))
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if reader.take(6) != _MAGIC or int.from_bytes(reader.take(4), "big") != _VERSION:
        raise ValueError("no SSHSIG of version 1")
    key, space, _reserved, algorithm, blob = (reader.string() for _ in range(5))
    if reader.rest or space != namespace.encode() or algorithm not in _HASHES:
        raise ValueError("another namespace or hash")
    return Envelope(key, _signed_data(space, algorithm, _HASHES[algorithm](payload).digest()), blob)


def holds(found: Envelope) -> bool:
    """Say whether the key that a signature names made it, by an algorithm that counts (no SHA-1); anything odd is no."""
    try:
        kind = _Reader(found.key).string()
        reader = _Reader(found.signature)
        algorithm, signature = reader.string(), reader.string()
        if kind in (_SK_ED25519, _SK_ECDSA):
            _by_security_key(kind, found, (algorithm, signature), reader)
            return True
        if reader.rest:
            return False
        _by_key(kind, found, (algorithm, signature))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _by_key(kind: bytes, found: Envelope, made: tuple[bytes, bytes]) -> None:
    """Verify a plain key's signature; raises when it is none."""
    algorithm, signature = made
    key = load_ssh_public_key(kind + b" " + base64.b64encode(found.key))
    if isinstance(key, Ed25519PublicKey) and kind == algorithm == _ALGORITHM:
        key.verify(signature, found.message)
    elif isinstance(key, RSAPublicKey) and kind == b"ssh-rsa" and algorithm in _RSA and key.key_size >= LEAST_RSA_BITS:
        key.verify(signature, found.message, padding.PKCS1v15(), _RSA[algorithm])
    elif isinstance(key, ec.EllipticCurvePublicKey) and kind == algorithm and kind in _CURVES:
        key.verify(_dss(signature), found.message, ec.ECDSA(_CURVES[kind][1]))
    else:
        raise ValueError("another kind of signature")


def _by_security_key(kind: bytes, found: Envelope, made: tuple[bytes, bytes], rest: "_Reader") -> None:
    """Verify a FIDO key's signature (PROTOCOL.u2f): over the hashes of application and message, with a touch; raises when it is none."""
    flags, counter = rest.take(1), rest.take(4)
    named = _Reader(found.key)
    named.string()
    if made[0] != kind or rest.rest or not flags[0] & _TOUCHED:
        raise ValueError("another kind of signature, or nobody touched the key")
    curve = named.string() if kind == _SK_ECDSA else b""
    point, application = named.string(), named.string()
    message = hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(found.message).digest()
    if named.rest:
        raise ValueError("no key")
    if kind == _SK_ED25519:
        Ed25519PublicKey.from_public_bytes(point).verify(made[1], message)
    elif curve == b"nistp256":
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(_dss(made[1]), message, ec.ECDSA(hashes.SHA256()))
    else:
        raise ValueError("another curve")


def _dss(signature: bytes) -> bytes:
    """Return an SSH signature of ECDSA (two numbers) as DER."""
    reader = _Reader(signature)
    r, s = (int.from_bytes(reader.string(), "big") for _ in range(2))
    if reader.rest:
        raise ValueError("no signature")
    return encode_dss_signature(r, s)


def _signed_data(namespace: bytes, algorithm: bytes, hashed: bytes) -> bytes:
    return _MAGIC + _string(namespace) + _string(b"") + _string(algorithm) + _string(hashed)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Reader:
    """Takes length-prefixed strings off a byte string."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise ValueError("too short")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))
