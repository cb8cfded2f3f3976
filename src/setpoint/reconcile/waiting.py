"""Applications that wait for others (`dependsOn:`) before a new version of theirs is begun; until then what runs goes on as it is.

Called by the reconcile service in each pass, for every target alike. It is level-triggered: what is waited for is looked up anew each time,
and its own observation wakes the pass that goes on. What was begun is never stopped by it, and a return in haste does not wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from setpoint.core import clock
from setpoint.promotion.dependencies import place_of
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.effective import Effective, EffectivePins
from setpoint.reconcile.model import DeployReason, Health
from setpoint.reconcile.ports import DeploymentRecords


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits for whom in a home."""

    pins: EffectivePins
    records: DeploymentRecords

    def split(
        self, delivery: Delivery, environment: str, found: Mapping[str, Effective]
    ) -> tuple[dict[str, Effective], dict[str, tuple[Effective, tuple[DeployReason, ...]]]]:
        """Return what runs meanwhile, and what has nothing to run meanwhile, with why: applications that wait keep what they have."""
        going, waiting = dict[str, Effective](), dict[str, tuple[Effective, tuple[DeployReason, ...]]]()
        for app, effective in found.items():
            why = self._why(delivery, app, environment, effective)
            if not why:
                going[app] = effective
                continue
            before = self.pins.before(delivery, app, environment)
            if before is None:
                waiting[app] = (effective, why)
            else:
                going[app] = replace(before, notes=(*before.notes, *why))
        return going, waiting

    def _why(self, delivery: Delivery, app: str, environment: str, effective: Effective) -> tuple[DeployReason, ...]:
        """Return what an application waits for; nothing once its pin was begun."""
        wanted = delivery.app_in(app, environment).dependsOn
        if not wanted or effective.held:
            return ()
        seen = self.records.deployment(app, environment)
        if seen is not None and seen.pin_commit == effective.pin.commit:
            return ()
        places = [place_of(text, environment) for text in wanted]
        return tuple(reason for place in places if (reason := self._lack(delivery, place, environment)) is not None)

    def _lack(self, delivery: Delivery, place: tuple[str, str], environment: str) -> DeployReason | None:
        """Return what an application that is waited for lacks; None when it is there as it is pinned, and healthy."""
        app, other = place
        name, fix = app if other == environment else f"{app} in {other}", f"setpoint why {app} {other}"
        pinned = self.pins.of(delivery, app, other) if other in delivery.environments else None
        if not isinstance(pinned, Effective):
            return DeployReason("DEPENDENCY_WAITS", name, f"it waits for {name}, of which nothing is pinned that may run", fix)
        seen = self.records.deployment(app, other)
        if seen is None or seen.pin_commit != pinned.pin.commit:
            called = pinned.pin.version or pinned.pin.promotion
            return DeployReason("DEPENDENCY_WAITS", name, f"it waits for {name}: {called} is pinned there and not begun yet", fix)
        if seen.health is not Health.HEALTHY:
            found = f"it waits for {name}, which is {seen.health} since {clock.spoken(seen.since)}"
            return DeployReason("DEPENDENCY_WAITS", name, found, fix)
        return None
