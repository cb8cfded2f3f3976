"""Ciphertext of sops that a generator or template copied into an object: nobody would ever open it there.

Called after every render; pure. A Secret that sops wrote as a whole carries its own `sops` block and is opened by `reconcile.sealed`.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final

from setpoint.core.errors import Finding
from setpoint.reconcile.manifests import Manifest
from setpoint.reconcile.model import identity

SEALED: Final = "SP618"
_SIGN: Final = "ENC[AES256_GCM,data:"
_FIELDS: Final = ("data", "stringData", "binaryData")


def findings(found: Iterable[Manifest]) -> Iterator[Finding]:
    """Yield a finding for each ConfigMap or Secret that holds a file, or a value, as sops has sealed it."""
    for manifest in found:
        value = manifest.value
        if value.get("kind") not in {"ConfigMap", "Secret"} or isinstance(value.get("sops"), dict):
            continue
        for field in _FIELDS:
            content = value.get(field)
            for key, text in content.items() if isinstance(content, dict) else ():
                if _is_sealed(text, encoded=field == "binaryData" or (field == "data" and value["kind"] == "Secret")):
                    what = f"{identity(value)}: `{field}.{key}` is what sops has sealed, and would stay sealed in it"
                    fix = "no generator, values or template over a sealed file: write the whole Secret as a manifest, and seal that"
                    yield Finding(SEALED, what, manifest.path, manifest.line, 1 if manifest.line else 0, fix=fix)


def _is_sealed(text: Any, *, encoded: bool) -> bool:
    if not isinstance(text, str):
        return False
    if not encoded:
        return _SIGN in text
    try:
        return _SIGN.encode() in base64.b64decode(text, validate=False)
    except (ValueError, binascii.Error):
        return False
