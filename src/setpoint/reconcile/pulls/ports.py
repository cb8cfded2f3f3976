"""What pull secrets need from outside: tokens of this home (app.pull_tokens), its logins, and the clusters (cluster.ports)."""

from collections.abc import Sequence
from typing import Protocol

from setpoint.reconcile.pulls.model import Credential, PullToken


class PullTokens(Protocol):
    """Tokens that let in for pulls only."""

    def issue(self, name: str) -> str:
        """Journal a token, make it valid, and return its text."""
        ...

    def find(self, text: str) -> PullToken | None:
        """Return the token of a text, if it is let in."""
        ...

    def living(self) -> dict[str, Sequence[PullToken]]:
        """Return every token that `issue` made and that is let in, by name."""
        ...

    def revoke(self, token_id: str) -> None:
        """Let a token in no more, and journal that."""
        ...


class Logins(Protocol):
    """The home's logins to other registries."""

    def login(self, host: str) -> Credential | None:
        """Return user and password for a host; None where there is no login with a user. UserError SP335 when it is not in the home."""
        ...
