"""Public keys of people as they write them into setpoint.yaml: a line of OpenSSH, or an armored OpenPGP key.

Called by the configuration (is it one, and whose?) and by the check of commit signatures; it takes keys apart and verifies nothing. Pure.
Sources: RFC 4253 section 6.6, RFC 5656, PROTOCOL.u2f of openssh-portable for SSH; RFC 4880 sections 4.2, 6.2, 11.1 and 12.2 for OpenPGP.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

SSH: Final = (
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
"""Kinds of SSH keys whose signatures are understood."""
LEAST_RSA_BITS: Final = 2048
LIMIT_BYTES: Final = 64 << 10
_BEGIN: Final = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END: Final = "-----END PGP PUBLIC KEY BLOCK-----"
_PRIMARY: Final = 6
_SECRET: Final = (5, 7)
_PARTS: Final = (2, 6, 10, 12, 13, 14, 17)
"""Packets of a transferable public key: signatures, keys, marker, trust, user ids and attributes."""


class KeyFaultError(ValueError):
    """A text is no public key; its words say why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key."""

    kind: Literal["ssh", "openpgp"]
    data: bytes
    """The blob of an SSH key; the packets of an OpenPGP key."""
    id: str
    """`SHA256:...` as ssh-keygen prints it; the fingerprint as gpg prints it."""


def parse(text: str) -> PublicKey:
    """Return a key.

    Raises:
        KeyFaultError: it is none, or one that nobody should use.
    """
    stripped = text.strip()
    if len(stripped) > LIMIT_BYTES:
        raise KeyFaultError(f"it is longer than {LIMIT_BYTES >> 10} KiB")
    if "PRIVATE KEY" in stripped:
        raise KeyFaultError("it is a PRIVATE key: take it out, and make another one")
    try:
        return _openpgp(stripped) if stripped.startswith("-----BEGIN") else _ssh(stripped)
    except (binascii.Error, IndexError) as error:
        raise KeyFaultError("it is damaged") from error


def ssh_id(blob: bytes) -> str:
    """Return the fingerprint of an SSH key as ssh-keygen prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _ssh(line: str) -> PublicKey:
    kind, _space, rest = line.partition(" ")
    if kind not in SSH or "\n" in line:
        raise KeyFaultError(f"it begins with none of {', '.join(SSH)}")
    blob = base64.b64decode(rest.split(" ")[0], validate=True)
    named = _strings(blob)
    if next(named, b"") != kind.encode():
        raise KeyFaultError("it is damaged")
    if kind == "ssh-rsa":
        _exponent, modulus = next(named, b""), next(named, b"")
        if int.from_bytes(modulus, "big").bit_length() < LEAST_RSA_BITS:
            raise KeyFaultError(f"an RSA key needs at least {LEAST_RSA_BITS} bits")
    return PublicKey("ssh", blob, ssh_id(blob))


def _strings(blob: bytes) -> Iterator[bytes]:
    while len(blob) >= 4:
        size = int.from_bytes(blob[:4], "big")
        if size > len(blob) - 4:
            return
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]


def _openpgp(text: str) -> PublicKey:
    lines = [line.strip() for line in text.splitlines()]
    if lines[0] != _BEGIN or lines[-1] != _END or "" not in lines:
        raise KeyFaultError("it is no armored OpenPGP public key (gpg --armor --export)")
    body = [line for line in lines[lines.index("") + 1 : -1] if line and not line.startswith("=")]
    data = base64.b64decode("".join(body), validate=True)
    primaries = []
    for tag, packet in _packets(data):
        if tag in _SECRET:
            raise KeyFaultError("it is a PRIVATE key: take it out, and make another one")
        if tag not in _PARTS:
            raise KeyFaultError("it holds more than one OpenPGP public key")
        if tag == _PRIMARY:
            primaries.append(packet)
    if len(primaries) != 1:
        raise KeyFaultError("it holds no OpenPGP public key, or several: write one each")
    if primaries[0][:1] != b"\x04":
        raise KeyFaultError("it is no OpenPGP key of version 4")
    # A fingerprint of version 4 is SHA-1 by definition (RFC 4880, 12.2); nothing rests on it but the key's name.
    found = hashlib.sha1(b"\x99" + len(primaries[0]).to_bytes(2, "big") + primaries[0], usedforsecurity=False)
    return PublicKey("openpgp", data, found.hexdigest().upper())


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, body) of every packet, of the old and the new form; partial lengths do not occur in keys."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise KeyFaultError("it is damaged")
        if first & 0x40:
            tag, size, start = first & 0x3F, *_new_length(data, at + 1)
        else:
            width = 1 << (first & 3)
            if width == 8:
                raise KeyFaultError("it is damaged")
            tag, size, start = (first >> 2) & 0xF, int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        if start + size > len(data):
            raise KeyFaultError("it is damaged")
        yield tag, data[start : start + size]
        at = start + size


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Return (length, where the body begins) of a packet of the new form."""
    first = data[at]
    if first < 192:
        return first, at + 1
    if first < 224:
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyFaultError("it is damaged")
