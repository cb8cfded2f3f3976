"""Tokens of a home, stored as SHA-256 only, and the page's login links and sessions; fills `ground.identity.ports.Authenticator`.

Called by the API and the Git and registry endpoints on every request, and by `up` and the token verbs. A token's text leaves `create`
once and is never stored, logged or compared in clear.
"""

import base64
import binascii
import dataclasses
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from setpoint.core import clock, ids
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.ground.identity.model import Principal, TokenKind, TokenRecord

_PREFIX: Final = "sp_"
_RANDOM_BYTES: Final = 30
"""40 characters of URL-safe base64, 240 bits."""
_FILE_VERSION: Final = 1
_HEADER_CHARS: Final = 4096
_CODE_LIFE: Final = timedelta(minutes=10)
_SESSION_LIFE: Final = timedelta(hours=24)
_MAX_KEPT: Final = 1000


class TokenFile:
    """The home's tokens.json (0600); several processes may write it, and a change on disk is seen at the next call."""

    def __init__(self, path: Path, time: clock.Clock) -> None:
        self._path = path
        self._clock = time
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._records: tuple[TokenRecord, ...] = ()

    def authenticate(self, authorization: str | None) -> Principal | None:
        """Return whose token a `Bearer <token>` or `Basic <any user>:<token>` header carries; None when it is missing or wrong."""
        found = self._living(authorization)
        if found is None or found.kind == "pull":
            return None
        return Principal(found.kind, found.email, found.token_id)

    def may_pull(self, authorization: str | None) -> bool:
        """Say whether a header carries a token that may read the registry: every one that lives."""
        return self._living(authorization) is not None

    def find(self, text: str) -> TokenRecord | None:
        """Return the record of a token by its text; None when it is none of ours, or revoked."""
        return self._living(f"Bearer {text}")

    def _living(self, authorization: str | None) -> TokenRecord | None:
        token = _token_of(authorization)
        if token is None:
            return None
        wanted = _hash(token)
        found: TokenRecord | None = None
        for record in self._load():
            # Every record is compared, in constant time each, so that the answer's time says nothing about the hashes.
            if hmac.compare_digest(record.sha256, wanted) and record.revoked_at is None:
                found = record
        return found

    def draft(self, kind: TokenKind, email: str, name: str) -> tuple[TokenRecord, str]:
        """Return a token's record and text (`sp_` and 40 characters); it lets nobody in before `add`, so it can be journalled first.

        Raises:
            UserError: a person's token without an email (SP842).
        """
        if (kind == "person") != bool(email.strip()):
            raise UserError("SP842", "a person's token needs an email, all others have none", fix="setpoint token create --person EMAIL")
        token = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        digest = _hash(token)
        record = TokenRecord(ids.identifier("t", digest), digest, kind, email.strip(), name, clock.to_text(self._clock.now()))
        return record, token

    def add(self, record: TokenRecord) -> None:
        """Make a drafted token valid, durable on disk.

        Raises:
            WorldError: the file cannot be read or written (SP840).
        """
        with self._exclusive():
            self._save((*self._load(), record))

    def create(self, kind: TokenKind, email: str, name: str) -> tuple[TokenRecord, str]:
        """Draft a token and make it valid at once; see `draft` and `add`."""
        record, token = self.draft(kind, email, name)
        self.add(record)
        return record, token

    def list(self) -> tuple[TokenRecord, ...]:
        """Return every token ever made, revoked ones too, in the order they were made."""
        return self._load()

    def revoke(self, token_id: str) -> TokenRecord:
        """Make a token useless from now on; revoking twice changes nothing.

        Raises:
            NotFoundError: there is no such token (SP841).
        """
        with self._exclusive():
            records = self._load()
            found = next((record for record in records if record.token_id == token_id), None)
            if found is None:
                raise NotFoundError("SP841", f"there is no token {token_id[:40]}", fix="setpoint token list")
            if found.revoked_at is not None:
                return found
            revoked = dataclasses.replace(found, revoked_at=clock.to_text(self._clock.now()))
            self._save(tuple(revoked if record is found else record for record in records))
        return revoked

    def is_live(self, token_id: str) -> bool:
        """Say whether a token exists and is not revoked."""
        return any(record.token_id == token_id and record.revoked_at is None for record in self._load())

    def _load(self) -> tuple[TokenRecord, ...]:
        """Return the records, read again only when the file is another one than last time."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                    if stamp != self._stamp:
                        self._records, self._stamp = _parse(file.read()), stamp
            except FileNotFoundError:
                self._records, self._stamp = (), None
            except PermissionError as error:
                fix = f"give it back to the server's user: chown and chmod 600 {self._path}; nobody is let in until then"
                raise WorldError("SP840", "the tokens may not be read", where=str(self._path), fix=fix) from error
            except (OSError, ValueError, TypeError, KeyError) as error:
                fix = "restore tokens.json from a copy, or move it away and make new tokens; nobody is let in until then"
                raise WorldError("SP840", "the tokens cannot be read", where=str(self._path), fix=fix) from error
            return self._records

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from writing; the lock file stays, for removing it would let two writers in."""
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _save(self, records: tuple[TokenRecord, ...]) -> None:
        value = {"version": _FILE_VERSION, "tokens": [dataclasses.asdict(record) for record in records]}
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(value, file, indent=1)
                file.flush()
                os.fsync(descriptor)
            fresh.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            fix = "make room and check the permissions of the home"
            raise WorldError("SP840", f"the tokens cannot be written: {error.strerror}", where=str(self._path), fix=fix) from error


