"""Applications of which nothing moves: what a pass found about them holds for as long as nothing that it rests on changes.

Called by the target in each pass, so that a world as it is wanted costs lookups in memory and nothing else. What it rests on is told by
values that are in memory anyway: what should run, the accepted files, the inventory, and a mark for each live object that changes with
anything of it, its status too. Nothing rests for ever: what none of these tells is found within REST_S.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.promotion.repository import Delivery
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.placing import Placing, Wanted
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import Health
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.target import Observed

REST_S: Final = 600.0
"""The longest time without a whole look; from half to one and a half of it, so that they do not come all at once."""
COPIES_S: Final = 60.0
"""How often copies of artifacts are made sure of, for evidence may have come."""


@dataclass(slots=True)
class Rested:
    """What a whole look found of an application."""

    on: tuple[object, ...]
    """What it rests on beside the live objects."""
    marks: tuple[object, ...]
    wanted: Wanted
    observed: Observed
    until: float
    copies_at: float


class Resting:
    """What rests, by (application, environment)."""

    def __init__(
        self, prune: PruneService, placing: Placing, now: Callable[[], float], chance: Callable[[], float] = random.random
    ) -> None:
        """Now is a clock in seconds that only goes forward."""
        self._prune = prune
        self._placing = placing
        self._now = now
        self._chance = chance
        self._kept: dict[tuple[str, str], Rested] = {}

    def now(
        self, delivery: Delivery, environment: str, where: tuple[Cluster, KubernetesTarget], found: Mapping[str, Effective]
    ) -> dict[str, Rested]:
        """Return the applications of which nothing moved; none where rules of the environment are judged over all of them."""
        for place in [one for one in self._kept if one[1] == environment and one[0] not in found]:
            del self._kept[place]
        if delivery.environment(environment).drift.ignore:
            return {}
        resting = {}
        for app, effective in found.items():
            kept = self._kept.get((app, environment))
            if kept is not None and self._holds(kept, delivery, where, effective):
                resting[app] = kept
            else:
                self._kept.pop((app, environment), None)
        return resting

    def note(
        self,
        delivery: Delivery,
        cluster: Cluster,
        looked: Mapping[str, tuple[Wanted, Sequence[ObjectPlan], Observed]],
        before: Mapping[str, tuple[object, ...] | None],
    ) -> None:
        """Keep what a whole look found of applications that are well, with every object as it is wanted.

        Before are the marks from before the look: where they differ now, something moved meanwhile, and the next pass looks again.
        """
        for app, (wanted, rows, observed) in looked.items():
            if observed.health is not Health.HEALTHY or observed.faults or any(row.drifted or not row.rests for row in rows):
                continue
            if wanted.shape is not None and not wanted.shape.rests:
                continue  # time alone moves it
            if self._prune.inventory(app, wanted.owner.environment).objects.keys() != {str(key) for key in wanted.versions}:
                continue  # something is to be removed, now or when a person or the end of a lease lets it
            marks = before.get(app)
            if marks is None or cluster.marks([*wanted.versions]) != marks:
                continue
            now = self._now()
            self._kept[app, wanted.owner.environment] = Rested(
                on=self._on(delivery, wanted.effective),
                marks=marks,
                wanted=wanted,
                observed=observed,
                until=now + REST_S * (0.5 + self._chance()),
                copies_at=now + COPIES_S * (0.5 + self._chance()),
            )

    def _holds(self, kept: Rested, delivery: Delivery, where: tuple[Cluster, KubernetesTarget], effective: Effective) -> bool:
        now = self._now()
        if now >= kept.until or kept.on != self._on(delivery, effective) or where[0].marks([*kept.wanted.versions]) != kept.marks:
            return False
        if now >= kept.copies_at:
            kept.copies_at = now + COPIES_S
            return self._placing.copied(effective.pin.candidate, where[1])
        return True

    def _on(self, delivery: Delivery, effective: Effective) -> tuple[object, ...]:
        """Return what a look at an application rests on beside its objects."""
        candidate = effective.pin.candidate
        inventory = self._prune.inventory(candidate.app, candidate.environment)
        leases = self._prune.leases(candidate.app, candidate.environment)
        return (delivery.accepted, delivery.environment(candidate.environment), effective, inventory, leases)
