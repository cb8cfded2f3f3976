"""SSHSIG signatures of commits: made in the signer process, checked by admission and `verify`, both with `cryptography` alone.

Source: openssh-portable PROTOCOL.sshsig; namespace `git`, hash sha512, Ed25519, armored. Stock `ssh-keygen -Y verify` and
`git verify-commit` accept what this makes (contract tests hold it to that). It reads no files and trusts no key found in a signature.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from setpoint.source.ports import GitStore

NAMESPACE: Final = "git"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_BEGIN: Final = b"-----BEGIN SSH SIGNATURE-----"
_END: Final = b"-----END SSH SIGNATURE-----"
_ALGORITHM: Final = b"ssh-ed25519"
_HASHES: Final = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_LIMIT_BYTES: Final = 16 << 10
_WIDTH: Final = 70


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
    return b"\n".join([_BEGIN, *lines, _END]) + b"\n"


def verify(public_key: str, payload: bytes, armored: bytes, namespace: str = NAMESPACE) -> bool:
    """Say whether armored is a signature of payload by this key (an OpenSSH line), in this namespace; anything odd is no."""
    try:
        key = load_ssh_public_key(public_key.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        data, signature = _open(armored, key, payload, namespace.encode())
        key.verify(signature, data)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, binascii.Error):
        return False
    return True


def commit_signed(git: GitStore, repository: str, commit: str, public_key: str) -> bool:
    """Say whether a commit in a hosted repository carries the commit key's signature over exactly its bytes."""
    raw = git.raw_commit(repository, commit)
    return raw is not None and verify(public_key, raw[0], raw[1])


def _open(armored: bytes, key: Ed25519PublicKey, payload: bytes, namespace: bytes) -> tuple[bytes, bytes]:
    """Return (signed data, raw signature); ValueError when the envelope is not for this key and namespace."""
    if len(armored) > _LIMIT_BYTES:
        raise ValueError("too long")
    lines = armored.strip().split(b"\n")
    if lines[0].strip() != _BEGIN or lines[-1].strip() != _END:
        raise ValueError("no armor")
    reader = _Reader(base64.b64decode(b"".join(line.strip() for line in lines[1:-1]), validate=True))
    if reader.take(6) != _MAGIC or int.from_bytes(reader.take(4), "big") != _VERSION:
        raise ValueError("no SSHSIG of version 1")
    named, space, _reserved, algorithm, blob = (reader.string() for _ in range(5))
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    wanted = _string(_ALGORITHM) + _string(raw)
    if reader.rest or space != namespace or algorithm not in _HASHES or not hmac.compare_digest(named, wanted):
        raise ValueError("another key, namespace or hash")
    inner = _Reader(blob)
    kind, signature = inner.string(), inner.string()
    if kind != _ALGORITHM or inner.rest:
        raise ValueError("another kind of signature")
    return _signed_data(namespace, algorithm, _HASHES[algorithm](payload).digest()), signature


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
