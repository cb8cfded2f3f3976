"""One value put into a YAML file that does not have it yet, as a line of its own below its neighbours. Pure.

Called by the search, for a patch that has another field of the object, a values file that leaves a value out, or the list of patches of a
kustomization. The text around it stays letter for letter, as with `splice`.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from setpoint.reconcile.adopt import splice
from setpoint.reconcile.cluster.fields import Path, keys_of


def inserted(text: str, document: int, path: Path, value: Any) -> str | None:
    """Return a file's text with a value at a path of `f:` and `k:` elements; None when something is there, or it cannot be put in.

    A text that is no YAML has no place for one.
    """
    if not path or any(element[:2] not in ("f:", "k:") for element in path):
        return None
    try:
        roots = splice.documents(text)
    except ValueError:
        return None
    node = roots[document] if document < len(roots) else None
    if node is None:
        return None
    depth = 0
    while depth < len(path):
        below = _below(node, path[depth])
        if below is None:
            break
        node, depth = below, depth + 1
    if depth == len(path):
        return None
    found = _put(text, node, path[depth:], value)
    if found is None:
        return None
    return found if _reads(text, found, document) else None


def _reads(before: str, after: str, document: int) -> bool:
    """Say whether the result is YAML with as many documents, and all but one as they were."""
    try:
        one, other = splice.values(before), splice.values(after)
    except ValueError:
        return False
    return len(one) == len(other) and all(splice.same(a, b) for n, (a, b) in enumerate(zip(one, other, strict=True)) if n != document)


def _below(node: yaml.Node, element: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode) and element[:2] == "f:":
        return next((value for key, value in node.value if key.value == element[2:]), None)
    if isinstance(node, yaml.SequenceNode) and element[:2] == "k:":
        wanted = {name: value for name, value in keys_of(element).items() if (name, value) != ("protocol", "TCP")}
        return next((item for item in node.value if isinstance(item, yaml.MappingNode) and _has(item, wanted)), None)
    return None


def _has(node: yaml.MappingNode, wanted: dict[str, Any]) -> bool:
    held = {key.value: str(value.value) for key, value in node.value if isinstance(value, yaml.ScalarNode)}
    return all(held.get(name) == str(value) for name, value in wanted.items())


def nested(path: Sequence[str], value: Any) -> Any:
    """Return a value inside of what a path leads through: mappings by name, lists with one item that has its keys."""
    if not path:
        return value
    below = nested(path[1:], value)
    if path[0][:2] == "f:":
        return {path[0][2:]: below}
    return [{**keys_of(path[0]), **(below if isinstance(below, dict) else {})}]


def _put(text: str, node: yaml.Node, rest: Sequence[str], value: Any) -> str | None:
    new = nested(rest, value)
    if isinstance(node, yaml.MappingNode) and isinstance(new, dict):
        return _into(text, node, new, "")
    if isinstance(node, yaml.SequenceNode) and isinstance(new, list):
        return _into(text, node, new[0], "- ")
    return None


def _into(text: str, node: yaml.MappingNode | yaml.SequenceNode, new: dict[str, Any], dash: str) -> str | None:
    """Put an entry at the end of a mapping, or an item (with a dash) at the end of a list."""
    if node.flow_style:
        if node.start_mark.line != node.end_mark.line:
            return None
        entry = splice.flow(new) if dash else splice.flow(new)[1:-1]
        at = node.end_mark.index - 1
        return text[:at] + (", " if node.value else "") + entry + text[at:]
    if not node.value:
        return None
    at = _line_end(text, _last(node))
    lines = "".join(f"{line}\n" for line in _lines(new, " " * node.start_mark.column, dash))
    start = "" if at == 0 or text[at - 1] == "\n" else "\n"
    return text[:at] + start + lines + text[at:]


def _last(node: yaml.Node) -> int:
    """Return where the last plain value of a node ends."""
    while isinstance(node, yaml.MappingNode | yaml.SequenceNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    """Return the beginning of the next line, after a comment behind the value."""
    if at and text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _lines(new: dict[str, Any], indent: str, dash: str) -> list[str]:
    """Return the lines of a mapping; the first one may begin with a dash."""
    found: list[str] = []
    for key, value in new.items():
        lead = indent + (dash if not found else " " * len(dash))
        name = splice.flow(str(key))
        if isinstance(value, dict) and value:
            found += [f"{lead}{name}:", *_lines(value, indent + " " * len(dash) + "  ", "")]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            found.append(f"{lead}{name}:")
            for item in value:
                found += _lines(item, indent + " " * len(dash) + "  ", "- ")
        else:
            found.append(f"{lead}{name}: {splice.flow(value)}")
    return found
