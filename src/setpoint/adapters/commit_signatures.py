"""Who signed a commit, by the keys of people and Setpoint's own: SSH by `sshsig`, OpenPGP by gpgv; each commit is looked at once, and
what gpgv called good again after an hour, for a key expires without anybody's doing.

Fills promotion's `CommitSignatures`. A key inside a signature counts for nothing: it is compared with the keys of the accepted
setpoint.yaml, and a name inside of it (a principal, an email) is not read at all.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from setpoint.adapters import sshsig
from setpoint.adapters.gpgv import Gpgv
from setpoint.core import public_keys
from setpoint.core.clock import Clock
from setpoint.core.errors import UserError, WorldError
from setpoint.core.public_keys import PublicKey
from setpoint.ground.identity.model import Directory
from setpoint.promotion.commits import Signature
from setpoint.source.ports import GitStore

_KEPT: Final = 50_000
_GOOD_FOR: Final = timedelta(hours=1)
"""How long a good OpenPGP result counts: its key may expire meanwhile."""
_PGP: Final = b"-----BEGIN PGP SIGNATURE-----"
_X509: Final = b"-----BEGIN SIGNED MESSAGE-----"
Keys = dict[tuple[Literal["ssh", "openpgp"], str], tuple[str, PublicKey]]
"""(kind, id) -> (person, key)"""


class CheckedSignatures:
    """Checks and remembers; safe to call from several threads."""

    def __init__(self, git: GitStore, commit_key: str, clock: Clock, gpgv: Gpgv | None = None) -> None:
        self._git = git
        self._own = public_keys.parse(commit_key)
        self._clock = clock
        self._gpgv = gpgv if gpgv is not None else Gpgv()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], tuple[Signature, datetime | None]] = OrderedDict()
        """What was found, and when if that counts for a time only."""
        self._last: tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[Keys, bytes, str]] | None = None
        """The last people with keys, and what was read from them."""

    def of(self, repository: str, commit: str, directory: Directory) -> Signature:
        """Return who signed a commit, by the keys of a directory; never raises for what a commit holds."""
        keys, keyring, version = self._known(directory)
        key = (repository, commit, version)
        now = self._clock.now()
        with self._lock:
            kept, since = self._kept.get(key, (None, None))
            # A result from what is now the future is of no known age: the clock was set back.
            if kept is not None and (since is None or since <= now < since + _GOOD_FOR):
                self._kept.move_to_end(key)
                return kept
        found = self._check(repository, commit, keys, keyring)
        if found.state != "unchecked":
            with self._lock:
                self._kept[key] = (replace(found, slow=False), now if found.slow and found.state == "person" else None)
                self._kept.move_to_end(key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return found

    def _check(self, repository: str, commit: str, keys: Keys, keyring: bytes) -> Signature:
        try:
            raw = self._git.raw_commit(repository, commit)
        except UserError as error:
            return Signature("bad", "", error.what)
        if raw is None:
            return Signature("none", "", "it carries no signature")
        payload, armored = raw
        if armored.startswith(sshsig.BEGIN):
            return self._ssh(payload, armored, keys)
        if armored.startswith(_PGP):
            return self._openpgp(payload, armored, keys, keyring)
        what = "an X.509 signature, which is not supported" if armored.startswith(_X509) else "a signature of an unknown kind"
        return Signature("bad", "", f"it carries {what}: sign with SSH or OpenPGP")

    def _ssh(self, payload: bytes, armored: bytes, keys: Keys) -> Signature:
        try:
            envelope = sshsig.envelope(payload, armored)
        except ValueError as error:
            return Signature("bad", "", f"its SSH signature cannot be read: {error}")
        if not sshsig.holds(envelope):
            return Signature("bad", "", "its SSH signature does not fit the commit")
        if envelope.key == self._own.data:
            return Signature("setpoint")
        name = public_keys.ssh_id(envelope.key)
        person, _key = keys.get(("ssh", name), ("", None))
        return Signature("person", person, f"the SSH key {name}") if person else Signature("unknown", "", f"the SSH key {name}")

    def _openpgp(self, payload: bytes, armored: bytes, keys: Keys, keyring: bytes) -> Signature:
        if not keyring:
            return Signature("unknown", "", "an OpenPGP key")
        try:
            found = self._gpgv.check(payload, armored, keyring)
        except WorldError as error:
            return Signature("unchecked", "", f"{error.what}; {error.fix}" if error.fix else error.what)
        if found.state == "bad":
            return Signature("bad", "", f"its OpenPGP signature does not count: {found.why}", slow=True)
        person, _key = keys.get(("openpgp", found.key), ("", None)) if found.state == "good" else ("", None)
        named = f"the OpenPGP key {found.key or '?'}"
        return Signature("person" if person else "unknown", person, named, slow=True)

    def _known(self, directory: Directory) -> tuple[Keys, bytes, str]:
        """Return the keys of a directory, the OpenPGP ones as one keyring, and what names them all."""
        people = tuple((person.name, person.keys) for person in directory.people if person.keys)
        last = self._last
        if last is not None and last[0] == people:
            return last[1]
        keys: Keys = {}
        for name, texts in people:
            for text in texts:
                parsed = public_keys.parse(text)
                keys[parsed.kind, parsed.id] = (name, parsed)
        keyring = b"".join(key.data for _person, key in keys.values() if key.kind == "openpgp")
        hashed = hashlib.sha256()
        for (kind, key_id), (name, key) in sorted(keys.items(), key=lambda item: item[0]):
            hashed.update(f"{kind} {key_id} {name}\n".encode() + hashlib.sha256(key.data).digest())
        found = (keys, keyring, hashed.hexdigest())
        self._last = (people, found)
        return found