class LoginLinks:
    """One-time login codes and the page's sessions, in memory: a restart logs the pages out.

    A session ends with its token, or after a day.
    """

    def __init__(self, time: clock.Clock, tokens: TokenFile) -> None:
        self._clock = time
        self._tokens = tokens
        self._lock = threading.Lock()
        self._codes: dict[str, tuple[Principal, datetime]] = {}
        self._sessions: dict[str, tuple[Principal, datetime]] = {}

    def login_code(self, principal: Principal) -> str:
        """Return a code that logs principal in once within ten minutes."""
        return self._put(self._codes, principal, _CODE_LIFE)

    def redeem(self, code: str) -> Principal | None:
        """Return who the code logs in and use it up; None when it is unknown, used or too old."""
        with self._lock:
            found = self._codes.pop(_hash(code), None)
        return self._living(found)

    def session(self, principal: Principal) -> str:
        """Return the cookie value of a new session."""
        return self._put(self._sessions, principal, _SESSION_LIFE)

    def principal_of_session(self, text: str) -> Principal | None:
        """Return whose session a cookie value names; None when it is unknown, too old, or its token was revoked."""
        with self._lock:
            found = self._sessions.get(_hash(text))
        return self._living(found)

    def end_session(self, text: str) -> None:
        """Forget a session (log out); an unknown one is fine."""
        with self._lock:
            self._sessions.pop(_hash(text), None)

    def _put(self, kept: dict[str, tuple[Principal, datetime]], principal: Principal, life: timedelta) -> str:
        """Keep a principal under the hash of a new secret; old ones are dropped, the oldest first when there are too many."""
        text = secrets.token_urlsafe(_RANDOM_BYTES)
        now = self._clock.now()
        with self._lock:
            for key in [key for key, (_, until) in kept.items() if until <= now]:
                del kept[key]
            while len(kept) >= _MAX_KEPT:
                del kept[next(iter(kept))]
            kept[_hash(text)] = (principal, now + life)
        return text

    def _living(self, found: tuple[Principal, datetime] | None) -> Principal | None:
        if found is None:
            return None
        principal, until = found
        if self._clock.now() >= until or (principal.token_id and not self._tokens.is_live(principal.token_id)):
            return None
        return principal


def _hash(text: str) -> str:
    """Return hex SHA-256; a slow hash adds nothing to 240 random bits, and this runs on every request."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _token_of(authorization: str | None) -> str | None:
    """Return the token of a header, None when the header is missing or malformed (RFC 6750, RFC 7617)."""
    if authorization is None or len(authorization) > _HEADER_CHARS:
        return None
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.casefold() == "basic":
        try:
            _, colon, value = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        return value if colon and value.startswith(_PREFIX) else None
    return value if scheme.casefold() == "bearer" and value.startswith(_PREFIX) else None


def _parse(data: bytes) -> tuple[TokenRecord, ...]:
    value = json.loads(data)
    if value["version"] != _FILE_VERSION:
        raise ValueError("another version")
    return tuple(TokenRecord(**record) for record in value["tokens"])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
