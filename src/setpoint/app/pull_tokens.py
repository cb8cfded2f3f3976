"""Tokens that pull secrets carry, and logins that they show other registries: fills `reconcile.pulls.ports` from the home's own files."""

from collections.abc import Sequence

from setpoint.adapters.tokens import TokenFile
from setpoint.app.tokens import issue
from setpoint.ground.identity.model import TokenRecord
from setpoint.ground.journal.ports import Recorder
from setpoint.ground.registries.service import Registries
from setpoint.reconcile.pulls.model import Credential, PullToken

_PREFIX = "pulls of "


class HomePullTokens:
    """Tokens of this home for pulls only, by the place that they were made for."""

    def __init__(self, tokens: TokenFile, recorder: Recorder) -> None:
        self._tokens = tokens
        self._recorder = recorder

    def issue(self, name: str) -> str:
        """Journal a token, make it valid, and return its text."""
        _record, text = issue(self._tokens, self._recorder, "setpoint", ("pull", "", name))
        return text

    def find(self, text: str) -> PullToken | None:
        """Return the token of a text, if it is let in for pulls and was made for a place."""
        found = self._tokens.find(text)
        return _told(found) if found is not None and found.kind == "pull" and found.name.startswith(_PREFIX) else None

    def living(self) -> dict[str, Sequence[PullToken]]:
        """Return every token that is let in and was made for a place, by its name."""
        found: dict[str, list[PullToken]] = {}
        for record in self._tokens.list():
            if record.kind == "pull" and record.revoked_at is None and record.name.startswith(_PREFIX):
                found.setdefault(record.name, []).append(_told(record))
        return {name: tuple(tokens) for name, tokens in found.items()}

    def revoke(self, token_id: str) -> None:
        """Let a token in no more, and journal that."""
        self._tokens.revoke(token_id)
        self._recorder.record("token.revoked", token_id, "setpoint", {})


class HomeLogins:
    """The home's logins, as pull secrets show them."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    def login(self, host: str) -> Credential | None:
        """Return user and password for a host; None where there is no login with a user."""
        found = self._registries.access(host)
        return Credential(found.user, found.password) if found.user else None


def _told(record: TokenRecord) -> PullToken:
    return PullToken(record.token_id, record.created_at)
