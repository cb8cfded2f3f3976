"""Identifiers made of content: a run or promotion is named by what it is, never by a row counter.

Called where a run, promotion or token is created; never looks anything up.
"""

import base64
import hashlib

from setpoint.core import canonical

_LENGTH = 8


def identifier(prefix: str, *parts: object) -> str:
    """Return `<prefix>-<8 of base32>`, the same for the same parts: `identifier("r", repo, commit, 1)` -> `r-k3v9q2xw`."""
    digest = hashlib.sha256(canonical.dumps([prefix, *[str(part) for part in parts]])).digest()
    return f"{prefix}-{base64.b32encode(digest).decode().lower()[:_LENGTH]}"
