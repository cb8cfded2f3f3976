"""What server and signer say to each other over a socket pair: one JSON object a line, version 1; pure.

Called by both ends. A request names an operation and ids, never bytes to be signed; errors travel as code, text, place and fix.
"""

import base64
import json
from typing import Any, Final

from setpoint.core import canonical, errors
from setpoint.core.errors import BugError, SetpointError, UserError, WorldError
from setpoint.core.records import decode, encode
from setpoint.evidence.model import Document
from setpoint.evidence.ports import Signed

VERSION: Final = 1
REQUEST_BYTES: Final = 16 << 10
ANSWER_BYTES: Final = 256 << 20
_FAMILIES: Final = {
    family.__name__: family
    for family in (
        errors.NotFoundError,
        errors.NotAllowedError,
        errors.ConflictError,
        errors.UserError,
        errors.WorldError,
        errors.BugError,
    )
}


def request(operation: str, arguments: dict[str, str]) -> bytes:
    """Return a request line.

    Raises:
        UserError: an argument is absurdly long (SP404).
    """
    line = canonical.dumps({"v": VERSION, "op": operation, **arguments}) + b"\n"
    if len(line) > REQUEST_BYTES:
        raise UserError("SP404", "the id to be signed is too long", fix="name a run, approval, promotion or parent commit by its id")
    return line


def parse_request(line: bytes) -> tuple[str, dict[str, str]]:
    """Return (operation, arguments).

    Raises:
        BugError: the line is no request of this version (SP409).
    """
    try:
        value = json.loads(line)
        if value.pop("v") != VERSION:
            raise BugError("SP409", "the signer speaks another version of its protocol", fix="restart the server")
        operation = value.pop("op")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BugError("SP409", "the signer was sent something that is no request", fix="restart the server") from error
    if not isinstance(operation, str) or not all(isinstance(item, str) for item in value.values()):
        raise BugError("SP409", "the signer was sent something that is no request", fix="restart the server")
    return operation, value


def answer(value: Any) -> bytes:
    """Return an answer line that carries a JSON value."""
    return canonical.dumps({"v": VERSION, "ok": value}) + b"\n"


def failure(error: SetpointError) -> bytes:
    """Return an answer line that carries an error."""
    family = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _FAMILIES), "BugError")
    body = {"family": family, "code": error.code, "what": error.what, "where": error.where, "fix": error.fix}
    return canonical.dumps({"v": VERSION, "error": body}) + b"\n"


def parse_answer(line: bytes) -> Any:
    """Return the value of an answer, or raise the error that it carries.

    Raises:
        WorldError: the line is no answer of this version (SP405).
    """
    try:
        value = json.loads(line)
        if value["v"] != VERSION:
            raise WorldError("SP405", "the signer speaks another version of its protocol", fix="restart the server")
        if "ok" in value:
            return value["ok"]
        body = value["error"]
        family = _FAMILIES[body["family"]]
        error = family(str(body["code"]), str(body["what"]), where=str(body["where"]), fix=str(body["fix"]))
    except (ValueError, KeyError, TypeError) as fault:
        raise WorldError("SP405", "the signer's answer cannot be read", fix="see the server's log; it is started again") from fault
    raise error


def encode_signed(signed: Signed) -> dict[str, Any]:
    """Return a Signed as JSON; bytes are base64."""
    return {
        "predicate_type": signed.predicate_type,
        "subject": signed.subject,
        "oci_repository": signed.oci_repository,
        "payload": base64.b64encode(signed.payload).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
        "result": signed.result,
        "task": signed.task,
        "artifact": signed.artifact,
        "summary": signed.summary,
        "at": signed.at,
        "report": signed.report,
        "document": encode(signed.document) if signed.document is not None else None,
    }


def decode_signed(value: dict[str, Any]) -> Signed:
    """Return what `encode_signed` wrote."""
    texts = {key: text for key, text in value.items() if key not in ("payload", "signature", "document")}
    document = decode(Document, value["document"]) if value["document"] is not None else None
    return Signed(payload=base64.b64decode(value["payload"]), signature=base64.b64decode(value["signature"]), document=document, **texts)
