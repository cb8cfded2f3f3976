"""The folder of role keys: made once, readable by nobody else, the right key for each role."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from setpoint.adapters import sshsig
from setpoint.adapters.keys import KeyFolder
from setpoint.core.errors import UserError
from setpoint.evidence.dsse import key_hint, signature_holds
from setpoint.ground.identity.model import Role


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    """A folder with all keys."""
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    return folder


def test_every_role_has_a_key_that_only_the_owner_reads(keys: KeyFolder, tmp_path: Path) -> None:
    """One file per role, 0600, in a folder 0700, and no scratch file left."""
    files = sorted(path.name for path in (tmp_path / "keys").iterdir())
    assert files == sorted(f"{role.value}.pem" for role in Role)
    assert all(stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600 for name in files)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_creating_again_changes_nothing(keys: KeyFolder, tmp_path: Path) -> None:
    """An existing key is never replaced; a missing one is made."""
    before = keys.public_keys()
    (tmp_path / "keys" / "gate.pem").unlink()
    KeyFolder(tmp_path / "keys").create()
    after = KeyFolder(tmp_path / "keys").public_keys()
    assert {role for role in before if before[role] != after[role]} == {"gate"}


def test_public_keys_are_pem_and_openssh(keys: KeyFolder) -> None:
    """P-256 as PEM SPKI for statements, one OpenSSH line for commits; all different."""
    public = keys.public_keys()
    assert set(public) == {role.value for role in Role}
    assert len(set(public.values())) == len(Role)
    assert public["commit"].startswith("ssh-ed25519 ")
    assert "\n" not in public["commit"]
    for role in set(public) - {"commit"}:
        assert load_pem_public_key(public[role].encode()).curve.name == "secp256r1"  # type: ignore[union-attr]


def test_signatures_are_of_the_role_and_repeatable(keys: KeyFolder) -> None:
    """A role's signature verifies under its key only, and signing twice gives the same bytes."""
    public = keys.public_keys()
    signature = keys.sign(Role.GATE, b"m")
    assert signature == keys.sign(Role.GATE, b"m")
    assert signature_holds(public["gate"], b"m", signature)
    assert not signature_holds(public["builder"], b"m", signature)
    assert keys.hint(Role.GATE) == key_hint(public["gate"])
    assert sshsig.verify(public["commit"], b"p", keys.sign_commit(b"p"))


def test_the_commit_key_signs_no_statement(keys: KeyFolder) -> None:
    """Roles do not mix."""
    with pytest.raises(UserError, match="SP406"):
        keys.sign(Role.COMMIT, b"m")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(keys: KeyFolder, tmp_path: Path, mode: int) -> None:
    """Permissions wider than the owner's are SP406 with the file's place."""
    path = tmp_path / "keys" / "builder.pem"
    path.chmod(mode)
    with pytest.raises(UserError, match="SP406") as caught:
        KeyFolder(tmp_path / "keys").sign(Role.BUILDER, b"m")
    assert caught.value.where == str(path)


def test_missing_linked_or_foreign_key_files_are_refused(keys: KeyFolder, tmp_path: Path) -> None:
    """No file, a link, rubbish and another role's kind of key are SP406, and `missing` names the first."""
    folder = tmp_path / "keys"
    (folder / "gate.pem").unlink()
    (folder / "scanner.pem").rename(folder / "elsewhere")
    (folder / "scanner.pem").symlink_to(folder / "elsewhere")
    (folder / "journal.pem").write_text("rubbish")
    (folder / "approval.pem").write_bytes((folder / "commit.pem").read_bytes())
    again = KeyFolder(folder)
    assert again.missing() == [Role.GATE]
    for role in (Role.GATE, Role.SCANNER, Role.JOURNAL, Role.APPROVAL):
        with pytest.raises(UserError, match="SP406"):
            again.sign(role, b"m")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_key_of_another_user_is_refused(keys: KeyFolder, tmp_path: Path) -> None:
    """A file that somebody else owns could have been planted."""
    os.chown(tmp_path / "keys" / "gate.pem", 12345, 12345)
    with pytest.raises(UserError, match="SP406"):
        KeyFolder(tmp_path / "keys").sign(Role.GATE, b"m")
