"""Which objects of a cluster an application has made, with the version to read each in: its inventory, and the pins that wanted them.

Called by the target on every pass, and by plans. An inventory names objects without their API version, for one that moves from a version
to another stays the same object; the render that made it has it.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering


@dataclass(frozen=True, slots=True)
class Inventories:
    """What was made in clusters."""

    reader: DeliveryReader
    rendering: Rendering
    prune: PruneService

    def of(self, delivery: Delivery, environment: str, app: str) -> Mapping[ObjectKey, str]:
        """Return everything that an application has made in an environment.

        Raises:
            UserError: a pin that wanted it does not render any more.
        """
        names = self.prune.inventory(app, environment).objects
        return self.named(delivery, environment, app, names.keys())

    def named(self, delivery: Delivery, environment: str, app: str, names: AbstractSet[str]) -> dict[ObjectKey, str]:
        """Return objects of an inventory by their names in it; what nobody can name a version of is left out. Raises what `of` raises."""
        known, found = self.prune.inventory(app, environment).objects, dict[ObjectKey, str]()
        for commit in {known[name] for name in names if name in known}:
            pin = self.reader.pin_at(delivery.repository, commit, environment, app)
            objects = self.rendering.objects(pin.candidate, delivery.repository) if pin is not None else ()
            versions = {(ObjectKey.of(value).group, str(value["kind"])): str(value["apiVersion"]) for value in objects}
            keys = (ObjectKey.parse(name) for name in names if name.count("/") == 3)
            found |= {key: versions[key.group, key.kind] for key in keys if (key.group, key.kind) in versions}
        return found
