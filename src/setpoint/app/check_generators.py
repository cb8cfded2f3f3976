"""What generators make of a working tree, for `setpoint check`: the same applications that the server would make of its commit.

Called by `app.check`; clusters are the home's, so environments by cluster are told and not expanded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.core.documents import Document, Loc
from setpoint.core.errors import Finding
from setpoint.core.words import counted
from setpoint.promotion.checks.written import scripts_path
from setpoint.promotion.config import AppConfig
from setpoint.promotion.generators import decide, products
from setpoint.promotion.generators.config import GeneratorFile


@dataclass(frozen=True, slots=True)
class Written:
    """An application, and where somebody wrote it, or what makes it."""

    config: AppConfig
    document: Document[Any]
    loc: Loc

    def finding(self, loc: Loc, code: str, what: str, fix: str) -> Finding:
        """Return a finding at a place of the application."""
        return self.document.finding((*self.loc, *loc), code, what, fix, at="value" if loc else "key")


def folders_of(files: Iterable[str]) -> list[str]:
    """Return the folders of a tree that generators may look at."""
    found = set()
    for path in files:
        parts = path.split("/")
        if parts[0] == "apps" and len(parts) > 2:
            found.add("/".join(parts[:2]))
        elif parts[0] == "environments" and len(parts) > 3 and "/".join(parts[:3]) != scripts_path(parts[1]):
            found.add("/".join(parts[:3]))
    return sorted(found)


def made_here(
    generators: Mapping[str, Document[GeneratorFile]], files: Iterable[str], written: Mapping[str, Written], notes: list[str]
) -> dict[str, Written]:
    """Return the applications that generators make of a tree; notes get a sentence for each generator."""
    found: dict[str, Written] = {}
    folders = folders_of(files)
    for name, document in sorted(generators.items()):
        spec = document.model.applications
        if spec is None:
            of = "the home's clusters" if document.model.previews is None else f"branches of {document.model.previews.repository}"
            notes.append(f"{document.path} makes {document.model.makes} of {of}: setpoint generator expand shows them")
            continue
        expanded = decide.expand(name, document, decide.World(folders, taken=dict.fromkeys((*written, *found), "another")))
        after = decide.settle(None, document.model, expanded, decide.Now(name, "", "", ""))
        for element in after.elements:
            found[element.name] = Written(products.application(spec.each, element), document, ("applications", "each"))
        names = ", ".join(one.name for one in after.elements)
        notes.append(f"{document.path} makes {counted(len(after.elements), 'application')}" + (f": {names}" if names else ""))
        notes += [f"{reason.subject}: {reason.found}" for reason in after.reasons]
    return found
