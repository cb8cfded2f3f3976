"""Git's pkt-lines: the ref commands at the head of a push, and the answers that Setpoint writes itself.

Called by `adapters.git.http`; pure, after gitprotocol-common(5) and gitprotocol-pack(5). It never looks into the pack.
"""

import re
from dataclasses import dataclass
from typing import Final

from setpoint.source.model import RefUpdate

FLUSH: Final = b"0000"
ZERO: Final = "0" * 40
"""The id of a ref that is not there."""
_COMMAND: Final = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (refs/[^\0\n]+)")
_LINE_BYTES: Final = 65_516
_SIDEBAND_BYTES: Final = 900
"""Small enough for the old `side-band` capability too."""


class ProtocolError(Exception):
    """The body does not begin as a push does."""


@dataclass(frozen=True, slots=True)
class PushHead:
    """What a client asks receive-pack to do."""

    commands: tuple[RefUpdate, ...]
    """Empty for the probe that a client sends ahead of a large push."""
    capabilities: frozenset[str]


def line(text: bytes) -> bytes:
    """Return text as one pkt-line."""
    return b"%04x" % (len(text) + 4) + text


def split(data: bytes) -> tuple[bytes, bytes | None] | None:
    """Return the first pkt-line of data as (its bytes, its content; None for a flush), or None when data ends within it.

    Raises:
        ProtocolError: data does not begin with a pkt-line.
    """
    if len(data) < 4:
        return None
    length = _length(data[:4])
    if length == 0:
        return data[:4], None
    return (data[:length], data[4:length]) if len(data) >= length else None


def parse_head(data: bytes | bytearray) -> PushHead | None:
    """Return the commands up to the first flush, or None when data ends before it.

    Raises:
        ProtocolError: data is not a command list.
    """
    commands: list[RefUpdate] = []
    capabilities: frozenset[str] = frozenset()
    position = 0
    while True:
        if len(data) < position + 4:
            return None
        length = _length(bytes(data[position : position + 4]))
        if length == 0:
            return PushHead(tuple(commands), capabilities)
        if len(data) < position + length:
            return None
        text = bytes(data[position + 4 : position + length])
        position += length
        if text.startswith(b"shallow "):
            continue
        command, _, words = text.partition(b"\0")
        if not commands:
            capabilities = frozenset(words.decode("utf-8", "replace").split())
        commands.append(_update(command))


def refusal(head: PushHead, sentence: str, text: str = "") -> bytes:
    """Return the body that makes git show `remote: <text>` (the sentence, without one) and every ref of the push as rejected."""
    reason = sentence.splitlines()[0][:200]
    report = line(b"unpack ok\n") + b"".join(line(f"ng {update.ref} {reason}\n".encode()) for update in head.commands) + FLUSH
    if not {"report-status", "report-status-v2"} & head.capabilities:
        report = b""
    if not {"side-band", "side-band-64k"} & head.capabilities:
        return report
    return band(2, f"{text or sentence}\n".encode()) + band(1, report) + FLUSH


def band(number: int, data: bytes) -> bytes:
    """Return data on a side band: 1 is the report, 2 what git shows as `remote:`."""
    pieces = (data[start : start + _SIDEBAND_BYTES] for start in range(0, len(data), _SIDEBAND_BYTES))
    return b"".join(line(bytes([number]) + piece) for piece in pieces)


def _length(digits: bytes) -> int:
    """Return a pkt-line's whole length, 0 for a flush."""
    try:
        length = int(digits, 16) if digits.isalnum() else -1
    except ValueError:
        length = -1
    if length != 0 and not 4 <= length <= _LINE_BYTES + 4:
        raise ProtocolError("not a pkt-line")
    return length


def _update(command: bytes) -> RefUpdate:
    try:
        found = _COMMAND.fullmatch(command.decode().rstrip("\n"))
    except UnicodeDecodeError as error:
        raise ProtocolError("a ref name is not UTF-8") from error
    if found is None:
        raise ProtocolError("not a ref update (old id, new id, refs/...)")
    old, new, ref = found.groups()
    return RefUpdate(ref, old, new)
