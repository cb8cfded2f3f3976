"""Secrets as the real sops 3.11.0 wrote them (tests/contract/sops, made with `sops encrypt --age`), read without sops."""

import base64
import re
import shutil
from pathlib import Path

import pytest

from setpoint.adapters.age import AgeError, Identity, KeyFile, decrypt
from setpoint.adapters.sops import SopsVault
from setpoint.core.errors import UserError
from setpoint.reconcile import manifests
from setpoint.reconcile.model import SealedSecret

FILES = Path(__file__).parent / "sops"
RECIPIENT = (FILES / "age.key").read_text().split()[3]


@pytest.fixture
def vault(tmp_path: Path) -> SopsVault:
    """The home that the files were made for."""
    key = tmp_path / "age.key"
    shutil.copy(FILES / "age.key", key)
    key.chmod(0o600)
    return SopsVault(KeyFile(key))


def sealed(name: str) -> SealedSecret:
    """What a container would use of a file's first Secret, all of it."""
    value = manifests.load((FILES / name).read_bytes(), name)[0].value
    values = {f"{place}:{key}": text for place in ("data", "stringData") for key, text in (value.get(place) or {}).items()}
    return SealedSecret("database", tuple(entry["enc"] for entry in value["sops"]["age"]), values)


@pytest.mark.parametrize("name", ["regex.yaml", "onlymac.yaml", "suffix.yaml", "all.yaml", "two.yaml", "numbers.yaml"])
def test_what_sops_wrote_is_verified(vault: SopsVault, name: str) -> None:
    """Every way to choose what is encrypted, comments, several documents, numbers: the MAC is the one that sops computed."""
    vault.verify((FILES / name).read_bytes(), name)


@pytest.mark.parametrize("name", ["regex.yaml", "onlymac.yaml", "suffix.yaml"])
def test_values_are_what_was_encrypted(vault: SopsVault, name: str) -> None:
    """Text stays text with its line ends, data is decoded, empty stays empty."""
    assert vault.open(sealed(name)) == {
        "data:TOKEN": b"s3cr3t-token",
        "stringData:PASSWORD": b"correct horse battery staple",
        "stringData:certificate.pem": b"-----BEGIN-----\nabc\n-----END-----\n",
        "stringData:EMPTY": b"",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: database", "name: evil"),
        ('tier: "1"', 'tier: "2"'),
        ("immutable: true", "immutable: false"),
        ("type: Opaque\n", ""),
        ('lastmodified: "2026', 'lastmodified: "2027'),
        ("    PASSWORD:", "    PASSWORT:"),
        ("    mac: ENC", "    mac: NO"),
        ("type:str]", "type:time2]"),
        ("stringData:", "stringData:\n    MORE: x"),
    ],
)
def test_any_change_is_found(vault: SopsVault, old: str, new: str) -> None:
    """Plain values, places of values, the MAC itself and its date: nothing can be changed without sops."""
    text = (FILES / "regex.yaml").read_text()
    assert old in text
    with pytest.raises(UserError) as caught:
        vault.verify(text.replace(old, new, 1).encode(), "secret.yaml")
    assert (caught.value.code, caught.value.where) == ("SP672", "secret.yaml")
    assert "sops" in caught.value.fix


def test_values_cannot_be_swapped_or_moved(vault: SopsVault) -> None:
    """A value is bound to its key: ciphertext under another name does not open."""
    secret = sealed("regex.yaml")
    swapped = {**secret.values, "stringData:PASSWORD": secret.values["stringData:certificate.pem"]}
    with pytest.raises(UserError) as caught:
        vault.open(SealedSecret("database", secret.stanzas, swapped))
    assert caught.value.code == "SP672"


def test_a_mac_over_encrypted_values_only_lets_the_rest_change(vault: SopsVault) -> None:
    """With mac_only_encrypted labels may differ; a value may not."""
    text = (FILES / "onlymac.yaml").read_text()
    vault.verify(text.replace('tier: "1"', 'tier: "2"').encode(), "x")
    with pytest.raises(UserError):
        vault.verify(re.sub(r"    certificate.pem: .*\n", "", text).encode(), "x")


def test_plain_values_that_readers_disagree_about_are_refused(vault: SopsVault) -> None:
    """What YAML 1.1 and 1.2 type differently would make the MAC a matter of opinion."""
    text = (FILES / "regex.yaml").read_text().replace('tier: "1"', "tier: yes")
    with pytest.raises(UserError) as caught:
        vault.verify(text.encode(), "x")
    assert "put it in quotes" in caught.value.fix


def test_a_number_is_no_value_of_a_secret(vault: SopsVault) -> None:
    """As in Kubernetes, values are text; the message says to quote it."""
    with pytest.raises(UserError) as caught:
        vault.open(sealed("numbers.yaml"))
    assert (caught.value.code, "quotes" in caught.value.fix) == ("SP672", True)


def test_another_home_opens_nothing_and_is_told_what_to_do(tmp_path: Path) -> None:
    """Without the key the message names this home's recipient, never a value."""
    keys = KeyFile(tmp_path / "age.key")
    keys.create()
    other = SopsVault(keys)
    for act in (lambda: other.verify((FILES / "regex.yaml").read_bytes(), "x"), lambda: other.open(sealed("regex.yaml"))):
        with pytest.raises(UserError) as caught:
            act()
        assert caught.value.code == "SP673"
        assert other.recipients()[0] in caught.value.fix


def test_the_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    """A second start keeps it; a file that others may read is refused; no file is no key."""
    keys = KeyFile(tmp_path / "age.key")
    assert keys.identities() == ()
    keys.create()
    first = keys.identities()[0].recipient
    keys.create()
    assert keys.identities()[0].recipient == first
    assert (tmp_path / "age.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "age.key").chmod(0o644)
    with pytest.raises(UserError, match="SP674"):
        keys.identities()


def test_keys_are_written_as_age_keygen_writes_them() -> None:
    """Bech32 both ways, with its checksum."""
    text = (FILES / "age.key").read_text().split()[-1]
    identity = Identity.parse(text)
    assert (identity.text, identity.recipient) == (text, RECIPIENT)
    for wrong in (text[:-1] + ("Q" if text[-1] != "Q" else "P"), text.lower().title(), "AGE-SECRET-KEY-1", RECIPIENT, ""):
        with pytest.raises(AgeError):
            Identity.parse(wrong)


def test_a_damaged_age_file_opens_nothing() -> None:
    """Header, stanza and payload are each protected."""
    armored = sealed("regex.yaml").stanzas[0]
    identity = Identity.parse((FILES / "age.key").read_text().split()[-1])
    body = base64.b64decode("".join(armored.split("\n")[1:-2]))
    assert len(decrypt(armored, [identity])) == 32

    def armor(data: bytes) -> str:
        return f"-----BEGIN AGE ENCRYPTED FILE-----\n{base64.b64encode(data).decode()}\n-----END AGE ENCRYPTED FILE-----\n"

    mac = body.index(b"\n--- ") + 5
    for at in (3, 40, mac - 10, mac + 3, len(body) - 40, len(body) - 1):
        changed = bytearray(body)
        changed[at] ^= 1
        with pytest.raises(AgeError):
            decrypt(armor(bytes(changed)), [identity])
    for data in (body[:-20], body[: mac + 2], b"", body + b"x" * (70 << 10)):
        with pytest.raises(AgeError):
            decrypt(armor(data), [identity])
