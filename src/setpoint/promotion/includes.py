"""`includes:` of an application: the other folders of the delivery repository that its render reads, each pinned like its own.

Called by `promotion.config` for parsing and by the candidates; pure. It stands in `setpoint.yaml`, so only the owners of that file widen
what an application reads (law 9).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

from setpoint.core.documents import Document, InvalidError
from setpoint.core.errors import Finding

if TYPE_CHECKING:
    from setpoint.promotion.config import SetpointFile

BAD: Final = "SP550"
OVERLAP: Final = "SP551"
_PATH: Final = re.compile(r"[\w@+.,=-]+(/[\w@+.,=-]+)*")


def is_folder(text: str) -> bool:
    """Say whether a text is the path of a folder that may be included: below the root, and nothing of the pins."""
    names = text.split("/")
    return bool(_PATH.fullmatch(text)) and not {".", ".."} & set(names) and not text.startswith(".") and names[0] != "pins"


def _folder(text: str) -> str:
    path = text.removesuffix("/")
    if path in {"", "."} or path.split("/")[0] == "pins":
        what = f"`{text}` holds the pins: what is pinned would change with every pin"
        raise InvalidError(what, "name a folder that holds what the render reads, such as charts/web", BAD)
    if not is_folder(path):
        raise InvalidError(f"`{text}` is no folder of the repository", "write it from the root, like charts/web", BAD)
    return path


Folder = Annotated[str, AfterValidator(_folder)]


def include_findings(document: "Document[SetpointFile]") -> Iterator[Finding]:
    """Yield a finding for each include that is read already: an application's own folders, or inside of another include."""
    for name, app in document.model.apps.items():
        for index, path in enumerate(app.includes):
            others = [*app.includes[:index], f"apps/{name}"]
            read = next((other for other in others if _overlap(path, other)), "") or _own(path, name)
            if read:
                what = f"`{path}` and `{read}` overlap, and `{read}` is read already"
                yield document.finding(("apps", name, "includes", index), OVERLAP, what, "keep folders that do not hold each other")


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _own(path: str, app: str) -> str:
    """Return the application's folder in an environment that a path is, holds or lies in; empty: none."""
    parts = path.split("/")
    if parts[0] == "environments" and (len(parts) < 3 or parts[2] == app):
        return f"environments/<env>/{app}"
    return ""
