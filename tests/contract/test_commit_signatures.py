"""Signatures of commits: stock git signs with SSH and OpenPGP keys; what counts is a person's key, never what the commit says."""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from setpoint.adapters import sandbox, sshsig
from setpoint.adapters.clock import SystemClock
from setpoint.adapters.commit_signatures import CheckedSignatures
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.gpgv import Gpgv
from setpoint.core import public_keys
from setpoint.core.errors import WorldError
from setpoint.ground.identity.model import Directory, Person

OWN = Ed25519PrivateKey.generate()
SSH_KINDS = [["-t", "ed25519"], ["-t", "ecdsa", "-b", "256"], ["-t", "ecdsa", "-b", "384"], ["-t", "ecdsa", "-b", "521"], ["-t", "rsa"]]


class Stock:
    """A repository that stock git commits into, as a person with keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git = GitRepositories(folder / "repositories")
        self.git.create("hello")
        self.work = folder / "work"
        self.gnupg = folder / "gnupg"
        self.gnupg.mkdir(mode=0o700)
        self.run("git", "init", "-q", "-b", "main", str(self.work))
        self.run("git", "-C", str(self.work), "remote", "add", "origin", str(self.git.path("hello")))

    def run(self, *argv: str, **more: str) -> str:
        """Run a stock program far from the home of whoever runs the tests."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GNUPGHOME": str(self.gnupg), "LC_ALL": "C"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "Dana", f"GIT_{role}_EMAIL": "dana@example.com"}
        done = subprocess.run(argv, env=environment | more, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, *options: str) -> str:
        """Make an empty commit with options of git, push it, and return its id."""
        base = ["git", "-C", str(self.work)]
        self.run(*base, *options[:-1], "commit", "-q", "--allow-empty", "-m", "change", options[-1])
        self.run(*base, "push", "-q", "--force", "origin", "HEAD:main")
        return self.run(*base, "rev-parse", "HEAD")

    def ssh_key(self, *kind: str) -> Path:
        """Return a fresh SSH key's file."""
        path = self.folder / f"key-{len(list(self.folder.iterdir()))}"
        self.run("ssh-keygen", "-q", "-N", "", "-f", str(path), *kind)
        return path

    def ssh_commit(self, key: Path) -> str:
        """Make a commit that an SSH key signs."""
        return self.commit("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}", "-S")

    def gpg_key(self, name: str) -> str:
        """Return the fingerprint of a fresh OpenPGP key."""
        uid = f"{name} <{name}@example.com>"
        self.run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", uid, "ed25519", "sign", "0")
        listed = self.run("gpg", "--batch", "--with-colons", "--list-keys", uid)
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def gpg_public(self, fingerprint: str) -> str:
        """Return the armored public key."""
        return self.run("gpg", "--batch", "--armor", "--export", fingerprint)

    def gpg_commit(self, fingerprint: str) -> str:
        """Make a commit that an OpenPGP key signs."""
        return self.commit("-c", "gpg.format=openpgp", "-c", f"user.signingKey={fingerprint}", "-S")


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    """A fresh repository; the agent of its GnuPG home ends with it."""
    found = Stock(tmp_path)
    yield found
    if shutil.which("gpgconf"):
        subprocess.run(["gpgconf", "--homedir", str(found.gnupg), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture
def gpg() -> None:
    """Gpg, gpgv and a sandbox, or a loud skip."""
    missing = [name for name in ("gpg", "gpgv") if shutil.which(name) is None]
    problem = f"{' and '.join(missing)}" if missing else sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs {problem}")


def people(**keys: str) -> Directory:
    """Return a directory of people with a key each."""
    return Directory(tuple(Person(name, (f"{name}@example.com",), keys=(text,)) for name, text in keys.items()), {})


def signatures(stock: Stock, gpgv: Gpgv | None = None) -> CheckedSignatures:
    """Return the check, with a commit key of our own."""
    return CheckedSignatures(stock.git, sshsig.public_line(OWN.public_key()), SystemClock(), gpgv)


@pytest.mark.parametrize("kind", SSH_KINDS, ids=lambda kind: "".join(kind[1::2]))
def test_a_commit_that_stock_git_signs_with_ssh_is_its_persons(stock: Stock, kind: list[str]) -> None:
    """Every kind of key that ssh-keygen makes is understood; another person's key makes it nobody's."""
    key, other = stock.ssh_key(*kind), stock.ssh_key(*kind)
    commit = stock.ssh_commit(key)
    line = key.with_suffix(".pub").read_text()
    checked = signatures(stock)
    found = checked.of("hello", commit, people(dana=line))
    assert (found.state, found.who) == ("person", "dana")
    printed = stock.run("ssh-keygen", "-lf", str(key)).split()[1]
    assert found.detail == f"the SSH key {printed}"
    stranger = checked.of("hello", commit, people(dana=other.with_suffix(".pub").read_text()))
    assert (stranger.state, stranger.detail) == ("unknown", f"the SSH key {printed}")


def test_the_commits_own_words_count_for_nothing(stock: Stock) -> None:
    """Author and committer say dana; the key is sam's, so sam signed it."""
    key = stock.ssh_key("-t", "ed25519")
    found = signatures(stock).of("hello", stock.ssh_commit(key), people(sam=key.with_suffix(".pub").read_text()))
    assert (found.state, found.who) == ("person", "sam")


def test_unsigned_moved_and_foreign_signatures_are_told_apart(stock: Stock) -> None:
    """No signature, one of another commit, one of another namespace, and kinds that nobody knows are four different words."""
    key = stock.ssh_key("-t", "ed25519")
    everybody = people(dana=key.with_suffix(".pub").read_text())
    checked = signatures(stock)
    plain = stock.commit("--no-gpg-sign")
    assert checked.of("hello", plain, everybody).detail == "it carries no signature"
    raw = stock.git.raw_commit("hello", stock.ssh_commit(key))
    assert raw is not None
    payload, armored = raw
    moved = stock.git.write_signed_commit("hello", payload.replace(b"change", b"chang3"), armored)
    assert (checked.of("hello", moved, everybody).state, "does not fit" in checked.of("hello", moved, everybody).detail) == ("bad", True)
    data = stock.folder / "payload"
    data.write_bytes(payload)
    stock.run("ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "file", str(data))
    elsewhere = stock.git.write_signed_commit("hello", payload, data.with_suffix(".sig").read_bytes())
    assert checked.of("hello", elsewhere, everybody).state == "bad"
    for text, word in (
        (b"-----BEGIN SIGNED MESSAGE-----\nx\n", "X.509"),
        (b"nonsense\n", "unknown kind"),
        (sshsig.BEGIN + b"\nx\n", "cannot be read"),
    ):
        odd = stock.git.write_signed_commit("hello", payload, text)
        assert (checked.of("hello", odd, everybody).state, word in checked.of("hello", odd, everybody).detail) == ("bad", True)


def test_setpoints_own_commits_are_known_by_its_key(stock: Stock) -> None:
    """A commit by the commit key is Setpoint's, even when a person claims the key."""
    raw = stock.git.raw_commit("hello", stock.ssh_commit(stock.ssh_key("-t", "ed25519")))
    assert raw is not None
    commit = stock.git.write_signed_commit("hello", raw[0], sshsig.sign(OWN, raw[0]))
    assert signatures(stock).of("hello", commit, people(dana=sshsig.public_line(OWN.public_key()))).state == "setpoint"


def test_what_was_checked_is_remembered_until_keys_change(stock: Stock) -> None:
    """The second question reads nothing; another set of keys asks anew."""
    key = stock.ssh_key("-t", "ed25519")
    commit, line = stock.ssh_commit(key), key.with_suffix(".pub").read_text()
    checked = signatures(stock)
    assert checked.of("hello", commit, people(dana=line)).who == "dana"
    shutil.rmtree(stock.git.path("hello"))
    assert checked.of("hello", commit, people(dana=line)).who == "dana"
    assert checked.of("hello", commit, people(sam=line)).state == "bad"


@pytest.mark.usefixtures("gpg")
def test_a_commit_that_stock_git_signs_with_openpgp_is_its_persons(stock: Stock) -> None:
    """The primary key's fingerprint names the person; a key that nobody declared is nobody's, and a moved signature is bad."""
    dana, sam = stock.gpg_key("dana"), stock.gpg_key("sam")
    commit = stock.gpg_commit(dana)
    checked = signatures(stock)
    both = people(dana=stock.gpg_public(dana), sam=stock.gpg_public(sam))
    assert public_keys.parse(stock.gpg_public(dana)).id == dana
    found = checked.of("hello", commit, both)
    assert (found.state, found.who, found.detail) == ("person", "dana", f"the OpenPGP key {dana}")
    stranger = checked.of("hello", commit, people(sam=stock.gpg_public(sam)))
    assert (stranger.state, dana[-16:] in stranger.detail) == ("unknown", True)
    assert checked.of("hello", commit, Directory((), {})).state == "unknown"
    raw = stock.git.raw_commit("hello", commit)
    assert raw is not None
    moved = stock.git.write_signed_commit("hello", raw[0].replace(b"change", b"chang3"), raw[1])
    assert "does not fit" in checked.of("hello", moved, both).detail


@pytest.mark.usefixtures("gpg")
def test_a_subkey_speaks_for_its_primary_key(stock: Stock) -> None:
    """What people do with OpenPGP: the primary key stays at home, a subkey signs, and the primary names the person."""
    primary = stock.gpg_key("dana")
    stock.run("gpg", "--batch", "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign", "0")
    listed = stock.run("gpg", "--batch", "--with-colons", "--list-keys", primary)
    fingerprints = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]
    commit = stock.gpg_commit(f"{fingerprints[1]}!")
    found = signatures(stock).of("hello", commit, people(dana=stock.gpg_public(primary)))
    assert (found.state, found.who, found.detail) == ("person", "dana", f"the OpenPGP key {primary}")


@pytest.mark.usefixtures("gpg")
def test_an_expired_or_revoked_openpgp_key_does_not_count(stock: Stock) -> None:
    """What was signed in time by a key that has expired or was revoked since is refused with that word."""
    commit = stock.gpg_commit(stock.gpg_key("dana"))
    # A key whose life ended long ago, made by a clock that stood there.
    argv = ["gpg", "--batch", "--faked-system-time", "20200101T000000!", "--passphrase", "", "--quick-gen-key"]
    stock.run(*argv, "old <old@example.com>", "ed25519", "sign", "1d")
    listed = stock.run("gpg", "--batch", "--with-colons", "--list-keys", "old")
    old = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    raw = stock.git.raw_commit("hello", commit)
    assert raw is not None
    data = stock.folder / "old-payload"
    data.write_bytes(raw[0])
    sign = ["gpg", "--batch", "--faked-system-time", "20200101T010000!", "--passphrase", "", "--armor", "--detach-sign", "-u", old]
    stock.run(*sign, "-o", f"{data}.asc", str(data))
    expired = stock.git.write_signed_commit("hello", raw[0], Path(f"{data}.asc").read_bytes())
    found = signatures(stock).of("hello", expired, people(dana=stock.gpg_public(old)))
    assert (found.state, "expired" in found.detail) == ("bad", True)
    gone = stock.gpg_key("gone")
    revoked = stock.gpg_commit(gone)
    certificate = (stock.gnupg / "openpgp-revocs.d" / f"{gone}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    (stock.folder / "revoke.asc").write_text(certificate)
    stock.run("gpg", "--batch", "--import", str(stock.folder / "revoke.asc"))
    found = signatures(stock).of("hello", revoked, people(dana=stock.gpg_public(gone)))
    assert (found.state, "revoked" in found.detail) == ("bad", True)


@pytest.mark.usefixtures("gpg")
def test_without_gpgv_nothing_is_said_and_nothing_is_remembered(stock: Stock) -> None:
    """A missing gpgv is no verdict about the commit: it is asked again, and says how to install it."""
    key = stock.gpg_key("dana")
    commit, everybody = stock.gpg_commit(key), people(dana=stock.gpg_public(key))

    class Missing(Gpgv):
        gone = True

        def check(self, payload: bytes, armored: bytes, keys: bytes) -> object:  # type: ignore[override]
            if self.gone:
                raise WorldError("SP690", "gpgv is not installed", fix="install gpgv")
            return super().check(payload, armored, keys)

    gpgv = Missing()
    checked = signatures(stock, gpgv)
    found = checked.of("hello", commit, everybody)
    assert (found.state, found.detail) == ("unchecked", "gpgv is not installed; install gpgv")
    gpgv.gone = False
    assert checked.of("hello", commit, everybody).who == "dana"


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _mpint(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return _string(raw)


def _fido(payload: bytes, kind: bytes, point: bytes, sign: Callable[[bytes], bytes], flags: int = 1) -> tuple[str, bytes]:
    """Return (public key line, armored signature) as a FIDO key with OpenSSH makes them (PROTOCOL.u2f), from a key in software."""
    curve = _string(b"nistp256") if b"ecdsa" in kind else b""
    blob = _string(kind) + curve + _string(point) + _string(b"ssh:")
    message = b"SSHSIG" + _string(b"git") + _string(b"") + _string(b"sha512") + _string(hashlib.sha512(payload).digest())
    counter = (7).to_bytes(4, "big")
    signed = hashlib.sha256(b"ssh:").digest() + bytes([flags]) + counter + hashlib.sha256(message).digest()
    inner = _string(kind) + _string(sign(signed)) + bytes([flags]) + counter
    whole = b"SSHSIG" + (1).to_bytes(4, "big") + _string(blob) + _string(b"git") + _string(b"") + _string(b"sha512") + _string(inner)
    text = base64.b64encode(whole).decode()
    lines = "\n".join(text[at : at + 70] for at in range(0, len(text), 70))
    armored = f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n"
    return f"{kind.decode()} {base64.b64encode(blob).decode()}", armored.encode()


ED = Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())


def _ec_sign(message: bytes) -> bytes:
    r, s = decode_dss_signature(EC.sign(message, ec.ECDSA(hashes.SHA256())))
    return _mpint(r) + _mpint(s)


FIDO: list[tuple[bytes, bytes, Callable[[bytes], bytes]]] = [
    (b"sk-ssh-ed25519@openssh.com", ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), ED.sign),
    (
        b"sk-ecdsa-sha2-nistp256@openssh.com",
        EC.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        _ec_sign,
    ),
]


@pytest.mark.parametrize(("kind", "point", "sign"), FIDO, ids=["ed25519", "ecdsa"])
def test_security_keys_are_understood_as_stock_ssh_keygen_does(
    tmp_path: Path, kind: bytes, point: bytes, sign: Callable[[bytes], bytes]
) -> None:
    """A FIDO key's signature holds here and for ssh-keygen, over other bytes for neither; here it needs a touch as well."""
    signers = tmp_path / "signers"
    for flags, payload, here, there in ((1, b"payload", True, True), (0, b"payload", False, True), (1, b"other", False, False)):
        line, armored = _fido(b"payload", kind, point, sign, flags)
        assert sshsig.holds(sshsig.envelope(payload, armored)) is here
        signers.write_text(f'dana namespaces="git" {line}\n')
        (tmp_path / "sig").write_bytes(armored)
        argv = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "dana", "-n", "git", "-s", str(tmp_path / "sig")]
        assert (subprocess.run(argv, input=payload, capture_output=True, check=False).returncode == 0) is there
        assert public_keys.parse(line).id == public_keys.ssh_id(sshsig.envelope(payload, armored).key)
