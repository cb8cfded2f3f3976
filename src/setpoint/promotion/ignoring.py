"""`drift: {ignore: [...]}` of an environment.yaml: which fields of live objects are left to somebody else.

Part of `promotion.config`, so a rule takes effect when the environment's owners say so (law 9); read by reconcile. What admission judges
cannot be left to anybody: a field that holds an image, or what a pod may do, is refused here and never ignored there (law 2).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from setpoint.core import live_paths
from setpoint.core.documents import Document, FileModel, InvalidError
from setpoint.core.errors import Finding
from setpoint.promotion.projects import KindName

if TYPE_CHECKING:
    from setpoint.promotion.config import EnvironmentFile

_PODS: Final = (
    ("spec",),
    ("template", "spec"),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
)
"""Where kinds of Kubernetes hold pods: Pod, PodTemplate, workloads, CronJob."""
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_OF_A_CONTAINER: Final = (("image",), ("securityContext",), ("ports", "*", "hostPort"))
_OF_A_POD: Final = (
    *((name,) for name in ("securityContext", "hostNetwork", "hostPID", "hostIPC", "hostUsers", "os", "volumes")),
    *((name, "*", *rest) for name in _CONTAINERS for rest in _OF_A_CONTAINER),
)
_IDENTITY: Final = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "labels", "setpoint.dev/*"),
    ("metadata", "annotations", "setpoint.dev/*"),
)
"""What says which object it is, and whose."""
_WITHOUT_PODS: Final = frozenset({"ConfigMap", "Secret"})
_PROFILES: Final = "container.apparmor.security.beta.kubernetes.io/*"
"""Annotations of a pod that Pod Security Standards judge."""


def _path(text: str) -> str:
    if not live_paths.is_path(text):
        fix = "write it like .spec.replicas, .spec.template.spec.containers[name=web].resources, or /spec/replicas"
        raise InvalidError(f"`{text}` is no path of a field", fix, "SP556")
    return text


def _pattern(text: str) -> str:
    if not text.strip() or len(text) > 253 or any(letter.isspace() for letter in text):
        raise InvalidError(f"`{text}` is no name", "write a name, with `*` for any part of it", "SP556")
    return text


Path = Annotated[str, AfterValidator(_path)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class IgnoreConfig(FileModel):
    """Fields that are left alone: those that a path names, and those that a manager wrote."""

    app: Pattern | None = None
    """Of these applications only; left out: of all in the environment."""
    kind: KindName | None = None
    """Of this kind only: `Deployment`, or `Rollout.argoproj.io`."""
    name: Pattern | None = None
    """Of objects of this name only; `*` stands for any part of it."""
    paths: Annotated[tuple[Path, ...], Field(max_length=50)] = ()
    """`.spec.template.spec.containers[name=web].resources`, or `/spec/replicas`; what lies below is meant too, `*` is any name."""
    managers: Annotated[tuple[Pattern, ...], Field(max_length=50)] = ()
    """Field managers, as `setpoint drift` names writers: what one of them wrote last is theirs."""
    why: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    """What people are told."""


@lru_cache(maxsize=512)
def judged(kind: str, image_paths: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[tuple[str, ...], ...]:
    """Return the patterns of the fields of a kind that are never ignored; `*` for a kind that may be any.

    image_paths are the environment's: (custom kind, paths of images and pod specs).
    """
    found: list[tuple[str, ...]] = [*_IDENTITY]
    if kind in _WITHOUT_PODS:
        return tuple(found)
    for root in _PODS:
        found += [(*root, *rest) for rest in _OF_A_POD]
        if root[:-1]:
            found.append((*root[:-1], "metadata", "annotations", _PROFILES))
    found.append(("metadata", "annotations", _PROFILES))
    for custom, paths in image_paths:
        if kind in ("*", custom):
            found += [live_paths.steps_of(path.replace("[]", "[*]")) for path in paths]
    return tuple(found)


def is_judged(kind: str, steps: tuple[str, ...], image_paths: Mapping[str, Sequence[str]]) -> bool:
    """Say whether a field of an object is judged on its way in: it is never ignored, whatever a rule says.

    In a custom kind a pod may lie anywhere, so what looks like one counts.
    """
    if any(live_paths.meet(pattern, steps) for pattern in judged(kind, tuple((name, tuple(found)) for name, found in image_paths.items()))):
        return True
    shapes = ((steps[place + 2 :], step) for place, step in enumerate(steps)) if kind == "*" or "." in kind else ()
    return any(step in _CONTAINERS and any(live_paths.meet(rest, below) for rest in _OF_A_CONTAINER) for below, step in shapes)


def ignore_findings(document: "Document[EnvironmentFile]") -> Iterator[Finding]:
    """Yield a finding for each rule that says nothing, that is about a field which admission judges, or that has nothing to be about."""
    model = document.model
    for index, rule in enumerate(model.drift.ignore):
        place = ("drift", "ignore", index)
        if model.target.host is not None:
            what, fix = "nobody else writes fields of objects on this machine", "remove `ignore`: its rules are for Kubernetes targets"
            yield document.finding(("drift", "ignore"), "SP557", what, fix, at="key")
            return
        if not rule.paths and not rule.managers:
            yield document.finding(place, "SP558", "the rule names no field", "add `paths:` or `managers:`")
        for number, path in enumerate(rule.paths):
            found = _fault(rule, path, model.imagePaths)
            if found:
                yield document.finding((*place, "paths", number), "SP559", *found)


def _fault(rule: IgnoreConfig, path: str, image_paths: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return what is wrong with a path and what to do, when it means a field that admission judges, or something around one."""
    kind, steps = rule.kind or "*", live_paths.steps_of(path)
    if not is_judged(kind, steps, image_paths):
        return None
    every = judged(kind, tuple((name, tuple(found)) for name, found in image_paths.items()))
    hidden = next((one for one in every if live_paths.meet(one, steps)), steps)
    what = f"`{path}` would leave `{'.'.join(hidden)}` to somebody else, and that is judged before anything gets in"
    fix = "name fields beside it" if len(hidden) <= len(steps) else "name the fields below it that are meant"
    return what, fix if rule.kind else f"{fix}, and the `kind:`"
