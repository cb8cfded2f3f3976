"""What an application should be in a namespace of a cluster: its rendered objects, placed, with the images that the nodes can pull. Pure.

Called by the target; what cannot be placed is an error that names every such object.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile.cluster.hooks import Phase
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.cluster.order import Order

REFUSED = "SP695"


def placed(objects: Sequence[Object], namespace: str, is_namespaced: Callable[[str, str], bool]) -> tuple[dict[str, Any], ...]:
    """Return prepared manifests in the target's namespace.

    Raises:
        ConfigError: an object that lies in no namespace, or in another one (SP695).
        Whatever `is_namespaced` raises.
    """
    found, findings = [], []
    for value in objects:
        manifest, subject = prepare(value), ObjectKey.of(value).subject
        meta = manifest["metadata"]
        if not is_namespaced(str(manifest.get("apiVersion", "")), str(manifest.get("kind", ""))):
            fix = "have it applied by who owns the cluster, and leave it out here"
            findings.append(Finding(REFUSED, f"{subject} belongs to the whole cluster, and this target is one namespace", subject, fix=fix))
        elif meta.get("namespace") not in (None, "", namespace):
            fix = "leave `metadata.namespace` out; another namespace is another environment"
            findings.append(
                Finding(REFUSED, f"{subject} wants to be in `{meta['namespace']}`, the target is `{namespace}`", subject, fix=fix)
            )
        meta["namespace"] = namespace
        found.append(manifest)
    if findings:
        raise ConfigError(findings)
    return tuple(found)


def relocated(value: Any, references: Mapping[str, str]) -> Any:
    """Return an object in which every text that is exactly a reference of ours is the one that the nodes pull by."""
    if isinstance(value, Mapping):
        return {key: relocated(item, references) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [relocated(item, references) for item in value]
    return references.get(value, value) if isinstance(value, str) else value


def waves(order: Order) -> dict[ObjectKey, int]:
    """Return the wave that every object is applied in."""
    return {key: step.wave for step in order.of(Phase.SYNC) for key in step.keys}
