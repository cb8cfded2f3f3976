"""Both revisions of an application on a cluster, as the engine asks about them: Deployments from the picture, counters from the data plane.

Made by the cluster's rollout for one pass. What cannot be seen now is never taken for not ready: the rollout takes no step then.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.core.errors import SetpointError
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.revisions import named
from setpoint.reconcile.health.model import conditions, number, part, rows, text
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pods.model import Pod
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.cluster.compose import Pair
from setpoint.rollout.cluster.counted import counted
from setpoint.rollout.model import Arm, Facts, Rollout

log = logging.getLogger(__name__)

_LATE: Final = "ProgressDeadlineExceeded"
CRASH_LOOP: Final = 3
"""Restarts after which a pod that is not ready sends its revision back."""


@dataclass(frozen=True, slots=True)
class ClusterSides:
    """Fills `Sides`."""

    pair: Pair
    seen: Mapping[ObjectKey, Seen]
    pages: Callable[[], Mapping[str, str]]
    pods: Sequence[Pod] = ()
    """Of the namespace, as far as they are known."""
    clear: bool = True
    """Nothing of an earlier revision is left that would get traffic beside both sides; before that none of the new counts as ready."""

    @property
    def is_known(self) -> bool:
        """Whether everything that the rollout stands on was looked at and is not old."""
        return all(look.known and not look.stale_since for look in self.seen.values())

    def facts(self, rollout: Rollout) -> Facts:
        """Return what is ready of the revisions that are new."""
        new, ordinals = self.pair.changed(), self.pair.changed_ordinals()
        problems = [reason for one in new if (reason := _late(self._live(one.key))) is not None]
        problems += _crashing({one.key.subject for one in new} | {one.key.subject for one in ordinals}, self.pods, rollout.new.promotion)
        deadline_s = max((one.deadline_s for one in new), default=600.0)
        ready = {one.name: available(self._live(one.key)) for one in new}
        ready |= {one.name: _updated(self._live(one.key), one.replicas) for one in ordinals}
        if not self.clear:
            ready = dict.fromkeys(ready, 0)
        wanted = {one.name: one.replicas for one in new} | {one.name: one.replicas for one in ordinals}
        return Facts(ready, wanted, tuple(problems), deadline_s=deadline_s, made_at=self._made_at([one.key for one in new]))

    def rolled(self, *, quiet: bool) -> Facts:
        """Return whether the new revisions can take over, and are alone; quiet: the earlier ones had no traffic for long enough."""
        every = self.pair.new.revisions.values()
        whole = all(available(self._live(one.key)) >= one.replicas for one in every)
        followed = all(_is_followed(look.live) for key, look in self.seen.items() if key.kind == "HTTPRoute" and look.live is not None)
        stepped = all(_updated(self._live(one.key), one.replicas) >= one.replicas for one in self.pair.new.ordinals)
        return Facts({}, {}, settled=whole and quiet and followed and stepped, whole=whole)

    def counted(self) -> tuple[Sequence[ServerCount], Mapping[str, Arm]]:
        """Return what the data plane counted for the Services of both sides; nothing where no route splits the traffic."""
        stable = self.pair.stable
        if stable is None or self.pair.by_replicas:
            return (), {}
        services: dict[str, tuple[str, Arm]] = {}
        for service in stable.services.keys() & self.pair.new.services.keys():
            before, after = stable.of_service(service), self.pair.new.of_service(service)
            if before is not None and after is not None and before.hash != after.hash:
                services[named(service, before.hash)] = (service, "stable")
                services[named(service, after.hash)] = (service, "canary")
        try:
            return counted(self.pages(), services)
        except (SetpointError, ValueError) as error:
            log.warning("the counters of a canary cannot be read: %s", error)
            return (), {}

    def _made_at(self, keys: Sequence[ObjectKey]) -> str | None:
        """Return when the last Deployment that is there was made, by the cluster's clock (see `Facts`)."""
        there = [live for key in keys if (live := self._live(key))]
        if keys and not there:
            return None
        return max((text(part(live, "metadata"), "creationTimestamp") for live in there), default="")

    def _live(self, key: ObjectKey) -> Object:
        look = self.seen.get(key)
        return look.live if look is not None and look.live is not None else {}


def available(live: Object) -> int:
    """Return how many pods of a Deployment can serve, by what its controller says of the manifest that is there now."""
    status = part(live, "status")
    if number(status, "observedGeneration") < number(part(live, "metadata"), "generation"):
        return 0
    return min(number(status, "availableReplicas"), number(status, "updatedReplicas"))


def _updated(live: Object, replicas: int) -> int:
    """Return how many pods of a StatefulSet are of the new revision and serve: one that is not ready is taken for one of them."""
    status = part(live, "status")
    if number(status, "observedGeneration") < number(part(live, "metadata"), "generation"):
        return 0
    return max(0, number(status, "updatedReplicas") - max(0, replicas - number(status, "readyReplicas")))


def _crashing(workloads: Collection[str], pods: Sequence[Pod], promotion: str) -> Iterator[DeployReason]:
    """Yield the pods of the new revision that end again and again."""
    for one in pods:
        if one.workload in workloads and one.promotion in ("", promotion) and not one.ready and one.restarts >= CRASH_LOOP:
            fix = f"kubectl logs --previous {one.name} -n {one.namespace}"
            yield DeployReason("CRASH_LOOP", f"Pod/{one.name}", f"restarted {one.restarts} times and is not ready", fix, "problem")


def _late(live: Object) -> DeployReason | None:
    progressing = conditions(part(live, "status")).get("Progressing")
    if progressing is None or progressing.reason != _LATE:
        return None
    key = ObjectKey.of(live)
    fix = f"kubectl describe {key.kind.lower()}/{key.name} -n {key.namespace}"
    return DeployReason("CANARY_NOT_READY", key.subject, progressing.message or "it ran into its progress deadline", fix, "problem")


def _is_followed(route: Object) -> bool:
    """Say whether every gateway of a route has taken it as it is now."""
    generation = number(part(route, "metadata"), "generation")
    for parent in rows(part(route, "status"), "parents"):
        taken = conditions(parent).get("Accepted")
        if taken is None or (taken.observed_generation is not None and taken.observed_generation < generation):
            return False
    return True
