"""Carries rollouts out on Kubernetes: takes one step, and says what the objects of the application are from then on.

Called by the cluster target through its `RevisionRollout` port. It writes nothing to a cluster: the target applies what it is handed, keeps
the inventory and corrects drift. Where a rollout is stands in the journal, so a server that was killed in the middle of a step goes on.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from setpoint.core import clock
from setpoint.core.errors import UserError
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.ports import Deletion
from setpoint.reconcile.cluster.revisions import apart, of_revision
from setpoint.reconcile.cluster.shaping import Asked, Shaped
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pods.model import Pod
from setpoint.rollout.canary import reasons
from setpoint.rollout.canary.decide import next_weight
from setpoint.rollout.canary.engine import Engine
from setpoint.rollout.cluster import staying
from setpoint.rollout.cluster.compose import Pair, compose, of_stable, share, traffic, whole
from setpoint.rollout.cluster.ports import CounterPages
from setpoint.rollout.cluster.sides import ClusterSides
from setpoint.rollout.model import Coming, Phase, Rollout, Side
from setpoint.rollout.returning import Returning
from setpoint.rollout.rollouts import Rollouts

_TRAFFIC_MOVES: Final = (Phase.HOLDING, Phase.HELD, Phase.RETURNED, Phase.FINISHING)
"""Where the Services of the revisions are there already, so that routes need not wait for anything else."""


@dataclass(frozen=True, slots=True)
class RevisionParts:
    """What the rollout works with; the first three are those of the host."""

    rollouts: Rollouts
    engine: Engine
    returning: Returning
    pages: CounterPages
    pods: Callable[[KubernetesTarget], Sequence[Pod]]
    """The pods of a target's namespace, as far as they are known; costs no call."""
    clock: clock.Clock


class ClusterRollout:
    """The rollout engine on Kubernetes."""

    def __init__(self, parts: RevisionParts) -> None:
        self._parts = parts

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the commit of the pin that was fully rolled out last (see the port)."""
        return self._parts.rollouts.stable_pin(app, environment)

    def concerns(self, app: str, environment: str, inventory: Collection[str]) -> bool:
        """Say whether an application runs in revisions (see the port)."""
        known = self._parts.rollouts.current((app, environment))
        hashes = (
            set() if known is None else {one for side in (known.new, known.stable) if side is not None for one in side.workloads.values()}
        )
        return any(name.count("/") == 3 and of_revision(ObjectKey.parse(name).name)[1] in hashes for name in inventory)

    def shape(self, asked: Asked) -> Shaped:
        """Take one step of an application's rollout, and return what its objects are (see the port)."""
        candidate = asked.coming.pin.candidate
        place = (candidate.app, candidate.environment)
        with self._parts.rollouts.locked(place):
            self._parts.returning.answer_late(place, asked.coming.pin.commit)
            pair = _pair(asked, self._parts.rollouts.current(place))
            rollout = self._parts.rollouts.begin(_coming(asked, pair))
            pair = _pair(asked, rollout)
            _require(rollout, pair)
            rollout = self._step(rollout, pair, asked)
            return self._shaped(rollout, pair, asked)

    def shown(self, asked: Asked) -> Shaped:
        """Return what the objects of an application are, without a step (see the port)."""
        candidate = asked.coming.pin.candidate
        rollout = self._parts.rollouts.current((candidate.app, candidate.environment))
        if rollout is None:
            return Shaped(asked.coming.objects)
        pair = _pair(asked, rollout)
        _require(rollout, pair)
        return self._shaped(rollout, pair, asked)

    def rolled_out(self, objects: Sequence[Object], inventory: Collection[str]) -> Shaped:
        """Return what objects are once they are rolled out (see the port)."""
        side = apart(objects)
        made = tuple(whole(side))
        gone = set(inventory) - {str(ObjectKey.of(one)) for one in made}
        return Shaped(made, retired=staying.of_revisions(Pair(side, None), gone))

    def applied(self, app: str, environment: str, pin_commit: str) -> None:
        """Have a release that was sent back leave Git too (see the port)."""
        self._parts.returning.take_back((app, environment), pin_commit)

    def _step(self, rollout: Rollout, pair: Pair, asked: Asked) -> Rollout:
        pages, pods = partial(self._parts.pages.read, asked.target), self._parts.pods(asked.target)
        sides = ClusterSides(pair, _looked_at(pair, asked), pages, pods, self._is_clear(rollout, pair, asked))
        if not sides.is_known:
            return rollout
        if rollout.is_split:
            return self._parts.engine.step(rollout, sides)
        if rollout.phase in (Phase.ROLLING, Phase.FINISHING):
            quiet = self._parts.clock.now() >= clock.from_text(rollout.since) + staying.QUIET
            return self._parts.engine.roll(rollout, sides.rolled(quiet=quiet))
        return rollout

    def _is_clear(self, rollout: Rollout, pair: Pair, asked: Asked) -> bool:
        """Say whether nothing of an earlier revision would get traffic that the two sides share by their number of replicas."""
        if not (rollout.is_split and pair.by_replicas) or rollout.weight:
            return True
        gone = set(asked.inventory) - {str(ObjectKey.of(one)) for one in compose(rollout, pair)}
        return not any(ObjectKey.parse(name).kind == "Deployment" for name in staying.leaving(rollout, pair, gone, self._now()).retired)

    def _shaped(self, rollout: Rollout, pair: Pair, asked: Asked) -> Shaped:
        objects = compose(rollout, pair)
        gone = set(asked.inventory) - {str(ObjectKey.of(one)) for one in objects}
        left = staying.leaving(rollout, pair, gone, self._now())
        moving = rollout.phase in (Phase.ROLLING, Phase.FINISHING)
        return Shaped(
            tuple(objects),
            traffic(objects, pair) if rollout.phase in _TRAFFIC_MOVES else frozenset(),
            of_stable(rollout, pair),
            left.stays,
            left.retired,
            _told(rollout, pair),
            reasons.pace(rollout) or ("going" if moving else ""),
            tuple(_stuck(rollout, pair, self._parts.pods(asked.target))) if rollout.phase is Phase.RETURNED else (),
        )

    def _now(self) -> datetime:
        return self._parts.clock.now()


