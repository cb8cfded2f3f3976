"""The licences of components, as ids, names and expressions; pure.

Called by `cyclonedx`. Every id that stands anywhere in an expression is among the ids, whatever the expression makes of it: a list of
licences that are not wanted then misses none. Sources: CycloneDX 1.4 to 1.7 `licenses`, SPDX specification 2.3 annex D.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from setpoint.evidence.scans.reading import Place, child, listed, objects, text

_WORDS: Final = re.compile(r"[A-Za-z0-9.:+-]+")
_OPERATORS: Final = frozenset(("AND", "OR", "WITH"))


class Licenses:
    """Collects the licences of component after component."""

    def __init__(self) -> None:
        self.none = 0
        """Components that say nothing."""
        self._ids: set[str] = set()
        self._names: set[str] = set()
        self._expressions: set[str] = set()

    def take(self, component: dict[str, Any], at: Place) -> None:
        """Count one component."""
        some = False
        for choice, here in objects(component, "licenses", at):
            license_ = child(choice, "license", here)
            place = Place(here, "license")
            found = {
                "id": text(license_, "id", place),
                "name": text(license_, "name", place),
                "expression": text(choice, "expression", here),
            }
            some = some or any(found.values())
            self._ids.update(filter(None, (found["id"], *ids_in(found["expression"]))))
            self._names.update(filter(None, (found["name"],)))
            self._expressions.update(filter(None, (found["expression"],)))
        self.none += not some

    def facts(self) -> dict[str, Any]:
        """Return what policies see; a list that is too long, or has a text that is, is left out."""
        found = {"ids": listed(list(self._ids)), "names": listed(list(self._names)), "expressions": listed(list(self._expressions))}
        return {"none": self.none, **{key: names for key, names in found.items() if names is not None}}


def ids_in(expression: str) -> Iterator[str]:
    """Yield the licence ids of an SPDX expression; what stands after WITH is an exception and none."""
    before = ""
    for word in _WORDS.findall(expression):
        if word.upper() not in _OPERATORS and before.upper() != "WITH":
            yield word
        before = word
