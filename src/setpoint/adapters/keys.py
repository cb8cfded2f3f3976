"""The role keys of a home, one file each; built by the signer process only, so no other process ever holds a private key (law 8).

P-256 for every role, Ed25519 for `commit`, whose signatures stock git has to accept. Files are PKCS8 PEM, 0600, made once and never
rewritten; a key file that others may read is refused.
"""

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from setpoint.adapters import sshsig
from setpoint.core.errors import UserError
from setpoint.evidence.dsse import key_hint
from setpoint.ground.identity.model import Role

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_LIMIT_BYTES: Final = 16 << 10
_FIX: Final = "restore the folder of keys from a copy; a home cannot sign under other keys than it was created with"


class KeyFolder:
    """The keys in a folder, read once and then kept in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[Role, PrivateKey] = {}

    def missing(self) -> list[Role]:
        """Return the roles that have no key file."""
        return [role for role in Role if not self._path(role).exists()]

    def create(self) -> None:
        """Make a key for every role that has none; an existing file is never touched."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in self.missing():
            self._write(role, ed25519.Ed25519PrivateKey.generate() if role is Role.COMMIT else ec.generate_private_key(ec.SECP256R1()))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def public_keys(self) -> dict[str, str]:
        """Return {role: PEM SPKI}, for `commit` its OpenSSH line.

        Raises:
            UserError: keys are missing, readable by others, or no keys of their kind: every file is named (SP406).
        """
        faults: list[UserError] = []
        for role in Role:
            try:
                self._key(role)
            except UserError as fault:
                faults.append(fault)
        if len(faults) > 1:
            what = "; ".join(fault.what for fault in faults)
            raise UserError("SP406", what, where=", ".join(fault.where for fault in faults), fix=faults[0].fix)
        if faults:
            raise faults[0]
        return {role.value: self.public_key(role) for role in Role}

    def public_key(self, role: Role) -> str:
        """Return one role's public key."""
        key = self._key(role)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return sshsig.public_line(key.public_key())
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def hint(self, role: Role) -> str:
        """Return the bundle hint of a role's key."""
        return key_hint(self.public_key(role))

    def sign(self, role: Role, message: bytes) -> bytes:
        """Return a DER ECDSA signature (P-256, SHA-256, RFC 6979 where OpenSSL can: the same bytes for the same message).

        Raises:
            UserError: the role's key is missing or not its kind (SP406).
        """
        key = self._key(role)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UserError("SP406", f"the {role} key signs commits, not statements", fix=_FIX)
        try:
            return key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            return key.sign(message, ec.ECDSA(hashes.SHA256()))

    def sign_commit(self, payload: bytes) -> bytes:
        """Return the armored SSHSIG of a commit's bytes by the `commit` key."""
        key = self._key(Role.COMMIT)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise UserError("SP406", "the commit key is no Ed25519 key", where=str(self._path(Role.COMMIT)), fix=_FIX)
        return sshsig.sign(key, payload)

    def _path(self, role: Role) -> Path:
        return self._folder / f"{role.value}.pem"

    def _key(self, role: Role) -> PrivateKey:
        if role not in self._keys:
            self._keys[role] = self._load(role)
        return self._keys[role]

    def _load(self, role: Role) -> PrivateKey:
        path = self._path(role)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise UserError("SP406", f"the {role} key cannot be read: {error.strerror}", where=str(path), fix=_FIX) from error
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
                fix = f"chown it to the server's user and chmod 600 {path.name}; if somebody may have read it, make a new home"
                raise UserError("SP406", f"the {role} key's file is open to others", where=str(path), fix=fix)
            data = file.read(_LIMIT_BYTES)
        try:
            key = load_pem_private_key(data, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UserError("SP406", f"the {role} key's file holds no key", where=str(path), fix=_FIX) from error
        wanted = ed25519.Ed25519PrivateKey if role is Role.COMMIT else ec.EllipticCurvePrivateKey
        if not isinstance(key, wanted):
            raise UserError("SP406", f"the {role} key is of another kind", where=str(path), fix=_FIX)
        return key

    def _write(self, role: Role, key: PrivateKey) -> None:
        """Write to a temporary file, fsync, then link: a half-written key never has the name, an existing one is never replaced."""
        path = self._path(role)
        scratch = path.with_suffix(f".{os.getpid()}.new")
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(scratch, path)
        finally:
            scratch.unlink()
