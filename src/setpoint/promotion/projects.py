"""Projects of `setpoint.yaml`: what the applications of a team may render; and names of kinds as files write them.

Called by `promotion.config` for parsing and by `promotion.delivery` for references; pure.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from setpoint.core import field_paths, kinds, suggest
from setpoint.core.documents import Document, FileModel, InvalidError
from setpoint.core.errors import Finding

if TYPE_CHECKING:
    from setpoint.promotion.config import SetpointFile

_PLACE: Final = re.compile(r"[a-z0-9*]([a-z0-9*-]{0,61}[a-z0-9*])?")
DEFAULT: Final = "default"
"""The project of every application that names none, when there is one of this name."""


def _kind(text: str) -> str:
    if not kinds.is_kind(text):
        near = suggest.nearest(text.partition(".")[0], kinds.KUBERNETES)
        group = text.partition(".")[2]
        hint = f"did you mean `{near}`?" if near and (not group or kinds.is_kubernetes(group)) else "write a custom one with its group"
        raise InvalidError(f"`{text}` is no kind", f"{hint} Deployment, or Rollout.argoproj.io", "SP539")
    return text


def _custom_kind(text: str) -> str:
    if "." not in _kind(text):
        raise InvalidError(f"`{text}` is a kind of Kubernetes", "remove it: where it holds images is known", "SP539")
    return text


def _path(text: str) -> str:
    if not field_paths.is_path(text):
        raise InvalidError(f"`{text}` is no path of a field", "write it like spec.template.spec or spec.steps[].image", "SP539")
    return text


def _place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        raise InvalidError(f"`{text[:80]}` is no name of a cluster or namespace", "write a name, with `*` for any part of it", "SP564")
    return text


PlacePattern = Annotated[str, AfterValidator(_place)]
KindName = Annotated[str, AfterValidator(_kind)]
CustomKind = Annotated[str, AfterValidator(_custom_kind)]
FieldPath = Annotated[str, AfterValidator(_path)]


class ProjectConfig(FileModel):
    """What the applications of a project may render."""

    kinds: Annotated[tuple[KindName, ...], Field(min_length=1)]
    """Every object of their renders is one of these kinds: `Deployment`, or `Rollout.argoproj.io` for a custom resource."""
    clusters: Annotated[tuple[PlacePattern, ...], Field(min_length=1, max_length=50)] | None = None
    """Clusters that they may run in, `*` for any part of a name; None is every one. The host runtime is none."""
    namespaces: Annotated[tuple[PlacePattern, ...], Field(min_length=1, max_length=50)] | None = None
    """Namespaces that they may run in, `*` for any part of a name; None is every one."""

    def why_not(self, cluster: str, namespace: str) -> str:
        """Return why an application of the project may not run in a namespace of a cluster; empty when it may."""
        for what, name, allowed in (("cluster", cluster, self.clusters), ("namespace", namespace, self.namespaces)):
            if allowed is not None and not any(fnmatchcase(name, pattern) for pattern in allowed):
                return f"the {what} `{name}`; it may be in {', '.join(allowed)}"
        return ""


def project_findings(document: "Document[SetpointFile]") -> Iterator[Finding]:
    """Yield a finding for each application whose project does not exist."""
    projects = document.model.projects
    for name, app in document.model.apps.items():
        if app.project is not None and app.project not in projects:
            fix = suggest.help_text(app.project, projects, "projects")
            yield document.finding(("apps", name, "project"), "SP542", f"there is no project `{app.project}`", fix)
