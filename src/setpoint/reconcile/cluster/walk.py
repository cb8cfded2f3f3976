"""Goes through two versions of an object side by side and yields every plain value that differs, with its path in the server's own terms.

Called by the comparison. How a list is merged is read from the sets of fields that managers own in it: items by keys (`k:`), by value
(`v:`), or the list as one value. Where nobody owns anything of a list, its items are told apart by name or position.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from setpoint.reconcile.changes import is_reference, is_secret, is_secret_item, joined, labelled
from setpoint.reconcile.cluster.fields import FieldSet, Path, keys_of
from setpoint.reconcile.cluster.paths import element_of, label_of, value_element

Same = Callable[[Any, Any, str, str], bool]
"""(live, wanted, parent field, field) -> whether two plain values mean the same"""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A plain value that differs; None is left out."""

    path: Path
    text: str
    """The path as people read it."""
    live: Any
    wanted: Any
    secret: bool
    lone: int
    """How long the path is to what it lies in that is on one side only, an item or a mapping; 0 when both sides have it."""


@dataclass(slots=True)
class _Place:
    """Where the walk is."""

    path: Path
    text: str
    guide: FieldSet | None
    """What managers own here."""
    secret: bool = False
    lone: int = 0

    def field(self, kind: str, name: str) -> "_Place":
        element = f"f:{name}"
        secret = self.secret or is_secret(kind, self.text, name)
        guide = self.guide.at(element) if self.guide is not None else None
        return _Place((*self.path, element), joined(self.text, name), guide, secret, self.lone)

    def item(self, element: str, label: str) -> "_Place":
        guide = self.guide.at(element) if self.guide is not None else None
        secret = self.secret or is_secret_item(self.text, label)
        return _Place((*self.path, element), f"{self.text}[{label}]", guide, secret, self.lone)


def walk(live: dict[str, Any], wanted: dict[str, Any], guide: FieldSet, kind: str, same: Same) -> Iterator[Leaf]:
    """Yield what differs between two versions of an object of a kind; an order of items that differs is a difference of the list."""
    return _Walk(kind, same).mapping(live, wanted, _Place((), "", guide))


class _Walk:
    def __init__(self, kind: str, same: Same) -> None:
        self._kind = kind
        self._same = same

    def mapping(self, live: dict[str, Any], wanted: dict[str, Any], place: _Place) -> Iterator[Leaf]:
        for name in (*wanted, *(name for name in live if name not in wanted)):
            yield from self._value(live.get(name), wanted.get(name), place.field(self._kind, str(name)))

    def _value(self, live: Any, wanted: Any, place: _Place) -> Iterator[Leaf]:
        if live is None and wanted is None:
            return
        sides = [side for side in (live, wanted) if side is not None]
        if all(isinstance(side, dict) for side in sides) and any(sides):
            if len(sides) == 1:
                place.lone = place.lone or len(place.path)
            yield from self.mapping(live or {}, wanted or {}, place)
        elif all(isinstance(side, list) for side in sides) and any(sides):
            yield from self._list(live, wanted, place)
        elif live is None or wanted is None or not self._same(live, wanted, *_last_two(place.path)):
            yield self._leaf(live, wanted, place)

    def _list(self, live: Any, wanted: Any, place: _Place) -> Iterator[Leaf]:
        left, right = live or [], wanted or []
        elements = place.guide.children if place.guide is not None else {}
        if any(element[:2] == "v:" for element in elements):
            yield from self._set(left, right, place)
        elif not all(isinstance(item, dict) for item in (*left, *right)):
            if left != right:
                yield self._leaf(live, wanted, place)
        else:
            pairs, reordered = _pairs(left, right, elements, place)
            for element, label, one, other in pairs:
                here = place.item(element, label)
                if one is None or other is None:
                    here.lone = here.lone or len(here.path)
                if not one and not other and one is not other:
                    # An empty item says something by being there: a rule that allows everything.
                    yield self._leaf(one, other, here)
                yield from self.mapping(one or {}, other or {}, here)
            if reordered is not None:
                yield Leaf(place.path, place.text, *reordered, secret=False, lone=0)

    def _set(self, left: list[Any], right: list[Any], place: _Place) -> Iterator[Leaf]:
        for item in (*right, *(item for item in left if item not in right)):
            here = place.item(value_element(item), str(item))
            if item not in left:
                yield self._leaf(None, item, here)
            elif item not in right:
                yield self._leaf(item, None, here)

    def _leaf(self, live: Any, wanted: Any, place: _Place) -> Leaf:
        secret = place.secret and not is_reference(self._kind, place.text)
        return Leaf(place.path, place.text, live, wanted, secret, place.lone)


def _last_two(path: Path) -> tuple[str, str]:
    parent = path[-2] if len(path) > 1 else ""
    return parent.partition(":")[2], path[-1].partition(":")[2]


Pair = tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]


def _pairs(left: list[Any], right: list[Any], elements: Any, place: _Place) -> tuple[list[Pair], tuple[str, str] | None]:
    """Return (element, label, live item, wanted item), and both orders where those of the common items differ."""
    keys = next((keys_of(element) for element in elements if element[:2] == "k:"), {})
    name = place.path[-1].partition(":")[2] if place.path else ""
    one, other = (_by_key(items, tuple(keys), name) for items in (left, right))
    if keys and (one is None or other is None):
        keys, one, other = {}, *(dict(_by_position(items)) for items in (left, right))
    elif one is None or other is None or (not keys and one and other and one.keys().isdisjoint(other)):
        one, other = (dict(_by_position(items)) for items in (left, right))
    pairs = []
    positions = {label: position for position, label in enumerate(dict.fromkeys([*other, *one]))}
    for label, position in positions.items():
        item = other.get(label) or one.get(label) or {}
        element = element_of(item, tuple(keys)) if keys else f"i:{position}"
        pairs.append((element, label, one.get(label), other.get(label)))
    before, after = ([label for label in side if label in against] for side, against in ((one, other), (other, one)))
    return pairs, (", ".join(before), ", ".join(after)) if before != after else None


def _by_key(items: list[dict[str, Any]], keys: tuple[str, ...], name: str) -> dict[str, dict[str, Any]] | None:
    """Return items by what tells them apart; None when that does not."""
    found = {label_of(item, keys): item for item in items} if keys else dict(labelled(name, items))
    return found if len(found) == len(items) else None


def _by_position(items: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((str(position), item) for position, item in enumerate(items))
