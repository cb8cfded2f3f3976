"""Opens age files that are encrypted to an X25519 recipient, and keeps the home's age key; called by `adapters.sops`.

Format: age-encryption.org/v1 of the C2SP (https://c2sp.org/age). Files are small here (a SOPS data key of 32 bytes), so one chunk of the
payload is all that is read. Other kinds of recipients are passed over. It never encrypts: that is what age and sops are for.
"""

import base64
import binascii
import hmac
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from setpoint.core.errors import UserError
from setpoint.reconcile.sealed import BAD_KEYS

_VERSION: Final = "age-encryption.org/v1"
_BEGIN: Final = "-----BEGIN AGE ENCRYPTED FILE-----"
_END: Final = "-----END AGE ENCRYPTED FILE-----"
_CHUNK_BYTES: Final = (64 << 10) + 16
_LIMIT_BYTES: Final = 1 << 20
_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_SECRET: Final = "age-secret-key-"  # noqa: S105 - the prefix that names the kind
_IDENTITY: Final = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")


class AgeError(Exception):
    """A file is no age file, or not for these keys."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An X25519 key of age."""

    key: X25519PrivateKey

    @staticmethod
    def parse(text: str) -> "Identity":
        """Read `AGE-SECRET-KEY-1...`; AgeError when it is none."""
        kind, data = _bech32_decode(text)
        if kind != _SECRET or len(data) != 32:
            raise AgeError("it is no X25519 key of age")
        return Identity(X25519PrivateKey.from_private_bytes(data))

    @staticmethod
    def generate() -> "Identity":
        """Make a new one."""
        return Identity(X25519PrivateKey.generate())

    @property
    def recipient(self) -> str:
        """What others encrypt to: `age1...`."""
        return _bech32_encode("age", self.key.public_key().public_bytes_raw())

    @property
    def text(self) -> str:
        """Return the key as age-keygen writes it."""
        return _bech32_encode(_SECRET, self.key.private_bytes_raw()).upper()


class KeyFile:
    """The age keys of a home: one file, as age-keygen writes it, made once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @staticmethod
    def of_home(own: Path) -> "KeyFile":
        """Return the file that SETPOINT_AGE_KEY_FILE names, else the home's own, made when there is none."""
        explicit = os.environ.get("SETPOINT_AGE_KEY_FILE")
        if explicit:
            return KeyFile(Path(explicit))
        found = KeyFile(own)
        found.create()
        return found

    def create(self) -> None:
        """Make a key unless there is a file; an existing one is never touched."""
        if self._path.exists():
            return
        scratch = self._path.with_name(f".{self._path.name}.new")
        scratch.unlink(missing_ok=True)
        identity = Identity.generate()
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"# public key: {identity.recipient}\n{identity.text}\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self._path)

    def identities(self) -> tuple[Identity, ...]:
        """Return the keys of the file, none when there is no file.

        Raises:
            UserError: others may read the file, or it holds no key (SP674).
        """
        try:
            with self._path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read(_LIMIT_BYTES).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UserError(
                BAD_KEYS, f"the age keys cannot be read: {error.strerror}", where=str(self._path), fix="mend the file"
            ) from error
        if mode & 0o077:
            raise UserError(BAD_KEYS, "the age keys may be read by others", where=str(self._path), fix=f"chmod 600 {self._path}")
        found = _IDENTITY.findall(text)
        try:
            identities = tuple(Identity.parse(word) for word in found)
        except AgeError as error:
            raise UserError(
                BAD_KEYS, f"there is a damaged age key: {error}", where=str(self._path), fix="restore it from a copy"
            ) from error
        if not identities:
            raise UserError(BAD_KEYS, "there is no X25519 key of age in it", where=str(self._path), fix="write one with age-keygen")
        return identities


def decrypt(armored: str, identities: Sequence[Identity]) -> bytes:
    """Return the content of an armored age file of at most one chunk.

    Raises:
        AgeError: it is damaged, larger, or for none of these keys.
    """
    header, stanzas, mac, payload = _parse(_unarmor(armored))
    file_key = next((key for identity in identities for key in _unwrap(stanzas, identity)), None)
    if file_key is None:
        raise AgeError("it is encrypted to other recipients")
    if not hmac.compare_digest(hmac.digest(_derive(file_key, b"", b"header"), header, "sha256"), mac):
        raise AgeError("its header was changed")
    nonce, chunk = payload[:16], payload[16:]
    if len(nonce) != 16 or not 16 <= len(chunk) <= _CHUNK_BYTES:
        raise AgeError("its payload is cut short or larger than a data key")
    try:
        # The nonce of the STREAM construction: 11 bytes of counter, then 1 for the last chunk.
        return ChaCha20Poly1305(_derive(file_key, nonce, b"payload")).decrypt(bytes(11) + b"\1", chunk, None)
    except InvalidTag as error:
        raise AgeError("its payload was changed") from error


