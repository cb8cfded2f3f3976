"""Principals, people, tokens and role keys; used by every mutating call, never holds a secret in clear."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

TokenKind = Literal["operator", "person", "pull"]
"""`pull`: a machine's, that may read the registry and nothing else."""


class Role(StrEnum):
    """What a signing key may say; a signature by another role proves nothing (supply-chain note: a signature is no approval)."""

    BUILDER = "builder"
    SCANNER = "scanner"
    GATE = "gate"
    APPROVAL = "approval"
    COMMIT = "commit"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a call: the home's operator, or a person of the accepted setpoint.yaml."""

    kind: Literal["operator", "person"]
    email: str = ""
    token_id: str = ""

    @property
    def actor(self) -> str:
        """How the journal names this principal."""
        return "operator" if self.kind == "operator" else f"person:{self.email}"

    @property
    def pusher(self) -> str:
        """How a push names this principal: a person's email, or `operator`."""
        return self.email if self.kind == "person" else "operator"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as it is stored: never the token itself, only its SHA-256."""

    token_id: str
    sha256: str
    kind: TokenKind
    email: str
    name: str
    created_at: str
    revoked_at: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody named in setpoint.yaml; commits are matched to a person by any of the emails."""

    name: str
    emails: tuple[str, ...]
    kind: Literal["human", "machine"] = "human"
    keys: tuple[str, ...] = ()
    """Public keys that sign this person's commits, as they are written."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The people and teams of one accepted version of setpoint.yaml."""

    people: tuple[Person, ...]
    teams: dict[str, tuple[str, ...]]
    """team name -> person names"""

    def person(self, email: str) -> Person | None:
        """Return the person with this email (case does not matter), if there is one."""
        wanted = email.casefold()
        return next((p for p in self.people if wanted in (e.casefold() for e in p.emails)), None)

    def members(self, selectors: tuple[str, ...]) -> frozenset[str]:
        """Return the names of the people that `team:NAME` and `person:NAME` selectors name together."""
        found: set[str] = set()
        for selector in selectors:
            kind, _, name = selector.partition(":")
            found.update(self.teams.get(name, ()) if kind == "team" else (name,))
        return frozenset(found)
