"""What runs in an environment, for the gates of later ones; fills promotion's `UpstreamView`."""

from setpoint.core.errors import UserError
from setpoint.promotion.model import UpstreamFacts
from setpoint.promotion.repository import DeliveryReader
from setpoint.reconcile.model import Health
from setpoint.reconcile.ports import DeploymentRecords


class Upstreams:
    """Joins the pin at HEAD with the last observation of the reconciler."""

    def __init__(self, reader: DeliveryReader, records: DeploymentRecords) -> None:
        self._reader = reader
        self._records = records

    def upstream(self, app: str, environment: str) -> UpstreamFacts:
        """Return what is pinned in an environment and whether exactly that is healthy there."""
        delivery = self._reader.load()
        try:
            pin = self._reader.pin(delivery, environment, app) if delivery is not None else None
        except UserError as error:
            return UpstreamFacts(environment, None, healthy=False, healthy_since=None, detail=f"{error.what} ({error.where})")
        seen = self._records.deployment(app, environment)
        if pin is None or seen is None or seen.pin_commit != pin.commit:
            held = any(reason.code == "HELD" for reason in seen.reasons) if seen is not None else False
            detail = "a rollback overrides what is pinned there" if held else "the reconciler has not brought this pin up yet"
            detail = "nothing is pinned" if pin is None else detail
            return UpstreamFacts(environment, pin.candidate if pin else None, healthy=False, healthy_since=None, detail=detail)
        healthy = seen.health is Health.HEALTHY
        detail = "; ".join(reason.found for reason in seen.reasons) or str(seen.health)
        return UpstreamFacts(environment, pin.candidate, healthy, seen.since if healthy else None, detail)
