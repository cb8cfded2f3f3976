"""Opens what sops has encrypted to the home's age key, and checks that nothing of it was changed; fills `reconcile.ports.Vault`.

Called when manifests are rendered (the whole file, with its MAC) and when a replica starts (the values it uses). Read-only: nothing here
writes such a file. It is stricter than sops: an unknown cipher, type or stanza, a missing MAC or a plain value that is no text, whole
number, true, false or null ends in an error. Format: sops' README ("Encryption protocol") and its stores/yaml.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from setpoint.adapters.age import AgeError, Identity, KeyFile, decrypt
from setpoint.core import yaml_nodes
from setpoint.core.errors import UserError
from setpoint.core.yaml_nodes import PLAIN, TEXT, SyntaxFaultError
from setpoint.reconcile.manifests import SYNTAX
from setpoint.reconcile.model import SealedSecret
from setpoint.reconcile.sealed import CHANGED, NO_KEY

_SEALED: Final = re.compile(r"ENC\[AES256_GCM,data:([^,]*),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]")
_HASHED: Final = ("str", "int", "float", "bool", "bytes", "time")
_INT: Final = re.compile(r"0|-?[1-9][0-9]*")
_WORDS: Final = {"true": b"True", "false": b"False", "null": None, "~": None, "": None}
_NO_TEXT: Final = re.compile(r"[-+.0-9].*|y|n|yes|no|on|off|true|false|null", re.IGNORECASE)
# What sops begins its hash with when only encrypted values are covered (mac_only_encrypted).
_ONLY_ENCRYPTED: Final = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")


class SopsVault:
    """The home's age keys and what they open."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    def recipients(self) -> tuple[str, ...]:
        """Return what to encrypt to; empty without a key."""
        return tuple(identity.recipient for identity in self._keys.identities())

    def verify(self, data: bytes, path: str) -> None:
        """Open a whole file and check its MAC, over all of its documents in their order.

        Raises:
            UserError: it was changed after sops wrote it (SP672), or no key of this home opens it (SP673).
        """
        try:
            roots = list(yaml_nodes.compose_all(yaml_nodes.decode(data, path, SYNTAX), SYNTAX))
        except SyntaxFaultError as fault:
            raise UserError(SYNTAX, fault.finding.what, where=path, fix=fault.finding.fix) from fault
        documents = [root for root in roots if isinstance(root, yaml.MappingNode)]
        about = _metadata(documents[0]) if documents else {}
        key = self._data_key([str(stanza.get("enc", "")) for stanza in about.get("age") or []], path)
        all_of_it = about.get("mac_only_encrypted") is not True
        whole = hashlib.sha512(b"" if all_of_it else _ONLY_ENCRYPTED)
        for document in documents:
            for names, node in _scalars(document, ()):
                if all_of_it or _SEALED.fullmatch(node.value):
                    whole.update(_hashed(key, names, node, path) or b"")
        wanted = _open(key, str(about.get("mac", "")), str(about.get("lastmodified", "")), path, "the MAC")
        if not hmac.compare_digest(wanted, whole.hexdigest().upper().encode()):
            raise _changed("what stands in it is not what sops has signed", path)

    def open(self, secret: SealedSecret) -> dict[str, bytes]:
        """Return the values of a Secret as they are meant: those of `data` are decoded.

        Raises:
            UserError: a value was changed or is no text (SP672), or no key of this home opens it (SP673).
        """
        where = f"Secret/{secret.name}"
        key = self._data_key(secret.stanzas, where)
        found = {}
        for place, sealed in secret.values.items():
            text = _open(key, sealed, f"{place}:", where, f"`{place}`", only_text=True) if sealed else b""
            if place.startswith("data:"):
                try:
                    text = base64.b64decode(text, validate=True)
                except (binascii.Error, ValueError) as error:
                    what = f"`{place}` is no base64"
                    raise UserError(CHANGED, what, where=where, fix="encode it, or write it as text under stringData") from error
            found[place] = text
        return found

    def _data_key(self, stanzas: Sequence[str], where: str) -> bytes:
        identities: tuple[Identity, ...] = self._keys.identities()
        for stanza in stanzas:
            try:
                key = decrypt(stanza, identities)
            except AgeError:
                continue
            if len(key) == 32:
                return key
        own = ", ".join(identity.recipient for identity in identities) or "none"
        fix = f"encrypt it to this home (`setpoint secret-key`: {own}), for one with `sops updatekeys`; or add the key to keys/age.key"
        raise UserError(NO_KEY, "no age key of this home opens it", where=where, fix=fix)


def _changed(what: str, where: str) -> UserError:
    return UserError(CHANGED, what, where=where, fix="change such a file with sops only: `sops edit FILE`")


def _metadata(root: yaml.MappingNode) -> dict[str, Any]:
    """Return the `sops` block of a document as text, lists and mappings."""
    found = {key.value: node for key, node in root.value}
    block = _plain(found["sops"]) if "sops" in found else {}
    return block if isinstance(block, dict) else {}


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(item) for key, item in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    return node.value == "true" if node.tag == PLAIN and node.value in ("true", "false") else node.value


def _scalars(node: yaml.Node, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    """Yield every value with the keys that lead to it; places in lists do not count (sops' additional data)."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            if names or key.value != "sops":
                yield from _scalars(item, (*names, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, names)
    elif isinstance(node, yaml.ScalarNode):
        yield names, node


def _hashed(key: bytes, names: Sequence[str], node: yaml.ScalarNode, path: str) -> bytes | None:
    """Return the bytes that a value gives to the MAC, as sops' ToBytes would; None for null."""
    if _SEALED.fullmatch(node.value):
        return _open(key, node.value, "".join(f"{name}:" for name in names), path, f"`{'.'.join(names)}`")
    if node.tag == TEXT:
        return bytes(node.value.encode())
    if node.value in _WORDS:
        return _WORDS[node.value]
    if _INT.fullmatch(node.value) or not _NO_TEXT.fullmatch(node.value):
        return bytes(node.value.encode())
    what = f"`{'.'.join(names)}` is {node.value!r}, which YAML readers take for different things"
    raise UserError(CHANGED, what, where=path, fix="put it in quotes, with sops: `sops edit FILE`")


def _open(key: bytes, sealed: str, bound: str, where: str, what: str, *, only_text: bool = False) -> bytes:
    """Return one value: AES-256-GCM, bound to the keys that lead to it."""
    match = _SEALED.fullmatch(sealed)
    if match is None:
        raise _changed(f"{what} is missing or not encrypted as sops does", where)
    kind = match[4]
    if kind not in _HASHED or (only_text and kind != "str"):
        fix = "put it in quotes, with sops: `sops edit FILE`"
        raise UserError(CHANGED, f"{what} is of type {kind}, and has to be text", where=where, fix=fix)
    try:
        data, nonce, tag = (base64.b64decode(part, validate=True) for part in match.groups()[:3])
        return AESGCM(key).decrypt(nonce, data + tag, bound.encode())
    except (binascii.Error, InvalidTag, ValueError) as error:
        raise _changed(f"{what} was changed or moved", where) from error
