"""Both revisions of an application on a cluster, as the engine asks about them: Deployments from the picture, counters from the data plane.

Made by the cluster's rollout for one pass. What cannot be seen now is never taken for not ready: the rollout takes no step then.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from setpoint.core.errors import SetpointError
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.revisions import Revision, named
from setpoint.reconcile.health.model import conditions, number, part, rows
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.cluster.compose import Pair
from setpoint.rollout.cluster.counted import counted
from setpoint.rollout.model import Arm, Facts, Rollout

log = logging.getLogger(__name__)

_LATE = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class ClusterSides:
    """Fills `Sides`."""

    pair: Pair
    seen: Mapping[ObjectKey, Seen]
    pages: Callable[[], Mapping[str, str]]

    @property
    def is_known(self) -> bool:
        """Whether everything that the rollout stands on was looked at and is not old."""
        return all(look.known and not look.stale_since for look in self.seen.values())

    def facts(self, rollout: Rollout) -> Facts:  # noqa: ARG002 - both revisions are all that is there
        """Return what is ready of the revisions that are new."""
        new = self.pair.changed()
        problems = tuple(reason for one in new if (reason := _late(self._live(one))) is not None)
        deadline_s = max((one.deadline_s for one in new), default=600.0)
        ready = {one.name: available(self._live(one)) for one in new}
        return Facts(ready, {one.name: one.replicas for one in new}, problems, deadline_s=deadline_s)

    def rolled(self, *, quiet: bool) -> Facts:
        """Return whether the new revisions can take over, and are alone; quiet: the earlier ones had no traffic for long enough."""
        every = self.pair.new.revisions.values()
        whole = all(available(self._live(one)) >= one.replicas for one in every)
        followed = all(_is_followed(look.live) for key, look in self.seen.items() if key.kind == "HTTPRoute" and look.live is not None)
        return Facts({}, {}, settled=whole and quiet and followed, whole=whole)

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

    def _live(self, one: Revision) -> Object:
        look = self.seen.get(one.key)
        return look.live if look is not None and look.live is not None else {}


def available(live: Object) -> int:
    """Return how many pods of a Deployment can serve, by what its controller says of the manifest that is there now."""
    status = part(live, "status")
    if number(status, "observedGeneration") < number(part(live, "metadata"), "generation"):
        return 0
    return min(number(status, "availableReplicas"), number(status, "updatedReplicas"))


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
