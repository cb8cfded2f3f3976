"""Gives a token out: journal first, file second, so no token is valid that the journal does not know.

Called by the API and at the server's start. A crash in between leaves an entry about a token that lets nobody in.
"""

from setpoint.adapters.tokens import TokenFile
from setpoint.ground.identity.model import TokenKind, TokenRecord
from setpoint.ground.journal.ports import Recorder


def issue(tokens: TokenFile, recorder: Recorder, actor: str, wish: tuple[TokenKind, str, str]) -> tuple[TokenRecord, str]:
    """Journal a token of (kind, email, name), make it valid, and return its record and its text.

    Raises:
        UserError: a person's token without an email (SP842).
        WorldError: the journal (SP002) or the file of tokens (SP840) cannot be written.
    """
    kind, email, name = wish
    record, text = tokens.draft(kind, email, name)
    recorder.record("token.created", record.token_id, actor, {"kind": kind, "email": email, "name": name})
    tokens.add(record)
    return record, text
