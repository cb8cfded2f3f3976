"""Two small looks that wiring hands to stages: what a proxy was told, and what is known to differ in unpacked images."""

from collections.abc import Callable

from setpoint.adapters.database.records import Records
from setpoint.adapters.host.proxy import HaProxy
from setpoint.reconcile.model import Difference, Route


def served(proxy: HaProxy, environment: str) -> tuple[tuple[str, Route], ...]:
    """Return the routes that an environment's proxy was told last."""
    before = proxy.applied(environment)
    return before.routes if before is not None else ()


def touched(records: Records) -> Callable[[str, str], list[Difference]]:
    """Return the look at what is known to differ in unpacked images."""

    def look(app: str, environment: str) -> list[Difference]:
        cases = [case for case in records.drifts(app, environment, ended=False, limit=1000) if case.kind == "image"]
        return [Difference(case.subject, case.field, case.desired, case.live) for case in cases]

    return look
