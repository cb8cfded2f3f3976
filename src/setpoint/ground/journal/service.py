"""The journal itself: appends under one lock, reads, and checks the chain; built in app wiring, and read-only in the signer.

It never interprets a body and never forgets an entry.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.core import clock
from setpoint.core.errors import BugError, UserError
from setpoint.ground.journal.model import GENESIS, Entry, Fact, leaf_hash, parse
from setpoint.ground.journal.ports import JournalStorage

_FIX = (
    "restore journal/ from a copy: it, or the entry before it, was changed, and what follows proves nothing; "
    "what runs keeps running, and no server writes here until then"
)


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What walking the whole journal found."""

    entries: int
    head: str
    """Hex leaf hash of the last entry (GENESIS when empty)."""
    fault: str = ""
    """Empty when the chain holds; else which entry breaks it and how."""
    where: str = ""
    """File and line of that entry."""
    fix: str = ""
    last_at: str = ""
    """When the last entry that holds was written."""


def check_chain(storage: JournalStorage) -> ChainCheck:
    """Walk every stored entry and say where the chain breaks, if it does (law 4); a changed last entry shows only with the next one."""
    head, count, last_at = GENESIS, 0, ""
    for line in storage.read(0):
        try:
            entry = parse(line)
        except (ValueError, TypeError):
            return ChainCheck(count, head, f"entry {count} is not readable", storage.place(count), _FIX, last_at)
        if entry.index != count or entry.prev != head:
            return ChainCheck(count, head, f"entry {count} does not continue the chain", storage.place(count), _FIX, last_at)
        head, count, last_at = leaf_hash(line), count + 1, entry.at
    return ChainCheck(count, head, last_at=last_at)


class Journal:
    """An append-only, hash-chained list of entries over a storage."""

    def __init__(self, storage: JournalStorage, time: clock.Clock) -> None:
        """Read and check what is stored.

        Raises:
            UserError: the chain does not hold (SP005): nothing is written behind what cannot be believed.
        """
        self._storage = storage
        self._clock = time
        self._lock = threading.RLock()
        found = check_chain(storage)
        if found.fault:
            raise UserError("SP005", f"the journal is damaged: {found.fault}", where=found.where, fix=found.fix)
        self._next, self._head, self._last_at = found.entries, found.head, found.last_at

    def __len__(self) -> int:
        return self._next

    @property
    def head(self) -> str:
        """The hex leaf hash of the last entry."""
        return self._head

    @property
    def last_at(self) -> str:
        """When the last entry was written; empty when there is none."""
        return self._last_at

    def append(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Append one entry and return it once it is durable."""
        return self.append_all([Fact(kind, subject, actor, body)])[0]

    def append_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Append entries in one durable write; a wall clock that went back is held at the last entry's time."""
        with self._lock:
            at = max(clock.to_text(self._clock.now()), self._last_at)
            entries: list[Entry] = []
            leaves: list[bytes] = []
            head = self._head
            for offset, fact in enumerate(facts):
                entry = Entry(self._next + offset, at, fact.kind, fact.subject, fact.actor, fact.body, head)
                entries.append(entry)
                leaves.append(entry.leaf())
                head = leaf_hash(leaves[-1])
            if entries:
                self._storage.append(self._next, leaves)
                self._next, self._head, self._last_at = self._next + len(entries), head, at
            return entries

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from index start on.

        Raises:
            BugError: a stored line is no entry (SP001), with its index.
        """
        for offset, line in enumerate(self._storage.read(start)):
            try:
                yield parse(line)
            except (ValueError, TypeError) as error:
                fix = "restore the journal from a copy; `setpoint events --check` names the first bad entry"
                raise BugError("SP001", f"journal entry {start + offset} cannot be read", fix=fix) from error

    def check(self) -> ChainCheck:
        """Walk the whole journal as it is stored now."""
        return check_chain(self._storage)
