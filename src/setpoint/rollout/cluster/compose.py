"""What the objects of an application are in each phase of its rollout: pure, so that any pass of any server makes the same of them.

Called by the cluster's rollout. The routes name the Service of each revision with its weight; the Service that people wrote leads to the
pods of the revision that is fully rolled out, and to nothing else, until the next one has taken over. What is no revision stays as the
stable pin has it until then, but for Jobs and for what only the new pin has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.revisions import Apart, Ordinals, Revision, is_backend, is_route, named, narrowed
from setpoint.reconcile.health.model import number, part, rows, text
from setpoint.rollout.canary.decide import needed, next_weight
from setpoint.rollout.model import WHOLE, Phase, Rollout

_LARGEST: Final = 1_000_000
"""Weight of a backend in the Gateway API (HTTPBackendRef)."""
_OF_PODS: Final = frozenset({"CronJob", "DaemonSet", "Deployment", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"})
_AT_ONCE: Final = frozenset({"Job"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides of a rollout as they were rendered."""

    new: Apart
    stable: Apart | None
    """None: nothing was ever rolled out in revisions."""

    @property
    def by_replicas(self) -> bool:
        """Whether the number of replicas splits the traffic, for no route does."""
        return self.stable is not None and not self.stable.routed

    def changed(self) -> list[Revision]:
        """Return the new revisions that are not the stable ones."""
        before = self.stable.hashes if self.stable is not None else {}
        return [one for name, one in self.new.revisions.items() if before.get(name) != one.hash]

    def changed_ordinals(self) -> list[Ordinals]:
        """Return the StatefulSets that are updated pod by pod: those that were there, and are another now."""
        before = self.stable.hashes if self.stable is not None else {}
        return [one for one in self.new.ordinals if before.get(one.name, one.hash) != one.hash]

    def can_split(self) -> bool:
        """Say whether something leads to a stable revision and to another new one."""
        stable = self.stable
        if stable is None or stable.routed != self.new.routed:
            return False
        for service in stable.services.keys() & self.new.services.keys():
            before, after = stable.of_service(service), self.new.of_service(service)
            if before is not None and after is not None and before.hash != after.hash and before.replicas and after.replicas:
                return True
        return any(one.replicas for one in self.changed_ordinals())


def compose(rollout: Rollout, pair: Pair) -> list[Object]:
    """Return every object of the application in this phase."""
    new, stable = pair.new, pair.stable
    if rollout.phase in (Phase.FINISHING, Phase.FINISHED):
        return whole(new)
    if stable is None:
        return _each([*new.rest, *_all(new), *new.fronts])
    fresh = [one for one in new.fronts if not is_route(one)]
    if rollout.phase is Phase.ROLLING:
        return _each([*_fronts(stable, _only(stable)), *_all(new), *_all(stable), *new.rest, *_narrow(fresh, new)])
    rest = [*(one for one in new.rest if _kind(one) in _AT_ONCE), *stable.rest, *(one for one in new.rest if _kind(one) not in _OF_PODS)]
    if not rollout.is_split:
        return _each([*_fronts(stable, _only(stable)), *_all(stable), *rest, *_narrow(fresh, new)])
    weight = next_weight(rollout)
    stepped = [one.updated(needed(one.replicas, weight)) for one in pair.changed_ordinals()]
    return _each([*_split_fronts(rollout, pair), *_split_revisions(rollout, pair), *stepped, *rest, *_narrow(fresh, new)])


def whole(side: Apart) -> list[Object]:
    """Return every object of a render that is rolled out and alone."""
    return _each([*side.rest, *_all(side), *_fronts(side, _only(side))])


def of_stable(rollout: Rollout, pair: Pair) -> frozenset[ObjectKey]:
    """Return the keys of what is there in the name of the stable pin."""
    new, stable = pair.new, pair.stable
    if stable is None or rollout.phase in (Phase.FINISHING, Phase.FINISHED):
        return frozenset()
    theirs = {ObjectKey.of(one) for one in (*_all(stable), *stable.fronts)}
    mine = {ObjectKey.of(one) for one in _all(new)}
    if rollout.phase is not Phase.ROLLING:
        theirs |= {ObjectKey.of(one) for one in stable.rest}
        mine |= {ObjectKey.of(one) for one in new.rest if _kind(one) in _AT_ONCE}
        mine |= {one.key for one in pair.changed_ordinals()} if rollout.is_split else set()
    return frozenset(theirs - mine)


def traffic(objects: Sequence[Object], pair: Pair) -> frozenset[ObjectKey]:
    """Return the keys of the Services and routes that decide where requests go."""
    fronts = {ObjectKey.of(one) for side in (pair.new, pair.stable) if side is not None for one in side.fronts}
    return frozenset(key for key in map(ObjectKey.of, objects) if key in fronts)


