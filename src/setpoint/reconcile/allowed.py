"""What a render may hold: the environment's outside images and image paths, and the kinds of the application's project.

Made from the accepted files (law 9: the judged cannot widen it), handed to rendering by wiring and `check`.
Hashable, for renders are kept by it; pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import kinds, suggest
from setpoint.core.errors import ConfigError, Finding
from setpoint.promotion.config import EnvironmentFile, SetpointFile
from setpoint.reconcile.model import identity

OUTSIDE: Final = "SP628"
MISPLACED: Final = "SP565"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one application may render in one environment."""

    images: tuple[str, ...] = ()
    """Outside images, by digest."""
    image_paths: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(custom kind, paths of its images and pod specs)"""
    project: str = ""
    kinds: tuple[str, ...] | None = None
    """Kinds of the project; None is every kind."""
    on_host: bool = True
    """Whether the target is the host runtime, which has less to ask for than Kubernetes."""
    namespace: str = ""
    """Of a Kubernetes target; charts are told it."""
    misplaced: str = ""
    """Which bound of the project the target is outside of; empty: none."""
    host: str = ""
    """The host name of every HTTPRoute, in a preview that has one of its own; empty: as the manifests say."""

    def paths_of(self, kind: str) -> tuple[str, ...] | None:
        """Return where a custom kind holds images; None when nobody said it."""
        return dict(self.image_paths).get(kind)


def allowed_in(setpoint: SetpointFile, environment: EnvironmentFile, app: str) -> Allowed:
    """Return what an application may render in an environment, by files that are in force."""
    name, project = setpoint.project_of(app)
    paths = tuple(sorted(environment.imagePaths.items()))
    kinds_of_project, cluster = project.kinds if project is not None else None, environment.target.kubernetes
    namespace = cluster.namespace if cluster is not None else ""
    misplaced = project.why_not(cluster.cluster, namespace) if project is not None and cluster is not None else ""
    return Allowed(tuple(environment.images), paths, name, kinds_of_project, cluster is None, namespace, misplaced)


def refuse_outside(objects: Sequence[dict[str, Any]], allowed: Allowed, sources: Mapping[str, str]) -> None:
    """Refuse objects that the application's project may not have, or not there; sources are `Rendered.sources`.

    Raises:
        ConfigError: every one of them (SP628), or the place (SP565).
    """
    findings = list(_outside(objects, allowed, sources))
    if allowed.misplaced:
        what = f"the project `{allowed.project}` may not run in {allowed.misplaced}"
        fix = "take another project or target; an owner of setpoint.yaml widens `clusters:` or `namespaces:` of the project"
        findings.insert(0, Finding(MISPLACED, what, "setpoint.yaml", fix=fix))
    if findings:
        raise ConfigError(findings)


def _outside(objects: Sequence[dict[str, Any]], allowed: Allowed, sources: Mapping[str, str]) -> Iterator[Finding]:
    if allowed.kinds is None:
        return
    for value in objects:
        kind = kinds.kind_of(value)
        if kind not in allowed.kinds:
            listed = ", ".join(allowed.kinds) or "none"
            what = f"{identity(value)}: the project `{allowed.project}` may not have a {kind}"
            near = suggest.nearest(kind, allowed.kinds)
            hint = f"did you mean `{near}`? " if near and near.casefold() == kind.casefold() else ""
            fix = f"{hint}it may have {listed}; an owner of setpoint.yaml adds {kind} to `projects: {{{allowed.project}: {{kinds: ...}}}}`"
            yield Finding(OUTSIDE, what, sources.get(identity(value), identity(value)), fix=fix)
