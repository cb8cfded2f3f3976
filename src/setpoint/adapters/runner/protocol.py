"""What the server and its runner say to each other: one JSON object a line over a socket pair, with a version.

Called by both ends; it only frames and bounds, and never trusts the other side to keep to it. Standard library only.

Server to runner: `hello {version, work, uid, grace_s}`, `run {id, task_id, argv, environment, network, timeout_s, log_quota_bytes,
secrets, sandbox, processes}`, `cancel {id}`. Runner to server: `ready {version, problem}`, `log {id, records: [[seq, at, stream, text]]}`,
`exit {id, how, exit_code, detail}`, `refused {id, detail}` (no sandbox could be made).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

VERSION: Final = 3
RUNNER_UID: Final = 64180
"""The uid (and gid) tasks run as when the server is root. It needs no entry in the password database; it lies in 60000-64999, the ids
that Debian policy 9.2.2 keeps for fixed ids made on demand, away from people and from the subordinate ranges of containers."""
MAX_LINE_BYTES: Final = 8 << 20
"""Above the longest log record (1 Mi characters of up to 6 bytes each) and above what the kernel allows as a command line."""


def encode(kind: str, **fields: Any) -> bytes:
    """Return one message as a line."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class MessageReader:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Mapping[str, Any]]:
        """Return the messages that are complete now.

        Raises:
            ValueError: a line is too long, or is no JSON object with a `type`.
        """
        self._pending += data
        end = self._pending.rfind(b"\n")
        if end < 0:
            if len(self._pending) > MAX_LINE_BYTES:
                raise ValueError("a message is longer than the protocol allows")
            return []
        lines = bytes(self._pending[:end]).split(b"\n")
        del self._pending[: end + 1]
        return [_message(line) for line in lines]


def _message(line: bytes) -> Mapping[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("a message is longer than the protocol allows")
    value = json.loads(line)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise ValueError("a message is no JSON object with a type")  # noqa: TRY004 - the content is wrong, not the caller
    return value
