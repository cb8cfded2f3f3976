"""How a request becomes a principal."""

from typing import Protocol

from setpoint.ground.identity.model import Principal


class Authenticator(Protocol):
    """Reads an HTTP Authorization header (adapters.tokens)."""

    def authenticate(self, authorization: str | None) -> Principal | None:
        """Return whose token a `Bearer <token>` or `Basic <any user>:<token>` header carries; None when it is missing or wrong."""
        ...
