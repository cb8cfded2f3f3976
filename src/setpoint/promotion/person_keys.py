"""Keys of people in `setpoint.yaml`: what is one, and that it is nobody else's; called by `promotion.config`, pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from setpoint.core import public_keys
from setpoint.core.documents import Document, InvalidError
from setpoint.core.errors import Finding

if TYPE_CHECKING:
    from setpoint.promotion.config import SetpointFile


def _key(text: str) -> str:
    try:
        public_keys.parse(text)
    except public_keys.KeyFaultError as error:
        fix = "write the line of the .pub file (`ssh-ed25519 AAAA...`), or what `gpg --armor --export` prints"
        raise InvalidError(f"this is no public key: {error}", fix, "SP545") from None
    return text


PersonKey = Annotated[str, AfterValidator(_key)]


def key_findings(document: "Document[SetpointFile]") -> Iterator[Finding]:
    """Yield a finding for each key that a second person has: nobody could say whose signature it makes."""
    owner: dict[tuple[str, str], str] = {}
    for name, person in document.model.people.items():
        for index, text in enumerate(person.keys):
            key = public_keys.parse(text)
            other = owner.setdefault((key.kind, key.id), name)
            if other != name:
                what = f"the key {key.id} already belongs to `{other}`"
                yield document.finding(("people", name, "keys", index), "SP545", what, "a key belongs to one person")
