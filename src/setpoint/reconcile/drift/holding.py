"""What holds which cases of drift now: break-glass leases in force, and what a lease that is over said of the cases that it held.

Called by the drift service at each look, so a lease that ended while the server was down ends at the first one. It writes nothing.
"""

from collections.abc import Iterable, Mapping

from setpoint.core import names
from setpoint.ground.hold.service import Holds
from setpoint.reconcile.drift.decide import Key, Known
from setpoint.reconcile.drift.model import Holding


def holding(holds: Holds, environment: str, keys: Iterable[Key], known: Mapping[Key, Known]) -> dict[Key, Holding]:
    """Return what holds the cases of some keys, or held those that are known."""
    leases = holds.leases(environment)
    found: dict[Key, Holding] = {}
    for key in keys:
        app, _environment, subject, _field = key
        lease = next((one for one in leases if one.is_about(app, subject)), None)
        before = known[key].drift.held_by if key in known else ""
        if lease is not None:
            found[key] = Holding(lease.hold, f"{names.actor(lease.by)} broke the glass: {lease.why}")
        elif before and (over := holds.named(before)) is not None:
            found[key] = Holding(over.hold, f"the lease of {names.actor(over.by)} is over: {over.why}", over.then)
    return found
