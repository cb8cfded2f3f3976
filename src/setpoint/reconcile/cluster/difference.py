"""What an apply would change of a live object, field by field, with who wrote the live value; pure.

Called for every object of a Kubernetes target. `examine` asks nobody: what it finds in step is in step, for then an apply declares just the
fields that are ours already, with their values. What it finds otherwise may still be none (a default, a webhook); `compare` is sure, with
the answer of a server-side-apply dry run. Fields that we neither declare nor own are never a difference.

The ownership rules are those of structured-merge-diff v4 (merge/update.go): an apply removes what its manager owned and no longer declares,
unless another manager owns it too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from setpoint.reconcile.changes import FieldChange, joined, shown
from setpoint.reconcile.cluster.fields import FieldSet, Owned, Path, applied_by, everything, keys_of, owners, writer_of
from setpoint.reconcile.cluster.immutable import why_replaced
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object
from setpoint.reconcile.cluster.normalise import body, is_built_in, same, says_nothing
from setpoint.reconcile.cluster.paths import absent, element_of, find, texts, value_element
from setpoint.reconcile.cluster.walk import Leaf, walk

_IN_ATOMIC: Final[dict[tuple[str, str], Any]] = {
    ("fieldRef", "apiVersion"): "v1",
    ("ports", "protocol"): "TCP",
    ("rules", "scope"): "*",
    ("resourceRules", "scope"): "*",
    ("matchConstraints", "matchPolicy"): "Equivalent",
    ("volumeClaimTemplates", "apiVersion"): "v1",
    ("volumeClaimTemplates", "kind"): "PersistentVolumeClaim",
    ("spec", "volumeMode"): "Filesystem",
    ("resourceFieldRef", "divisor"): "0",
    ("serviceAccountToken", "expirationSeconds"): 3600,
    ("onPodConditions", "status"): "True",
    ("endpoints", "conditions"): {},
    ("ports", "name"): "",
    ("matchConstraints", "namespaceSelector"): {},
    ("matchConstraints", "objectSelector"): {},
}
"""(parent, field) -> what the server fills in inside a value that is merged as one."""
_FILLED: Final = frozenset({"strategy", "updateStrategy"})
"""What is declared empty and filled in field by field, each of which somebody may own."""


def compare(live: Object, predicted: Object, manager: str, key: bytes = b"") -> Comparison:
    """Return what differs between a live object and what a dry run of our apply gave; key lets Secret values be compared (`shown`).

    A webhook that changes a field that nobody declares (a time stamp at each write) is among `others`, not a difference.
    """
    live_owners, after_owners = owners(live), owners(predicted)
    before, after = applied_by(live_owners, manager), applied_by(after_owners, manager)
    guide = everything((*live_owners, *after_owners))
    mine: list[Leaf] = []
    others: list[FieldChange] = []
    for leaf in walk(body(live), body(predicted), guide, str(predicted.get("kind", "")), _exactly):
        if after.owns(leaf.path, guide) or before.owns(leaf.path, guide) or _is_order_of(leaf, after):
            # What stays ours and is not to be seen any more says nothing: false, zero, or an empty text.
            silent = leaf.wanted is None and after.has(leaf.path)
            mine.append(replace(leaf, wanted=type(leaf.live)()) if silent else leaf)
        elif not leaf.lone or not any(fields.below(leaf.path[: leaf.lone]) for fields in (after, before)):
            # In something that we add or remove, what the server fills in goes without saying.
            others.append(_change(leaf, key))
    return Comparison(
        differences=_differences(mine, live, live_owners, key),
        claims=tuple(texts(after.difference(before))),
        releases=tuple(texts(_still_there(before.difference(after), live, mine))),
        others=tuple(others),
    )


def examine(live: Object, manifest: Object, manager: str, key: bytes = b"") -> Comparison:
    """Return what differs between a live object and a prepared manifest on the fields that we declare or own, without asking the server."""
    every = owners(live)
    mine, guide = applied_by(every, manager), everything(every)
    theirs = everything(owned for owned in every if owned.writer.manager != manager or owned.writer.operation != "Apply")
    kind = str(manifest.get("kind", ""))
    # A definition holds values of its own kind, which the server keeps as they are written.
    meaning = same if is_built_in(str(manifest.get("apiVersion", ""))) and kind != "CustomResourceDefinition" else _exactly
    kept = []
    for leaf in walk(body(live), body(manifest), guide, kind, meaning):
        if leaf.wanted is None:
            ours = mine.owns(leaf.path, guide) and not theirs.owns(leaf.path, guide)
            if (ours or _is_declared(manifest, guide.whole(leaf.path))) and not _is_default(leaf, mine):
                kept.append(leaf)
        elif not (leaf.live is None and says_nothing(leaf.wanted, leaf.path) and guide.has(leaf.path)):
            # What somebody owns and nobody sees was written and is left out for saying nothing.
            kept.append(leaf)
    claims = list(_unclaimed(body(manifest), mine, guide, ""))
    versions = {owned.api_version for owned in every if owned.writer.manager == manager and owned.writer.operation == "Apply"}
    if versions - {manifest.get("apiVersion")}:
        claims.append("apiVersion")
    differences = _differences(kept, live, every, key)
    releases = tuple(texts(_still_there(absent(mine, dict(manifest)), live, kept)))
    found = {difference.path for difference in differences}
    claims = [claim for claim in claims if not any(path == claim or path.startswith((f"{claim}.", f"{claim}[")) for path in found)]
    return Comparison(differences, tuple(claims), releases, sure=not (differences or claims or releases))


def _exactly(left: Any, right: Any, parent: str, name: str) -> bool:
    del parent, name
    return bool(left == right and isinstance(left, bool) == isinstance(right, bool))


def _is_order_of(leaf: Leaf, mine: FieldSet) -> bool:
    """Say whether a difference is the order of a list of which items are ours."""
    node = mine.below(leaf.path)
    return node is not None and any(element[:2] == "k:" for element in node.children)


def _is_default(leaf: Leaf, mine: FieldSet) -> bool:
    """Say whether a live value in something that is ours as a whole is only what the server filled in."""
    fields = [element[2:] for element in leaf.path if element[:2] == "f:"]
    if mine.has(leaf.path):
        return False
    if not _FILLED.isdisjoint(fields) or ("volumeClaimTemplates" in fields and "status" in fields):
        return True
    # Where what it lies in goes too, it is part of that.
    key = (fields[-2] if len(fields) > 1 else "", fields[-1] if fields else "")
    return not leaf.lone and key in _IN_ATOMIC and bool(_IN_ATOMIC[key] == leaf.live)


def _differences(leaves: Sequence[Leaf], live: Object, every: Sequence[Owned], key: bytes) -> tuple[FieldDifference, ...]:
    said = [leaf for leaf in leaves if not _is_only_its_key(leaf, leaves)]
    return tuple(
        FieldDifference(_change(leaf, key), writer_of(every, leaf.path), why_replaced(live, leaf.path, leaf.wanted)) for leaf in said
    )


def _is_only_its_key(leaf: Leaf, every: Sequence[Leaf]) -> bool:
    """Say whether it is the merge key of an item that came or went, whose other fields are listed: the path has it already."""
    if not leaf.lone or len(leaf.path) < 2 or leaf.path[-1][2:] not in keys_of(leaf.path[-2]):
        return False
    item = leaf.path[:-1]
    keys = keys_of(item[-1])
    return any(one.path[: len(item)] == item and one.path[len(item)][2:] not in keys for one in every if len(one.path) > len(item))


def _change(leaf: Leaf, key: bytes) -> FieldChange:
    return FieldChange(leaf.text, *shown(leaf.live, leaf.wanted, secret=leaf.secret, key=key))


def _still_there(fields: FieldSet, live: Object, differing: Sequence[Leaf]) -> FieldSet:
    """Return the fields that live has and that keep their value: the others are told as differences."""
    changed = [leaf.path for leaf in differing]
    paths = []
    for path in fields.paths():
        value: Any = live
        for element in path:
            value = find(value, element)
        if value is not None and not any(one[: len(path)] == path or path[: len(one)] == one for one in changed):
            paths.append(path)
    return FieldSet.from_paths(paths)


def _is_declared(manifest: Object, path: Path) -> bool:
    """Say whether a manifest has something at a path; at none it has not."""
    if not path:
        return False
    value: Any = dict(manifest)
    for element in path:
        value = find(value, element)
        if value is None:
            return False
    return True


def _unclaimed(wanted: Any, mine: FieldSet | None, guide: FieldSet | None, text: str) -> Iterator[str]:
    """Yield the paths of a manifest that our manager does not own; what all that is owned shows to be one value is one."""
    if mine is None or guide is None:
        yield text
    elif guide.is_leaf or not isinstance(wanted, dict | list) or not wanted:
        if not mine.member:
            yield text
    elif isinstance(wanted, dict):
        for name, item in wanted.items():
            if item is not None:
                element = f"f:{name}"
                yield from _unclaimed(item, mine.children.get(element), guide.children.get(element), joined(text, str(name)))
    else:
        keys = next((tuple(keys_of(element)) for element in guide.children if element[:2] == "k:"), ())
        for position, item in enumerate(wanted):
            element = element_of(item, keys) if keys and isinstance(item, dict) else value_element(item)
            yield from _unclaimed(item, mine.children.get(element), guide.children.get(element), f"{text}[{position}]")