def _unarmor(text: str) -> bytes:
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END or len(text) > _LIMIT_BYTES:
        raise AgeError("it is no armored age file")
    return _base64("".join(lines[1:-1]), padded=True)


def _parse(data: bytes) -> tuple[bytes, list[tuple[list[str], bytes]], bytes, bytes]:
    """Return (the bytes that the MAC covers, the stanzas, the MAC, the payload)."""
    end = data.find(b"\n--- ")
    stop = data.find(b"\n", end + 1)
    if end < 0 or stop < 0:
        raise AgeError("its header has no end")
    lines = data[:end].decode("ascii", errors="replace").split("\n")
    if lines[0] != _VERSION:
        raise AgeError(f"its version is not {_VERSION}")
    stanzas: list[tuple[list[str], bytes]] = []
    body = ""
    arguments: list[str] = []
    for line in lines[1:]:
        if line.startswith("-> "):
            arguments, body = line[3:].split(" "), ""
        else:
            body += line
            if len(line) < 64:
                stanzas.append((arguments, _base64(body)))
    return data[: end + 4], stanzas, _base64(data[end + 5 : stop].decode("ascii", errors="replace")), data[stop + 1 :]


def _unwrap(stanzas: Sequence[tuple[list[str], bytes]], identity: Identity) -> Iterator[bytes]:
    """Yield the file key of every X25519 stanza that is for this key."""
    for arguments, body in stanzas:
        if len(arguments) != 2 or arguments[0] != "X25519" or len(body) != 32:
            continue
        share = _base64(arguments[1])
        try:
            secret = identity.key.exchange(X25519PublicKey.from_public_bytes(share))
            salt = share + identity.key.public_key().public_bytes_raw()
            yield ChaCha20Poly1305(_derive(secret, salt, b"age-encryption.org/v1/X25519")).decrypt(bytes(12), body, None)
        except (InvalidTag, ValueError):  # for somebody else, or no point of the curve
            continue


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt or None, info=info).derive(secret)


def _base64(text: str, *, padded: bool = False) -> bytes:
    try:
        return base64.b64decode(text if padded else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AgeError("it holds what is no base64") from error


def _polymod(values: Sequence[int]) -> int:
    """Return the checksum of Bech32 (BIP 173)."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for index, word in enumerate(generator):
            check ^= word if top >> index & 1 else 0
    return check


def _expanded(kind: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in kind), 0, *(ord(letter) & 31 for letter in kind)]


def _bech32_encode(kind: str, data: bytes) -> str:
    words = list(_regroup(data, 8, 5, pad=True))
    check = _polymod([*_expanded(kind), *words, *[0] * 6]) ^ 1
    words += [check >> 5 * (5 - index) & 31 for index in range(6)]
    return f"{kind}1{''.join(_CHARSET[word] for word in words)}"


def _bech32_decode(text: str) -> tuple[str, bytes]:
    """Return (kind, data); AgeError when the checksum or the letters are wrong."""
    kind, _, rest = text.lower().rpartition("1")
    if text not in {text.lower(), text.upper()} or not kind or len(rest) < 6 or set(rest) - set(_CHARSET):
        raise AgeError("it is no Bech32 text")
    words = [_CHARSET.index(letter) for letter in rest]
    if _polymod([*_expanded(kind), *words]) != 1:
        raise AgeError("its checksum is wrong")
    return kind, bytes(_regroup(words[:-6], 5, 8, pad=False))


def _regroup(values: Sequence[int] | bytes, old: int, new: int, *, pad: bool) -> Iterator[int]:
    """Yield the same bits in groups of another size."""
    held, bits = 0, 0
    for value in values:
        held, bits = held << old | value, bits + old
        while bits >= new:
            bits -= new
            yield held >> bits & (1 << new) - 1
    if pad and bits:
        yield held << (new - bits) & (1 << new) - 1
