"""SSHSIG: stock ssh-keygen and git accept what we sign, and we accept and refuse what they do."""

import subprocess
from pathlib import Path

import pygit2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from setpoint.adapters import sshsig
from setpoint.adapters.git.store import GitRepositories
from setpoint.promotion.pin import allowed_signers, commit_payload

KEY = Ed25519PrivateKey.generate()
LINE = sshsig.public_line(KEY.public_key())
AT = "2026-11-23T06:00:00.000Z"


def _stock_verify(folder: Path, armored: bytes, payload: bytes, namespace: str = "git") -> bool:
    signers, signature = folder / "allowed_signers", folder / "payload.sig"
    signers.write_bytes(allowed_signers(LINE))
    signature.write_bytes(armored)
    argv = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "setpoint", "-n", namespace, "-s", str(signature)]
    return subprocess.run(argv, input=payload, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("payload", [b"", b"payload\n", b"\x00\xff" * 5000])
def test_stock_ssh_keygen_accepts_our_signature(tmp_path: Path, payload: bytes) -> None:
    """`ssh-keygen -Y verify` with our allowed_signers line says yes, and no to one changed byte."""
    armored = sshsig.sign(KEY, payload)
    assert _stock_verify(tmp_path, armored, payload)
    assert not _stock_verify(tmp_path, armored, payload + b"x")
    assert sshsig.verify(LINE, payload, armored)


def test_we_accept_what_ssh_keygen_signs(tmp_path: Path) -> None:
    """A signature made by stock ssh-keygen with the same key verifies here, in its namespace only."""
    key = tmp_path / "key"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    argv = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", "git"]
    armored = subprocess.run(argv, input=b"payload", capture_output=True, check=True).stdout
    assert sshsig.verify(LINE, b"payload", armored)
    assert not sshsig.verify(LINE, b"payload", armored, namespace="file")


def test_another_key_namespace_or_payload_is_refused() -> None:
    """The key inside the signature is never trusted: only the one we were given counts."""
    other = Ed25519PrivateKey.generate()
    assert not sshsig.verify(sshsig.public_line(other.public_key()), b"p", sshsig.sign(KEY, b"p"))
    assert not sshsig.verify(LINE, b"p", sshsig.sign(other, b"p"))
    assert not sshsig.verify(LINE, b"p", sshsig.sign(KEY, b"p", namespace="file"))
    assert not sshsig.verify(LINE, b"q", sshsig.sign(KEY, b"p"))


@pytest.mark.parametrize("cut", [0, 10, 60, 200, -2])
def test_damaged_signatures_are_refused(cut: int) -> None:
    """Truncated or rubbish armor is no, never an exception."""
    armored = sshsig.sign(KEY, b"p")
    assert not sshsig.verify(LINE, b"p", armored[:cut])
    assert not sshsig.verify(LINE, b"p", armored.replace(b"SSH", b"PGP"))
    assert not sshsig.verify("ssh-ed25519 rubbish", b"p", armored)
    assert not sshsig.verify("", b"p", armored)
    assert not sshsig.verify(LINE, b"p", armored + b"A" * (20 << 10))


def test_keys_of_another_kind_are_refused() -> None:
    """Only Ed25519 signs commits here."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert not sshsig.verify(key, b"p", sshsig.sign(KEY, b"p"))


def test_stock_git_verifies_our_commit(tmp_path: Path) -> None:
    """`git verify-commit` with the allowed_signers of the repository accepts a commit we signed, and nobody else's key."""
    git = GitRepositories(tmp_path)
    git.create("delivery")
    repository = pygit2.Repository(str(git.path("delivery")))
    who = pygit2.Signature("Ada", "ada@example.com", 100, 0)
    first = git.write_tree("delivery", None, {"setpoint.yaml": b"x\n"})
    parent = repository.create_commit("refs/heads/main", who, who, "first", pygit2.Oid(hex=first), [])
    tree = git.write_tree("delivery", str(parent), {"pins/allowed_signers": allowed_signers(LINE)})
    payload = commit_payload(tree, str(parent), "Pin web in prod: 1\n\nSetpoint-Promotion: p-1\n", AT)
    commit = git.write_signed_commit("delivery", payload, sshsig.sign(KEY, payload))

    def stock(line: str) -> subprocess.CompletedProcess[bytes]:
        signers = tmp_path / "signers"
        signers.write_bytes(allowed_signers(line))
        config = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", "safe.directory=*"]
        argv = ["git", "-C", str(git.path("delivery")), *config, "verify-commit", "-v", commit]
        return subprocess.run(argv, capture_output=True, check=False)

    done = stock(LINE)
    assert done.returncode == 0, done.stderr
    assert b'Good "git" signature for setpoint' in done.stderr
    assert stock(sshsig.public_line(Ed25519PrivateKey.generate().public_key())).returncode != 0
    assert sshsig.commit_signed(git, "delivery", commit, LINE)
    assert not sshsig.commit_signed(git, "delivery", str(parent), LINE)
