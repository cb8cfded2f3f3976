"""The commit of an adoption: what it says and what it may touch. Pure; called by the signer, which composes it from the journal (law 8)."""

import re
from typing import Final

from setpoint.core.errors import UserError
from setpoint.promotion import pin
from setpoint.reconcile.adopt.model import Adoption

REFUSED: Final = "SP419"
_EMAIL: Final = re.compile(r"[^@\s<>\x00-\x1f\x7f]{1,64}@[^@\s<>\x00-\x1f\x7f]{1,190}")
_PART: Final = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


def check_paths(adoption: Adoption) -> None:
    """Refuse an adoption that would touch anything but the files of its application: no gate, no pin, nobody else's.

    Raises:
        UserError: SP419.
    """
    folders = (f"apps/{adoption.app}/", f"environments/{adoption.environment}/{adoption.app}/")
    for edit in adoption.edits:
        parts = edit.path.split("/")
        if not edit.path.startswith(folders) or any(part in ("", ".", "..") or not _PART.fullmatch(part) for part in parts):
            fix = "an adoption writes into the folders of its application only"
            raise UserError(REFUSED, "the adoption's commit is not signed: it touches another file", where=edit.path[:200], fix=fix)


def message(adoption: Adoption) -> str:
    """Return the commit's message: a title, the fields and words, and the trailers that name the adoption."""
    subjects = ", ".join(dict.fromkeys(one.subject for one in adoption.fields))
    fields = "".join(f"- {' '.join(f'{one.subject}: {one.field} is {one.live[:200]}'.split())}\n" for one in adoption.fields)
    why = " ".join(adoption.why.split())
    trailers = {
        "Setpoint-Adoption": adoption.adoption,
        "Setpoint-App": adoption.app,
        "Setpoint-Environment": adoption.environment,
        "Setpoint-Drift": " ".join(one.drift for one in adoption.fields),
        "Setpoint-Requested-By": adoption.by,
    }
    told = f"{fields}\n{why}\n\n" if why else f"{fields}\n"
    title = f"Adopt {subjects} of {adoption.app} in {adoption.environment}"
    return f"{title}\n\n{told}" + "".join(f"{name}: {value}\n" for name, value in trailers.items())


def payload(adoption: Adoption, tree: str, at: str) -> bytes:
    """Return the unsigned commit: by the person who asked, committed by Setpoint."""
    email = adoption.by.removeprefix("person:")
    author = f"{email.partition('@')[0]} <{email}>" if adoption.by.startswith("person:") and _EMAIL.fullmatch(email) else pin.IDENTITY
    return pin.commit_payload(tree, adoption.parent, message(adoption), at, author=author)