def share(pair: Pair, weight: int) -> str:
    """Return what a weight comes to where the number of replicas splits the traffic: `2 of 8 replicas`."""
    numbers = [*(one.replicas for one in pair.changed()), *(one.replicas for one in pair.changed_ordinals())]
    return f"{sum(needed(replicas, weight) for replicas in numbers)} of {sum(numbers)} replicas"


Shares = Mapping[str, Sequence[tuple[str, int]]]
"""Service as it was rendered -> (revision hash, percent)"""


def _only(side: Apart) -> Shares:
    return {service: [(side.revisions[name].hash, WHOLE)] for service, name in side.services.items()}


def _fronts(side: Apart, shares: Shares) -> Iterator[Object]:
    yield from _narrow([one for one in side.fronts if not is_route(one)], side)
    for one in side.fronts:
        if is_route(one):
            yield pointed(one, shares)


def _narrow(services: Sequence[Object], side: Apart) -> Iterator[Object]:
    for one in services:
        revision = side.of_service(ObjectKey.of(one).name)
        yield narrowed(one, revision.hash) if revision is not None else one


def _split_fronts(rollout: Rollout, pair: Pair) -> Iterator[Object]:
    stable = pair.stable
    assert stable is not None, "nothing is split without a stable side"  # noqa: S101 - `Pair.can_split` says so
    shares = {}
    for service, name in stable.services.items():
        before, after = stable.revisions[name], pair.new.of_service(service)
        whole = after is None or after.hash == before.hash
        shares[service] = (
            [(before.hash, WHOLE)] if whole else [(before.hash, WHOLE - rollout.weight), (after.hash, rollout.weight)] if after else []
        )
    if pair.by_replicas and rollout.weight:
        yield from stable.fronts  # both revisions' pods have the labels that people wrote
        return
    yield from _fronts(stable, shares)


def _split_revisions(rollout: Rollout, pair: Pair) -> Iterator[Object]:
    stable, new = pair.stable, pair.new
    assert stable is not None, "nothing is split without a stable side"  # noqa: S101 - `Pair.can_split` says so
    for one in new.revisions.values():
        same = stable.hashes.get(one.name) == one.hash
        yield one.deployment if same else one.scaled(needed(one.replicas, next_weight(rollout)))
        yield from one.parts
    for one in stable.revisions.values():
        after = new.revisions.get(one.name)
        less = needed(after.replicas, rollout.weight) if after is not None and pair.by_replicas and rollout.weight else 0
        yield one.scaled(max(1, one.replicas - less)) if less else one.deployment
        yield from one.parts


def _all(side: Apart) -> Iterator[Object]:
    for one in side.revisions.values():
        yield one.deployment
        yield from one.parts


def pointed(route: Object, shares: Shares) -> dict[str, Any]:
    """Return a route that leads to the Services of revisions, by their shares; everything else of it stays."""
    spec, namespace = part(route, "spec"), ObjectKey.of(route).namespace
    rules = []
    for rule in rows(spec, "rules"):
        references = list(rows(rule, "backendRefs"))
        mine = [shares.get(text(one, "name"), ()) if is_backend(one, namespace) else () for one in references]
        if not any(mine):
            rules.append(dict(rule))
            continue
        split = any(len(one) > 1 for one in mine)
        found = [made for one, parts in zip(references, mine, strict=True) for made in _referred(one, parts, split=split)]
        rules.append({**rule, "backendRefs": _small(found)})
    return {**route, "spec": {**spec, "rules": rules}}


def _referred(reference: Object, parts: Sequence[tuple[str, int]], *, split: bool) -> Iterator[dict[str, Any]]:
    """Yield a backend for each share; where nothing of a rule is split its weights stay as they were written."""
    weight = number(reference, "weight", 1)
    if not parts:
        yield {**reference, "weight": weight * WHOLE} if split else dict(reference)
    for revision, percent in parts:
        made = {**reference, "name": named(text(reference, "name"), revision)}
        yield {**made, "weight": weight * percent} if split else made


def _small(references: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return backends whose weights the Gateway API takes: the same shares, in smaller numbers."""
    weights = [number(one, "weight", 1) for one in references]
    if max(weights, default=0) <= _LARGEST:
        return references
    divisor = max(math.gcd(*weights), math.ceil(max(weights) / _LARGEST))
    return [{**one, "weight": max(1, weight // divisor) if weight else 0} for one, weight in zip(references, weights, strict=True)]


def _kind(value: Object) -> str:
    return str(value.get("kind", ""))


def _each(objects: Sequence[Object]) -> list[Object]:
    """Return every object once: the first of a key counts."""
    found: dict[ObjectKey, Object] = {}
    for one in objects:
        found.setdefault(ObjectKey.of(one), one)
    return list(found.values())
