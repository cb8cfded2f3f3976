"""One entry of the journal and its leaf bytes, whose format is fixed for ever (version 1).

A leaf is canonical JSON of {v, index, at, kind, subject, actor, body, prev}; its hash is SHA-256(0x00 || leaf), the leaf hash of
RFC 9162 section 2.1.1, so a Merkle tree can be laid over the journal later; `prev` is the leaf hash of the entry before, which
already makes a chain today. Called by the journal service, its storage and the signer; never does I/O.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import canonical

LEAF_VERSION: Final = 1
GENESIS: Final = "0" * 64
"""The `prev` of entry 0."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be journalled: an entry before it has a place and a time."""

    kind: str
    subject: str
    actor: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was decided or done, by whom and when."""

    index: int
    """0-based position; the fencing epoch of whatever was decided here."""
    at: str
    """RFC 3339, UTC, milliseconds; never before the entry ahead of it."""
    kind: str
    """`noun.participle`, for example `run.created`; the kinds are listed in docs/state.md."""
    subject: str
    """The id of the thing this is about (run, promotion, repository, token)."""
    actor: str
    """`operator`, `person:<email>`, or `setpoint` for the control loop itself."""
    body: dict[str, Any]
    prev: str
    """Hex leaf hash of the entry before; GENESIS for entry 0."""

    def leaf(self) -> bytes:
        """Return the bytes that are stored and hashed: one line of canonical JSON, without the newline."""
        return canonical.dumps(
            {
                "v": LEAF_VERSION,
                "index": self.index,
                "at": self.at,
                "kind": self.kind,
                "subject": self.subject,
                "actor": self.actor,
                "body": self.body,
                "prev": self.prev,
            },
        )


def leaf_hash(leaf: bytes) -> str:
    """Return the hex RFC 9162 leaf hash of stored leaf bytes."""
    return hashlib.sha256(b"\x00" + leaf).hexdigest()


def parse(leaf: bytes) -> Entry:
    """Return the entry that a stored line holds.

    Raises:
        ValueError: the line is not a version 1 leaf.
    """
    value = json.loads(leaf)
    if not isinstance(value, dict) or value.pop("v", None) != LEAF_VERSION:
        msg = "not a version 1 journal leaf"
        raise ValueError(msg)
    return Entry(**value)
