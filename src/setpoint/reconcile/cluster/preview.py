"""A candidate against what is live, before it is decided: every object is looked at and tried as a dry run of a server-side apply.

Called by `observe.plan` for an environment on Kubernetes, at a person's request. It writes nothing, copies no artifact and opens no Secret:
a branch that anybody may push must not find out what a sealed value is. It is bounded in time; a cluster that does not answer costs the
plan its live part, and the sentence says so. What an object needs that the same plan makes is not there to be tried with: it is predicted.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from setpoint.artifact.copies import Place
from setpoint.core import clock
from setpoint.core.errors import SetpointError, UnreachableError, UserError, WorldError
from setpoint.core.words import counted
from setpoint.promotion.model import Candidate, Pin
from setpoint.promotion.repository import Delivery
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster import ignoring
from setpoint.reconcile.cluster.comparing import Who, plan
from setpoint.reconcile.cluster.decide import Seen, Verdicts
from setpoint.reconcile.cluster.desired import placed, relocated
from setpoint.reconcile.cluster.forecast import SETTLED, change, hook_change, is_sealed, sealed_change, unopened, unsealed
from setpoint.reconcile.cluster.hooking import split
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.order import needs
from setpoint.reconcile.cluster.owner import Made, Owner, owner_of
from setpoint.reconcile.cluster.plan import removed
from setpoint.reconcile.cluster.ports import Cluster, Clusters
from setpoint.reconcile.cluster.shaping import Shaped
from setpoint.reconcile.live_plan import LiveChange, LivePlan
from setpoint.reconcile.prune import decide as pruning
from setpoint.reconcile.prune.model import Inventory
from setpoint.reconcile.rendering import Rendering

LIMIT_S: Final = 30.0
"""How long the objects of one plan are asked about."""
_AT_ONCE: Final = 2
"""Plans that ask clusters at the same time: passes go first."""
_BATCH: Final = 200
Look = Object | SetpointError | None


@dataclass(frozen=True, slots=True)
class PreviewParts:
    """What previews are made with."""

    home: str
    clusters: Clusters
    rendering: Rendering
    inventory: Callable[[str, str], Inventory]
    """(application, environment) -> what was made there"""
    versions: Callable[[Delivery, str, str], Mapping[ObjectKey, str]]
    """(delivery, environment, application) -> every object of its inventory with the version that it was rendered in"""
    rolled_out: Callable[[Delivery, tuple[str, str], Sequence[dict[str, Any]]], Shaped] = lambda _delivery, _place, objects: Shaped(
        tuple(objects)
    )
    """(delivery, (application, environment), placed objects) -> what they are once they are rolled out"""
    elapsed: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one preview is about."""

    delivery: Delivery
    candidate: Candidate
    pin: Pin | None
    cluster: Cluster
    target: KubernetesTarget
    until: float


