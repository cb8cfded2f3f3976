"""Content digests as OCI writes them; called wherever bytes get a name, never reads files."""

import hashlib
import re
from typing import Final

_DIGEST: Final = re.compile(r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")


def sha256(data: bytes) -> str:
    """Return the OCI digest `sha256:<64 hex>` of data (image-spec, descriptor digests)."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Say whether text is a digest that the registry accepts (sha256 or sha512, lower-case hex)."""
    return _DIGEST.fullmatch(text) is not None


def short(digest: str) -> str:
    """Return what a person reads of a digest or commit id: its first 12 hex digits."""
    return digest.rpartition(":")[2][:12]