def _pair(asked: Asked, rollout: Rollout | None) -> Pair:
    """Return both sides as they were rendered; a pin that goes back to what is stable is both."""
    new = apart(asked.coming.objects)
    if asked.stable is not None:
        return Pair(new, apart(asked.stable.objects))
    back = rollout is not None and rollout.stable is not None and rollout.stable.workloads == new.hashes
    return Pair(new, new if back else None)


def _coming(asked: Asked, pair: Pair) -> Coming:
    pin = asked.coming.pin
    side = Side(pin.promotion, pin.commit, pin.version, pair.new.hashes)
    return Coming(pin.candidate.app, pin.candidate.environment, side, asked.plan, pair.can_split())


def _require(rollout: Rollout, pair: Pair) -> None:
    """Raise when a split has no stable side, or another one than it began with."""
    needs = rollout.is_split or rollout.phase is Phase.RETURNED
    if not needs or (pair.stable is not None and rollout.stable is not None and pair.stable.hashes == rollout.stable.workloads):
        return
    pin = rollout.stable.pin_commit if rollout.stable is not None else ""
    what = f"the stable revision of {rollout.app} cannot be rendered from its pin {pin[:12]}, so nothing is changed"
    raise UserError("SP653", what, where=rollout.environment, fix="setpoint verify says what is damaged")


def _looked_at(pair: Pair, asked: Asked) -> Mapping[ObjectKey, Seen]:
    """Return what is seen of the Deployments of both sides, and of the routes."""
    keys = [one.key for side in (pair.stable, pair.new) if side is not None for one in side.revisions.values()]
    keys += [one.key for one in pair.new.ordinals]
    keys += [ObjectKey.of(one) for one in pair.new.fronts if ObjectKey.of(one).kind == "HTTPRoute"]
    return asked.cluster.seen(list(dict.fromkeys(keys)))


def _stuck(rollout: Rollout, pair: Pair, pods: Sequence[Pod]) -> Iterator[Deletion]:
    """Yield the pods of StatefulSets that were sent back and are not ready.

    A StatefulSet waits for such a pod before it updates any, also when the update would mend it (Kubernetes' documentation, "Forced
    rollback"), so somebody has to delete it.
    """
    workloads = {one.key.subject for one in pair.changed_ordinals()}
    for one in pods:
        if one.workload in workloads and one.promotion == rollout.new.promotion and not one.ready and not one.leaving:
            yield Deletion(ObjectKey("", "Pod", one.namespace, one.name), "v1", one.uid)


def _told(rollout: Rollout, pair: Pair) -> tuple[DeployReason, ...]:
    """Return where the rollout is, in the words of the host."""
    told = list(reasons.of(rollout))
    if rollout.is_split and pair.by_replicas:
        weight = next_weight(rollout)
        found = f"no route splits the traffic, so replicas do: {share(pair, weight)} for {weight} %; judged by health alone"
        told.insert(1, DeployReason("CANARY_BY_REPLICAS", "canary", found))
    if rollout.phase in (Phase.ROLLING, Phase.FINISHING):
        name = rollout.new.version or rollout.new.promotion
        serves = (
            "its pods become ready, then it takes over"
            if rollout.phase is Phase.ROLLING
            else "it has all traffic; the earlier one ends soon"
        )
        told.append(DeployReason("ROLLING", "rollout", f"{name}: {serves}"))
    return tuple(told)
