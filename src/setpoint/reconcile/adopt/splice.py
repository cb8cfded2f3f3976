"""One value of a YAML file changed in its place: everything else, comments, order, anchors and quotes, stays letter for letter. Pure.

Called by the search for the place of a live value. A file is never written anew from what was read: the text between two marks of the
parser is replaced, or a line is put in, and the result is read again and compared, so a splice that would mean more is no splice.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from setpoint.core import yaml_nodes
from setpoint.reconcile.manifests import plain_scalar

Step = str | int
_UNPLAIN: Final = re.compile(r": |\s#|^[-?:](?:\s|$)|[,\[\]{}]|\s$")
_LARGEST: Final = 1 << 20
"""Characters of a file, and values in it."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain value in a file, and where its text is."""

    document: int
    path: tuple[Step, ...]
    """Keys, and positions of items."""
    start: int
    end: int
    """Characters of the file's text."""
    style: str
    """`'`, `"`, or empty for a value without quotes."""
    value: Any
    """As Kubernetes reads it."""
    line: int
    """From 1."""

    @property
    def key(self) -> str:
        """The name that it stands under; that of its list for an item."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")


def documents(text: str) -> list[yaml.Node | None]:
    """Return the nodes of every document.

    Raises:
        ValueError: it is no YAML, or too large.
    """
    if len(text) > _LARGEST:
        raise ValueError("too large")
    try:
        return list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("no YAML") from error


def scalars(text: str) -> list[Scalar]:
    """Return the values of a file that stand on one line; what an alias repeats is told once, where it is written.

    Raises:
        ValueError: it is no YAML.
    """
    found: list[Scalar] = []
    seen: set[int] = set()
    for number, root in enumerate(documents(text)):
        if root is not None:
            found += _scalars(root, number, (), seen)
    return found


def _scalars(node: yaml.Node, document: int, path: tuple[Step, ...], seen: set[int]) -> Iterator[Scalar]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield from _scalars(value, document, (*path, str(key.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _scalars(item, document, (*path, position), seen)
    elif (
        isinstance(node, yaml.ScalarNode)
        and node.style not in ("|", ">")
        and node.start_mark.line == node.end_mark.line
        and node.end_mark.index > node.start_mark.index
    ):
        line = node.start_mark.line + 1
        yield Scalar(document, path, node.start_mark.index, node.end_mark.index, node.style or "", _plain(node), line)


class _Reader:
    """Turns nodes into what they hold, bounded over all documents of a file: an alias counts each time, and may lead to itself."""

    def __init__(self) -> None:
        self._nodes = 0

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self._nodes += 1
        if self._nodes > _LARGEST or depth > yaml_nodes.MAX_DEPTH:
            raise ValueError("too many values or levels, counted with aliases expanded")
        if isinstance(node, yaml.MappingNode):
            if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
                raise ValueError("a key must be text")
            return {str(key.value): self.value(value, depth + 1) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return _plain(node)


def _plain(node: yaml.Node) -> Any:
    """Return what a scalar holds, as Kubernetes reads it; a tag of the file's own makes it text."""
    if not isinstance(node, yaml.ScalarNode) or node.style:
        return node.value
    try:
        return plain_scalar(str(node.value))
    except ValueError:
        return node.value


def values(text: str) -> list[Any]:
    """Return what the documents of a file hold; merge keys stay as they are written.

    Raises:
        ValueError: it is no YAML, or holds more than a file of the largest size could without aliases.
    """
    reader = _Reader()
    return [None if root is None else reader.value(root) for root in documents(text)]


def replaced(text: str, place: Scalar, value: Any) -> Iterator[str]:
    """Yield the file's text with another value in a place, in the quotes that are there first; none when that would change more.

    A number for text in quotes is tried in them, for a template may want text, and then without.
    """
    try:
        before = values(text)
    except ValueError:
        return
    for written in _written(value, place.style):
        found = text[: place.start] + written + text[place.end :]
        try:
            after = values(found)
        except ValueError:
            continue
        meant = str(value) if not isinstance(value, str) and written[:1] in "'\"" else value
        if isinstance(value, bool) and written[:1] in "'\"":
            meant = json.dumps(value)
        if _only(before, after, place, meant):
            yield found


def _only(before: list[Any], after: list[Any], place: Scalar, value: Any) -> bool:
    """Say whether two readings differ in exactly one place, which has a value now."""
    if len(before) != len(after) or any(
        one != other for n, (one, other) in enumerate(zip(before, after, strict=True)) if n != place.document
    ):
        return False
    return same(_with(before[place.document], place.path, value), after[place.document])


def same(left: Any, right: Any) -> bool:
    """Say whether two values are equal, and of one type: 1 is not true, and not 1.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def _with(value: Any, path: Sequence[Step], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {key: _with(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [_with(item, path[1:], new) if position == path[0] else item for position, item in enumerate(value)]


def _written(value: Any, style: str) -> list[str]:
    """Return how a value may be written, the best first."""
    if isinstance(value, str):
        double = json.dumps(value, ensure_ascii=False)
        single = "'" + value.replace("'", "''") + "'"
        simple = value.isprintable() and bool(value)
        if style == "'":
            return [single, double] if simple else [double]
        return [double] if style == '"' or not _may_be_plain(value) else [value, double]
    if isinstance(value, bool | int | float):
        number = json.dumps(value)
        return [f"{style}{number}{style}", number] if style else [number]
    return []


def _may_be_plain(value: str) -> bool:
    """Say whether a text needs no quotes anywhere, not even in a flow."""
    if not value.isprintable() or not value or value != value.strip() or _UNPLAIN.search(value) or value[0] in "!&*?|>'\"%@`#-:~=<":
        return False
    try:
        return plain_scalar(value) == value and not re.fullmatch(r"(?i)y|n|yes|no|on|off|true|false|null", value)
    except ValueError:
        return False


def flow(value: Any) -> str:
    """Return a value on one line, as both YAML and JSON read it; simple text has no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return value if isinstance(value, str) and _may_be_plain(value) else json.dumps(value, ensure_ascii=False)
