"""Fields that are left to somebody else: ignored when a difference is looked for, and when an object is applied. Pure.

Called by the planner of a Kubernetes target with the rules of an application, and with one for every workload that an autoscaler scales. An
ignored field that another manager owns is left out of what is applied; one that is ours alone is applied with the value it has, for leaving
it out would take the value away (structured-merge-diff, merge/update.go, `prune`).
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from setpoint.core import kinds
from setpoint.core.live_paths import leads, steps_of
from setpoint.promotion.ignoring import is_judged
from setpoint.reconcile.cluster.fields import FieldSet, Path, applied_by, everything, owners, writer_of
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, Object, ObjectKey
from setpoint.reconcile.cluster.normalise import body
from setpoint.reconcile.cluster.paths import drop, find, put, text_of
from setpoint.reconcile.cluster.walk import Leaf, walk


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Which fields of which objects are left alone; a field counts when a path or a manager says so."""

    paths: tuple[str, ...] = ()
    """As differences are written, with `*` for any name or item: `spec.template.spec.containers[*].image`. What lies below is meant too.
    A JSON pointer is understood as well, `/spec/replicas`; there an item is named as in the other form."""
    managers: tuple[str, ...] = ()
    """Field managers, with `*`: what one of them wrote last is left alone."""
    group: str = "*"
    kind: str = "*"
    namespace: str = "*"
    name: str = "*"
    why: str = ""
    """What people are told."""
    image_paths: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(custom kind, where it holds images): those are never left to anybody, like all that admission judges."""
    own_kind: bool = False
    """The kind is one of Kubernetes' own, and no custom one of the same name is meant."""

    def is_called(self, name: str) -> bool:
        """Say whether a name is the rule's."""
        return fnmatchcase(name, self.name)

    def concerns(self, key: ObjectKey) -> bool:
        """Say whether the rule is about an object."""
        if self.own_kind and not kinds.is_kubernetes(key.group):
            return False
        pairs = ((key.group, self.group), (key.kind, self.kind), (key.namespace, self.namespace), (key.name, self.name))
        return all(fnmatchcase(text, pattern) for text, pattern in pairs)

    def has_path(self, text: str) -> bool:
        """Say whether a path is ignored by name."""
        steps = steps_of(text)
        return any(leads(steps_of(pattern), steps) for pattern in self.paths)

    def leaves(self, key: ObjectKey, text: str, manager: str | None) -> bool:
        """Say whether a field of an object is left alone: its path or its writer is ignored, and admission does not judge it."""
        if not self.has_path(text) and (manager is None or not self.has_manager(manager)):
            return False
        kind = key.kind if kinds.is_kubernetes(key.group) else f"{key.kind}.{key.group}"
        return not is_judged(kind, steps_of(text), dict(self.image_paths))

    def has_manager(self, manager: str) -> bool:
        """Say whether what a manager writes is ignored."""
        return any(fnmatchcase(manager, pattern) for pattern in self.managers)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A difference that is left alone, and the rule that says so."""

    difference: FieldDifference
    rule: IgnoreRule


def sift(comparison: Comparison, key: ObjectKey, rules: Sequence[IgnoreRule]) -> tuple[Comparison, tuple[Ignored, ...]]:
    """Return a comparison without what is ignored, and what was."""
    mine = [rule for rule in rules if rule.concerns(key)]
    kept, ignored = [], []
    for difference in comparison.differences:
        writer = difference.writer.manager if difference.writer is not None else None
        rule = next((rule for rule in mine if rule.leaves(key, difference.path, writer)), None)
        if rule is None:
            kept.append(difference)
        else:
            ignored.append(Ignored(difference, rule))
    claims, releases = (
        tuple(path for path in paths if not any(rule.leaves(key, path, None) for rule in mine))
        for paths in (comparison.claims, comparison.releases)
    )
    return replace(comparison, differences=tuple(kept), claims=claims, releases=releases), tuple(ignored)


def to_apply(manifest: Object, live: Object | None, manager: str, rules: Sequence[IgnoreRule]) -> dict[str, Any]:
    """Return a prepared manifest as it is applied under some rules; without a live object it is applied as it stands."""
    key = ObjectKey.of(manifest)
    mine = [rule for rule in rules if rule.concerns(key)]
    found: dict[str, Any] = copy.deepcopy(dict(manifest))
    if live is None or not mine:
        return found
    every = owners(live)
    ours = applied_by(every, manager)
    theirs = everything(owned for owned in every if owned.writer.manager != manager or owned.writer.operation != "Apply")
    # All lists and mappings that are one value for the server: a part of one cannot be left out.
    guide = everything(every)
    for leaf in walk({}, body(manifest), guide, str(manifest.get("kind", "")), lambda *_: False):
        if _is_ignored(leaf, mine, key, every):
            _leave(found, live, leaf.path, guide, owned_by_others=theirs.owns(leaf.path, guide) or not ours.owns(leaf.path, guide))
    for leaf in walk(body(live), body(manifest), guide, str(manifest.get("kind", "")), lambda *_: False):
        # Somebody's part of a value that we declare as one: leaving it out would take it away.
        if (
            leaf.wanted is None
            and _is_ignored(leaf, mine, key, every)
            and (root := guide.whole(leaf.path))
            and _at(found, root) is not None
        ):
            put(found, leaf.path, leaf.live)
    for path in ours.paths():
        if any(rule.leaves(key, text_of(path), None) for rule in mine) and not theirs.owns(path, guide) and _at(found, path) is None:
            put(found, path, _at(live, path))
    return found


def _is_ignored(leaf: Leaf, rules: Sequence[IgnoreRule], key: ObjectKey, every: Any) -> bool:
    writer = writer_of(every, leaf.path) if any(rule.managers for rule in rules) else None
    manager = writer.manager if writer is not None else None
    return any(rule.leaves(key, leaf.text, manager) for rule in rules)


def _leave(manifest: dict[str, Any], live: Object, path: Path, guide: FieldSet, *, owned_by_others: bool) -> None:
    """Leave a field to whoever has it: out of the manifest, or with the value that it has."""
    if guide.whole(path) or not owned_by_others:
        put(manifest, path, _at(live, path))
    else:
        drop(manifest, path)


def _at(value: Object, path: Path) -> Any:
    found: Any = dict(value)
    for element in path:
        found = find(found, element)
    return found


def reasons(ignored: Sequence[Ignored]) -> Iterator[str]:
    """Yield a sentence for every difference that is left alone."""
    for one in ignored:
        why = one.rule.why or "a rule leaves it alone"
        writer = f" (writer {one.difference.writer})" if one.difference.writer is not None else ""
        yield f"{one.difference.path} is {one.difference.change.before}, not {one.difference.change.after}{writer}: {why}"
