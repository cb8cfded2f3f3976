"""The ConfigMaps and Secrets that a pod reads, and a pod that reads others in their place. Pure; called where revisions are made.

Pull secrets are left alone: they are no content of a revision, and a node may need them long after.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from setpoint.reconcile.cluster.model import Object

Name = tuple[str, str]
"""(kind, name)"""
_BY_FIELD: Final[Mapping[str, tuple[str, str]]] = {
    "configMap": ("ConfigMap", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
}
"""Field -> (kind, where it has the name); `secret` is `secretName` in a volume and `name` in a projected one."""
_PLACES: Final = ("volumes", "containers", "initContainers", "ephemeralContainers")


def of(pod: Object) -> set[Name]:
    """Return what a pod spec reads."""
    found: set[Name] = set()

    def note(kind: str, name: str) -> str:
        found.add((kind, name))
        return name

    _walk({place: pod.get(place) for place in _PLACES}, note)
    return found


def renamed(pod: Object, names: Mapping[Name, str]) -> dict[str, Any]:
    """Return a pod spec that reads others in the place of some."""
    changed = _walk({place: pod[place] for place in _PLACES if place in pod}, lambda kind, name: names.get((kind, name), name))
    return {**pod, **changed}


def _walk(value: Any, rename: Callable[[str, str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _reference(str(key), item, rename) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, rename) for item in value]
    return value


def _reference(field: str, item: Any, rename: Callable[[str, str], str]) -> Any:
    for kind, where in _meant(field, item):
        if isinstance(item.get(where), str):
            return {**item, where: rename(kind, item[where])}
    return _walk(item, rename)


def _meant(field: str, item: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(item, Mapping):
        return
    if field == "secret":
        yield "Secret", "secretName" if "secretName" in item else "name"
    elif field in _BY_FIELD:
        yield _BY_FIELD[field]