class ClusterPreview:
    """Compares candidates with clusters."""

    def __init__(self, parts: PreviewParts) -> None:
        self._parts = parts
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def of(self, delivery: Delivery, candidate: Candidate, pin: Pin | None, limit_s: float = LIMIT_S) -> LivePlan:
        """Return what pinning a candidate would do to what is live, or why that cannot be said.

        Raises:
            UserError: the candidate cannot be rendered, or not be placed there.
        """
        target = delivery.environment(candidate.environment).target.kubernetes
        assert target is not None, "an environment of another target"  # noqa: S101 - the caller chooses by the same key
        if not self._slots.acquire(timeout=max(0.0, limit_s)):
            return _unseen(target, "other plans are asking clusters now")
        try:
            cluster = self._parts.clusters.of(target.cluster)
            cluster.reach()
            return self._compared(_Asked(delivery, candidate, pin, cluster, target, self._parts.elapsed() + limit_s))
        except WorldError as error:
            since = f" (since {clock.spoken(error.since)})" if isinstance(error, UnreachableError) and error.since else ""
            return _unseen(target, f"the cluster {target.cluster} cannot be asked: {error.what}{since}")
        finally:
            self._slots.release()

    def _compared(self, asked: _Asked) -> LivePlan:
        target, owner = asked.target, Owner(self._parts.home, asked.candidate.app, asked.candidate.environment)
        manifests, hooks, retired = self._manifests(asked)
        keys = [ObjectKey.of(manifest) for manifest in manifests]
        inventory = self._parts.inventory(owner.app, owner.environment)
        gone = self._gone(asked, inventory, keys)
        found = self._looked(asked, {**gone, **{ObjectKey.of(one): str(one["apiVersion"]) for one in manifests}})
        who = Who(owner, Made("", "", ""), unopened)
        rules = ignoring.rules_of(asked.delivery.environment(owner.environment), owner.app)
        rows = plan(unsealed(manifests), {key: _seen(found[key]) for key in keys}, who, Verdicts(), settled=False, declared=rules)
        sealed = {ObjectKey.of(one): one for one in manifests if is_sealed(one)}
        made = {key for key in keys if found[key] is None}
        predicted = {key: tuple(one for one in every if one in made) for key, every in needs(manifests).items()}
        trying = [row for row in rows if row.key not in sealed and not predicted.get(row.key) and row.verdict.action not in SETTLED]
        answers = self._tried(asked, [row.wanted for row in trying])
        pinned = self._sealed_before(asked)
        changes = [
            sealed_change(sealed[row.key], pinned.get(row.key), row)
            if row.key in sealed
            else change(row, answers.get(row.key), predicted.get(row.key, ()))
            for row in rows
        ]
        if asked.pin is None or asked.pin.candidate != asked.candidate:
            changes += [hook_change(one, first=not inventory.objects) for one in hooks]
        removals, held = self._removals(asked, (inventory, retired), keys, {key: found[key] for key in gone}, owner)
        changes += removals
        objects = tuple(sorted((one for one in changes if one is not None), key=lambda one: one.object))
        same = sum(one is None for one in changes)
        return LivePlan(target.cluster, target.namespace, True, _sentence(objects, same, target), objects, same, held)

    def _manifests(self, asked: _Asked) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...], frozenset[str]]:
        """Return the candidate's objects in the namespace and its hooks, with images named as they will be once they are copied.

        Also the names of the inventory that go because their revision is over then.
        """
        place, artifacts = Place.parse(asked.target.registry), asked.candidate.artifacts.values()
        references = {f"{one.oci_repository}@{one.digest}": place.reference(one.oci_repository, one.digest) for one in artifacts}
        objects = self._parts.rendering.objects(asked.candidate, asked.delivery.repository)
        there, hooks = split(placed(objects, asked.target.namespace, asked.cluster.is_namespaced))
        shaped = self._parts.rolled_out(asked.delivery, (asked.candidate.app, asked.candidate.environment), there)
        return tuple(relocated(value, references) for value in shaped.manifests), hooks, shaped.retired

    def _gone(self, asked: _Asked, inventory: Inventory, keys: Sequence[ObjectKey]) -> dict[ObjectKey, str]:
        names = set(inventory.objects) - {str(key) for key in keys}
        if not names:
            return {}
        versions = self._parts.versions(asked.delivery, asked.candidate.environment, asked.candidate.app)
        return {key: version for key, version in versions.items() if str(key) in names}

    def _looked(self, asked: _Asked, objects: Mapping[ObjectKey, str]) -> dict[ObjectKey, Look]:
        found: dict[ObjectKey, Look] = {}
        for batch in _batches(list(objects.items())):
            late = self._parts.elapsed() > asked.until
            found |= dict.fromkeys(dict(batch), _late()) if late else asked.cluster.look(dict(batch))
        return found

    def _tried(self, asked: _Asked, manifests: Sequence[Object]) -> dict[ObjectKey, Object | SetpointError]:
        found: dict[ObjectKey, Object | SetpointError] = {}
        for batch in _batches(manifests):
            late = self._parts.elapsed() > asked.until
            found |= {ObjectKey.of(one): _late() for one in batch} if late else asked.cluster.apply(batch, dry_run=True)
        return found

    def _sealed_before(self, asked: _Asked) -> dict[ObjectKey, Object]:
        """Return the sealed Secrets of what is pinned, as sops wrote them."""
        if asked.pin is None:
            return {}
        try:
            objects = self._parts.rendering.objects(asked.pin.candidate, asked.delivery.repository)
        except UserError:
            return {}
        before = [{**one, "metadata": {**one["metadata"], "namespace": asked.target.namespace}} for one in objects if is_sealed(one)]
        return {ObjectKey.of(one): one for one in before}

    def _losses(self, asked: _Asked) -> tuple[str, ...]:
        """Return the objects whose loss approvals of the candidate would be about."""
        pinned = asked.pin.candidate if asked.pin is not None else None
        return tuple(one.partition(":")[0] for one in self._parts.rendering.losses(asked.candidate, pinned, asked.delivery.repository))

    def _removals(
        self,
        asked: _Asked,
        made: tuple[Inventory, Collection[str]],
        keys: Sequence[ObjectKey],
        live: Mapping[ObjectKey, Look],
        owner: Owner,
    ) -> tuple[list[LiveChange | None], str]:
        """Return what happens to what is no longer wanted, by the budget's verdict on this inventory; made is it, and what retires."""
        inventory, retired = made
        config = asked.delivery.environment(owner.environment)
        approved = self._losses(asked) if config.gates.approvals is not None else ()
        fresh = replace(inventory, held=None, confirmed="")
        decision = pruning.decide_all(fresh, [str(key) for key in keys], "", config.prune.budget, approved, retired)
        why = decision.held.why if decision.held is not None else "the render holds none of what was made" if decision.keep else ""
        found: list[LiveChange | None] = []
        for key, look in sorted(live.items()):
            change = removed(key, key.namespace)
            if isinstance(look, SetpointError):
                found.append(LiveChange(change.object, "unknown", note=f"it is no longer wanted, and cannot be looked at: {look.what}"))
            elif look is not None and owner_of(look) == owner:
                action: Literal["keep", "remove"] = "keep" if str(key) in decision.keep else "remove"
                note = f"kept until somebody confirms: {why}" if action == "keep" else ""
                over = str(key) in retired
                note = "its revision is over when nothing leads to it any more" if over else note
                found.append(LiveChange(change.object, action, (), () if over else change.destructive, note))
        return found, why


