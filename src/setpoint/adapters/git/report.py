"""What `git receive-pack` says of a push, read as it goes by, so that Setpoint can add its own sentence before the end.

Called by `adapters.git.http`; pure, after gitprotocol-pack(5) (report-status, side-band). Git's own words reach the client unchanged and
first; without side-band there is no place for a sentence, and nothing is added.
"""

from collections.abc import Mapping
from typing import Final

from setpoint.adapters.git.pkt import FLUSH, ZERO, ProtocolError, PushHead, band, split
from setpoint.core.errors import ConflictError, SetpointError, UserError, WorldError

_SAID_BYTES: Final = 1 << 16
_FULL: Final = ("no space left on device", "disk quota exceeded")
_DISK_FIX: Final = "make room on the disk of the server's home, then push again"


class PushReport:
    """Passes receive-pack's answer on but for its last flush, and keeps what it says of the pack and of each ref."""

    def __init__(self, head: PushHead) -> None:
        self._head = head
        self._banded = bool({"side-band", "side-band-64k"} & head.capabilities)
        self._rest = b""
        self._held = b""
        self._status = b""
        self._said = b""
        self.complaint = ""
        """What git wrote to its standard error."""

    def feed(self, data: bytes) -> bytes:
        """Return what is to be sent now of the next piece of the answer."""
        if not self._banded:
            return data
        self._rest += data
        passed = b""
        while (found := self._next()) is not None:
            packet, content = found
            passed, self._held = passed + self._held, b""
            if content is None:
                self._held = packet
                continue
            passed += packet
            if content[:1] == b"\x01":
                self._status = (self._status + content[1:])[:_SAID_BYTES]
            else:
                self._said = (self._said + content[1:])[-_SAID_BYTES:]
        return passed

    def _next(self) -> tuple[bytes, bytes | None] | None:
        """Take the next whole packet off the rest: (its bytes, its content; None for a flush). What is no packet is passed on as it is."""
        try:
            found = split(self._rest)
        except ProtocolError:
            self._banded, found = False, (self._rest, b"")
        if found is not None:
            self._rest = self._rest[len(found[0]) :]
        return found

    def end(self, error: SetpointError | None) -> bytes:
        """Return what closes the answer: Setpoint's sentence, if there is one and a band for it, and the flush that was held back."""
        sentence = band(2, f"{error.render()}\n".encode()) if error is not None and self._banded else b""
        return sentence + (self._held or (FLUSH if sentence else b"")) + self._rest

    def fault(self, refs: Mapping[str, str]) -> SetpointError | None:
        """Return why git did not take the push, or a part of it, in Setpoint's words; refs is what the repository has now."""
        pack, refused = self._reported()
        if not pack and not refused:
            return None
        words = f"{self._said.decode(errors='replace')}\n{self.complaint}\n{pack}".lower()
        if any(word in words for word in _FULL):
            return WorldError("SP110", "the disk of the server is full, so the push was not taken", fix=_DISK_FIX)
        if pack:
            return WorldError("SP113", f"git could not store what was pushed: {pack}", fix="push again; else the server's log says more")
        return _of_ref(self._head, refused, refs)

    def _reported(self) -> tuple[str, dict[str, str]]:
        """Return (what is wrong with the pack, {ref: why it was refused})."""
        pack, refused, data = "", {}, self._status
        while data:
            try:
                found = split(data)
            except ProtocolError:
                break
            if found is None:
                break
            data = data[len(found[0]) :]
            words = (found[1] or b"").decode(errors="replace").strip()
            if words.startswith("unpack ") and words != "unpack ok":
                pack = words.removeprefix("unpack ")
            elif words.startswith("ng "):
                _ng, ref, *why = words.split(" ", 2)
                refused[ref] = why[0] if why else "refused"
        return pack, refused


def _of_ref(head: PushHead, refused: Mapping[str, str], refs: Mapping[str, str]) -> SetpointError:
    ref, why = next(iter(refused.items()))
    name = ref.removeprefix("refs/heads/")
    wanted = next((update for update in head.commands if update.ref == ref), None)
    if wanted is not None and refs.get(ref, ZERO) not in (wanted.old, wanted.new):
        what = f"somebody else moved `{name}` while you pushed, so your push of it was not taken"
        return ConflictError("SP111", what, fix=f"git pull --rebase origin {name}, then push again")
    if why == "non-fast-forward":
        fix = f"git pull --rebase origin {name}, then push again; a change is taken back by a new commit: git revert"
        return UserError("SP112", f"history is not rewritten here: `{name}` has commits that your push would drop", fix=fix)
    return WorldError("SP113", f"git did not take `{name}`: {why}", fix="push again; else the server's log says more")
