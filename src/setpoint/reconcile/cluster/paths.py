"""Paths of server-side apply in a manifest: what an element leads to, how an item is named, and how a path is written for people. Pure.

Called by the comparison and the ignore rules.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.reconcile.changes import joined
from setpoint.reconcile.cluster.fields import FieldSet, Path, keys_of

KEY_DEFAULTS: Final = {"protocol": "TCP"}
"""What the server fills in where the key of an item is left out (Kubernetes API, `ports`)."""


def label_of(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return what people read of an item's keys: `80`, `53/UDP`; a default is not said."""
    values = [(key, item.get(key, KEY_DEFAULTS.get(key))) for key in keys]
    said = [str(value) for key, value in values if value is not None and value != KEY_DEFAULTS.get(key)]
    return "/".join(said)


def element_of(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return the `k:` element of an item."""
    values = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in sorted(keys)}
    found = {key: value for key, value in values.items() if value is not None}
    return "k:" + json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def value_element(item: Any) -> str:
    """Return the `v:` element of an item of a set."""
    return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)


def find(value: Any, element: str) -> Any:
    """Return what an element leads to in a manifest; None when there is nothing."""
    kind, _, name = element.partition(":")
    if isinstance(value, dict):
        return value.get(name) if kind == "f" else None
    if not isinstance(value, list):
        return None
    if kind == "k":
        keys = keys_of(element)
        return next((item for item in value if isinstance(item, dict) and _has_keys(item, keys)), None)
    try:
        wanted = json.loads(name)
    except ValueError:
        return None
    if kind == "v":
        return wanted if wanted in value else None
    return value[wanted] if isinstance(wanted, int) and 0 <= wanted < len(value) else None


def texts(fields: FieldSet) -> Iterator[str]:
    """Yield the paths of a set as people read them."""
    for path in fields.paths():
        yield text_of(path)


def text_of(path: Path) -> str:
    """Return a path as people read it: `spec.template.spec.containers[web].ports[53/UDP]`."""
    text = ""
    for element in path:
        keys = keys_of(element)
        label = label_of(keys, tuple(keys)) if keys else element[2:].strip('"')
        text = joined(text, element[2:]) if element[:2] == "f:" else f"{text}[{label}]"
    return text


def _has_keys(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    return all(item.get(name, KEY_DEFAULTS.get(name)) == value for name, value in keys.items())


def absent(fields: FieldSet, value: Any) -> FieldSet:
    """Return the part of a set that leads to nothing in a value."""
    children = {}
    for element, child in fields.children.items():
        below = find(value, element)
        left = child if below is None else absent(child, below)
        if not left.empty:
            children[element] = left
    return FieldSet(False, children)


def put(value: dict[str, Any], path: Path, new: Any) -> None:
    """Set what a path leads to, making what leads there; None takes it away."""
    if new is None:
        drop(value, path)
        return
    node: Any = value
    for position, element in enumerate(path):
        last = position == len(path) - 1
        below = find(node, element)
        if isinstance(node, dict) and element[:2] == "f:":
            if last:
                node[element[2:]] = new
            elif below is None:
                node[element[2:]] = [] if path[position + 1][:2] != "f:" else {}
            node = node[element[2:]]
        elif isinstance(node, list):
            if below is None or (last and element[:2] != "i:"):
                node.append(new if last else dict(keys_of(element)))
                below = node[-1]
            elif last:
                node[int(element[2:])] = new
            node = below
        else:
            return


def drop(value: dict[str, Any], path: Path) -> None:
    """Take away what a path leads to; the keys of an item stay, for they say which item it is."""
    node: Any = value
    for element in path[:-1]:
        node = find(node, element)
    name = path[-1][2:]
    if isinstance(node, dict) and path[-1][:2] == "f:" and not (len(path) > 1 and name in keys_of(path[-2])):
        node.pop(name, None)
    elif isinstance(node, list):
        item = find(node, path[-1])
        if item is not None:
            node.remove(item)