def _seen(look: Look) -> Seen:
    if isinstance(look, SetpointError):
        return Seen(None, known=False, stale_reason=look.what)
    return Seen(look, known=True)


def _late() -> WorldError:
    return WorldError("SP682", f"it was not looked at within {LIMIT_S:.0f} s", fix="ask again")


def _batches(items: Sequence[Any]) -> list[Any]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _unseen(target: KubernetesTarget, why: str) -> LivePlan:
    return LivePlan(target.cluster, target.namespace, False, f"{why}: this plan compares what is rendered, not what is live")


def _sentence(objects: Sequence[LiveChange], same: int, target: KubernetesTarget) -> str:
    place = f"namespace {target.namespace} of {target.cluster}"
    if not objects:
        return f"{place}: {counted(same, 'object')} would stay as {'it is' if same == 1 else 'they are'}"
    count = {action: sum(one.action == action for one in objects) for action in _ACTIONS}
    said = ", ".join(f"{number} {_ACTIONS[action]}" for action, number in count.items() if number)
    return f"{place}: {said}" + (f", {same} as now" if same else "")


_ACTIONS: Final = {
    "create": "created",
    "change": "changed",
    "replace": "deleted and made again",
    "remove": "removed",
    "keep": "kept until somebody confirms",
    "refused": "refused",
    "unknown": "not known",
}
