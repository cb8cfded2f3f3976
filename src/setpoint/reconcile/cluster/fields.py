"""Sets of fields as server-side apply keeps them (FieldsV1), and who owns what in a live object.

Called by the comparison, the take-over and the ignore rules. A set is a tree; a path is a tuple of the format's own elements: `f:<field>`,
`k:<item by its keys>`, `v:<item by its value>`, `i:<item by its position>`. The format is that of structured-merge-diff v4
(fieldpath/serialize.go): `{}` is a member without children, `.` marks a member that has some.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Self

from setpoint.reconcile.cluster.model import Object, Writer

Path = tuple[str, ...]
SELF: Final = "."
_KINDS: Final = frozenset("fkvi")


@dataclass(frozen=True, slots=True)
class FieldSet:
    """A set of paths, or the part of one below a path."""

    member: bool = False
    """Whether the path that leads here is in the set itself."""
    children: Mapping[str, "FieldSet"] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Return the set of a `fieldsV1`; elements that the format does not know are left out."""
        return cls(False, _children(cls, value))

    @classmethod
    def from_paths(cls, paths: Iterable[Path]) -> Self:
        """Return the set of some paths."""
        tree: dict[str, Any] = {}
        for path in paths:
            node = tree
            for element in path:
                node = node.setdefault(element, {})
            node[SELF] = {}
        return cls(False, _children(cls, tree))

    @property
    def is_leaf(self) -> bool:
        """Whether nothing below is named: the whole value belongs to it, or there is nothing below."""
        return self.member and not self.children

    @property
    def empty(self) -> bool:
        """Whether no path is in it."""
        return not self.member and not self.children

    def at(self, element: str) -> "FieldSet | None":
        """Return the part below an element; a member without children goes on for ever, for its whole value is one."""
        return self if self.is_leaf else self.children.get(element)

    def below(self, path: Path) -> "FieldSet | None":
        """Return the part below a path; None when there is none."""
        node: FieldSet | None = self
        for element in path:
            node = node.children.get(element) if node is not None else None
        return node

    def has(self, path: Path) -> bool:
        """Say whether exactly this path is in the set."""
        node = self.below(path)
        return node is not None and node.member

    def owns(self, path: Path, guide: "FieldSet") -> bool:
        """Say whether the value at a path belongs to the set: the path is a member, or what holds it as one value is.

        What counts as one value is read from the guide, all that anybody owns: a member without children may also be a mapping that its
        owner left empty, and then another's members lie below it.
        """
        return self.has(path) or self.has(guide.whole(path))

    def whole(self, path: Path) -> Path:
        """Return the path of the value that a path is only a part of, for it is owned as one; empty when it stands for itself."""
        node: FieldSet | None = self
        for position, element in enumerate(path[:-1], 1):
            node = node.children.get(element) if node is not None else None
            if node is not None and node.is_leaf:
                return path[:position]
        return ()

    def paths(self, before: Path = ()) -> Iterator[Path]:
        """Yield every path, in the order of the tree."""
        if self.member:
            yield before
        for element, child in self.children.items():
            yield from child.paths((*before, element))

    def union(self, other: "FieldSet") -> "FieldSet":
        """Return what is in either."""
        children = dict(self.children)
        for element, child in other.children.items():
            mine = children.get(element)
            children[element] = child if mine is None else mine.union(child)
        return FieldSet(self.member or other.member, children)

    def difference(self, other: "FieldSet") -> "FieldSet":
        """Return what is in this one and not in the other."""
        children = {}
        for element, child in self.children.items():
            theirs = other.children.get(element)
            left = child if theirs is None else child.difference(theirs)
            if not left.empty:
                children[element] = left
        return FieldSet(self.member and not other.member, children)

    def intersection(self, other: "FieldSet") -> "FieldSet":
        """Return what is in both."""
        children = {}
        for element in self.children.keys() & other.children.keys():
            both = self.children[element].intersection(other.children[element])
            if not both.empty:
                children[element] = both
        return FieldSet(self.member and other.member, children)

    def to_json(self) -> dict[str, Any]:
        """Return the `fieldsV1` of the set."""
        found = {element: child.to_json() for element, child in sorted(self.children.items())}
        return {SELF: {}, **found} if self.member and found else found


def _children(cls: type[FieldSet], value: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for raw, below in value.items():
        if raw == SELF or raw[1:2] != ":" or raw[0] not in _KINDS or not isinstance(below, Mapping):
            continue
        found[_canonical(raw)] = cls(not below or SELF in below, _children(cls, below))
    return found


@lru_cache(maxsize=4096)
def _canonical(element: str) -> str:
    """Return an element with the keys of an item in one order; the server writes them so already."""
    if element[0] != "k":
        return element
    try:
        return "k:" + json.dumps(json.loads(element[2:]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return element


@lru_cache(maxsize=4096)
def keys_of(element: str) -> Mapping[str, Any]:
    """Return the keys of a `k:` element: {"containerPort": 80, "protocol": "TCP"}; empty for any other."""
    if element[:2] != "k:":
        return {}
    try:
        found = json.loads(element[2:])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Owned:
    """What one manager owns of an object."""

    writer: Writer
    api_version: str
    """The version that the paths are those of."""
    fields: FieldSet


def owners(live: Object) -> tuple[Owned, ...]:
    """Return who owns what of a live object, in the server's order; entries of another format are left out."""
    rows = (live.get("metadata") or {}).get("managedFields")
    found = []
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping) or row.get("fieldsType") != "FieldsV1" or not isinstance(row.get("fieldsV1"), Mapping):
            continue
        writer = Writer(
            str(row.get("manager", "")), str(row.get("operation", "")), str(row.get("time") or ""), str(row.get("subresource") or "")
        )
        found.append(Owned(writer, str(row.get("apiVersion", "")), FieldSet.parse(row["fieldsV1"])))
    return tuple(found)


def applied_by(every: Iterable[Owned], manager: str) -> FieldSet:
    """Return what a manager owns by server-side apply."""
    found = FieldSet()
    for owned in every:
        if owned.writer.manager == manager and owned.writer.operation == "Apply" and not owned.writer.subresource:
            found = found.union(owned.fields)
    return found


def everything(every: Iterable[Owned]) -> FieldSet:
    """Return what anybody owns: it tells how lists are merged."""
    found = FieldSet()
    for owned in every:
        found = found.union(owned.fields)
    return found


def writer_of(every: Sequence[Owned], path: Path, guide: FieldSet | None = None) -> Writer | None:
    """Return who owns the value at a path; of several the one that wrote last. The guide is everything that they own."""
    whole = guide if guide is not None else everything(every)
    found = [owned.writer for owned in every if owned.fields.owns(path, whole)]
    return max(found, key=lambda writer: writer.time, default=None)
