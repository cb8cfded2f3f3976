"""Where pods lie in rendered objects: called by every judge of pods (security standards, facts of policies); pure.

In objects of Kubernetes a pod spec is every mapping that holds a list `containers`, in whatever kind and however deep: `spec` of a
Pod, `template.spec` of a PodTemplate, `spec.template.spec` of workloads and Jobs, `spec.jobTemplate.spec.template.spec` of a CronJob. So a
kind that a later version of Kubernetes adds is judged too. In a custom resource it is every such mapping as well, in lists too and whatever
`imagePaths:` of the environment says: where images lie is a person's word, and what a pod may do is looked at without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import kinds
from setpoint.reconcile.model import identity

CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One pod template of a rendered object."""

    object: str
    """`Deployment/web`"""
    kind: str
    path: str
    """`spec.template.spec`"""
    annotations: Mapping[str, Any]
    """Of the template; of the object for a Pod."""
    meta_path: str
    """Where the annotations are: `spec.template.metadata`."""
    spec: Mapping[str, Any]

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield (field path, container) of every container of every sort."""
        for sort in CONTAINERS:
            for index, container in enumerate(items(self.spec, sort)):
                yield f"{self.path}.{sort}[{index}]", container

    def named(self, container: Mapping[str, Any]) -> str:
        """Return what people call a container: `Deployment/web/app`."""
        return f"{self.object}/{container.get('name', '?')}"


def part(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a mapping inside of mappings; empty when it is not there, or is none."""
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def items(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the mappings of a list; empty when it is not there, or is none."""
    found = value.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def pod_specs(objects: Sequence[dict[str, Any]]) -> Iterator[PodSpec]:
    """Yield every pod spec of rendered objects."""
    for value in objects:
        if kinds.is_kubernetes(kinds.group_of(value)):
            yield from _below(value, value, "")
        else:
            yield from _in_custom(value, value, "", {})


def _below(value: dict[str, Any], node: Any, path: str) -> Iterator[PodSpec]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _below(value, item, f"{path}[{index}]")
    elif isinstance(node, dict):
        meta = f"{path}.metadata".removeprefix(".")
        for key, item in node.items():
            inner = f"{path}.{key}".removeprefix(".")
            if isinstance(item, dict) and isinstance(item.get("containers"), list):
                annotations = part(node, "metadata", "annotations")
                yield PodSpec(identity(value), kinds.kind_of(value), inner, annotations, f"{meta}.annotations", item)
            else:
                yield from _below(value, item, inner)


def _in_custom(value: dict[str, Any], node: Any, path: str, parent: Mapping[str, Any]) -> Iterator[PodSpec]:
    """Yield every mapping that holds a list of containers; a list of nothing but names or numbers is none."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _in_custom(value, item, f"{path}[{index}]", {})
    elif isinstance(node, dict):
        listed = node.get("containers")
        if isinstance(listed, list) and (not listed or items(node, "containers")):
            meta = f"{path.rpartition('.')[0]}.metadata.annotations".removeprefix(".")
            yield PodSpec(identity(value), kinds.kind_of(value), path, part(parent, "metadata", "annotations"), meta, node)
        for key, item in node.items():
            yield from _in_custom(value, item, f"{path}.{key}".removeprefix("."), node)
