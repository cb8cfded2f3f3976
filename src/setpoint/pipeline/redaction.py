"""Keeps values of secrets out of what a task leaves behind: reports are masked, outputs are refused.

Called by the task runner for tasks that were given secrets. What a task prints is masked before it leaves the runner (the executor's work).
Only the value as it is, is found here: an encoded or compressed copy in an output is not.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

MASK: Final = b"***"
_CHUNK_BYTES: Final = 1 << 20


def masked(data: bytes, values: Iterable[str]) -> bytes:
    """Return data with every value replaced, longest first, and also the lines of values that have several."""
    words = {part.strip().encode() for value in values for part in (value, *value.splitlines()) if len(part.strip()) >= len(MASK) + 1}
    for word in sorted(words, key=len, reverse=True):
        data = data.replace(word, MASK)
    return data


def holds(path: Path, value: str) -> bool:
    """Say whether a file holds a value; read in pieces that overlap."""
    wanted = value.strip().encode()
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if wanted in before + chunk:
                return True
            before = chunk[-len(wanted) :]
    return False
