"""Secrets on the host: they lie in Git encrypted by sops, and only names, keys and ciphertext are read here.

Called by `reconcile.subset`; containers take keys from them by `variables` and `volumes`. A Secret in clear is an error, with the way out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.reconcile.host.config_maps import FILE_NAME
from setpoint.reconcile.host.fields import REFERENCE, UNSUPPORTED, Fields, Report, metadata
from setpoint.reconcile.model import SealedSecret, SecretKey

IN_CLEAR: Final = "SP671"
_SEALED: Final = re.compile(r"ENC\[AES256_GCM,[^\]]+\]")
_PLACES: Final = ("data", "stringData")
_MAX_BYTES: Final = 4 << 20
_FIX: Final = (
    "sops encrypt --age RECIPIENT --encrypted-regex '^(data|stringData)$' --in-place FILE; `setpoint secret-key` prints the recipient. "
    "What was pushed in clear is known: change it"
)


@dataclass(slots=True)
class Secrets:
    """Every rendered Secret by name, sealed."""

    found: dict[str, SealedSecret] = field(default_factory=dict)

    def read(self, value: Mapping[str, Any], report: Report) -> None:
        """Read one Secret."""
        top = Fields(value, "", report)
        name = metadata(top)
        top.flag("immutable")
        kind = top.text("type", "Opaque")
        if kind != "Opaque":
            top.bad("type", f"is `{kind[:60]}`", "write Opaque, or leave it out: the host gives no type a meaning", UNSUPPORTED)
        values = {f"{place}:{key}": text for place in _PLACES for key, text in top.labels(place, values_free=True).items()}
        stanzas = _stanzas(top)
        top.close()
        bad = [place for place in values if not FILE_NAME.fullmatch(place.partition(":")[2]) or place.endswith((":.", ":.."))]
        if bad:
            top.bad("data", "has a key that is no file name", "letters, digits, dots, dashes and underscores")
        clear = sorted(place for place, text in values.items() if text and not _SEALED.fullmatch(text))
        if clear or not stanzas:
            which = f"`{clear[0].replace(':', '.')}` stands in Git in clear" if clear else "is not encrypted by sops to an age key"
            top.report.add(IN_CLEAR, clear[0].partition(":")[0] if clear else "sops", which, _FIX)
        if sum(len(text) for text in values.values()) > _MAX_BYTES:
            top.bad("data", "is larger than 4 MiB")
        self.found[name] = SealedSecret(name, stanzas, values)

    def take(self, reference: Fields, name_field: str = "name") -> SealedSecret | None:
        """Return the Secret that a reference names; None when it is missing (a finding, unless optional)."""
        name, optional = reference.text(name_field), reference.flag("optional")
        if name and name not in self.found and not optional:
            known = ", ".join(sorted(self.found)) or "none"
            reference.bad(name_field, f"refers to Secret `{name}`, which is not rendered", f"rendered Secrets: {known}", REFERENCE)
        return self.found.get(name)

    def sealed(self, *used: Mapping[str, SecretKey]) -> tuple[SealedSecret, ...]:
        """Return what the named keys need of their Secrets, and nothing else of them."""
        keys = {(key.secret, key.key) for names in used for key in names.values()}
        result = []
        for name in sorted({secret for secret, _ in keys}):
            secret = self.found[name]
            places = sorted(place_of(secret, key) for own, key in keys if own == name)
            result.append(SealedSecret(name, secret.stanzas, {place: secret.values[place] for place in places}))
        return tuple(result)


def keys_of(secret: SealedSecret) -> dict[str, SecretKey]:
    """Return the keys of a Secret, each once."""
    return {place.partition(":")[2]: SecretKey(secret.name, place.partition(":")[2]) for place in secret.values}


def place_of(secret: SealedSecret, key: str) -> str:
    """Return where a key's value stands: `stringData` wins over `data`, as in Kubernetes."""
    text = f"stringData:{key}"
    return text if text in secret.values else f"data:{key}"


def _stanzas(top: Fields) -> tuple[str, ...]:
    """Return the encrypted data keys of sops' own block, which is no part of Kubernetes."""
    block = top.raw("sops")
    entries = block.get("age") if isinstance(block, dict) else None
    found = [entry.get("enc") for entry in entries or () if isinstance(entry, dict)] if isinstance(entries, list) else []
    return tuple(text for text in found if isinstance(text, str))
