"""Applications that left setpoint.yaml, and whose removal a person confirmed: what was made of them is deleted, hooks' objects too.

Called by the target in each pass, until nothing is left; then they are forgotten. Nothing is removed here that no person confirmed (law 7).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from setpoint.core.errors import UserError
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.cluster import applying
from setpoint.reconcile.cluster.hooking import Hooking
from setpoint.reconcile.cluster.inventories import Inventories
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.owner import Owner
from setpoint.reconcile.cluster.ports import Cluster
from setpoint.reconcile.model import Release
from setpoint.reconcile.prune.service import PruneService

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retiring:
    """Removals of whole applications of a home."""

    home: str
    prune: PruneService
    inventories: Inventories
    hooking: Hooking

    def found(self, delivery: Delivery, environment: str) -> list[tuple[Release, dict[ObjectKey, str]]]:
        """Return the applications whose removal a person confirmed, with what was made of them."""
        found = []
        for release in self.prune.retiring(delivery, environment):
            try:
                found.append((release, dict(self.inventories.of(delivery, environment, release.app))))
            except UserError as error:
                log.warning("%s in %s cannot be removed: %s", release.app, environment, error.render())
        return found

    def retire(self, cluster: Cluster, release: Release, objects: Mapping[ObjectKey, str]) -> None:
        """Delete what is left of one; forget it when all of that is gone."""
        owner = Owner(self.home, release.app, release.desired.environment)
        unhooked = self.hooking.leave(cluster, release.app, release.desired.environment)
        if not unhooked:
            log.warning("%s is not forgotten yet: what its hooks left cannot be looked at", owner)
        taken, absent = applying.prune(cluster, cluster.seen([*objects]), {}, owner)
        for fault in taken.faults:
            log.warning("%s cannot be removed: %s of %s: %s", owner, fault.code, fault.subject, fault.found)
        if unhooked and len(absent) == len(self.prune.inventory(release.app, release.desired.environment).objects):
            self.prune.retired(release)
