"""A target whose nodes can pull: its namespace has the pull secret before anything that names it is applied.

Made by wiring around the cluster's target. A secret that cannot be kept is told of every application there, and stops none: what was pulled
runs on.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from setpoint.core.errors import SetpointError, WorldError
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pulls.service import PullService
from setpoint.reconcile.target import Target, TargetLook

_SOON_S: Final = 0.5


class TargetWithPulls:
    """A target (see the port) that keeps the pull secret of its namespace."""

    def __init__(self, inner: Target, pulls: PullService) -> None:
        self._inner = inner
        self._pulls = pulls

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Keep the secret, then take one step (see the port)."""
        target = delivery.environment(environment).target.kubernetes
        place = self._pulls.place_of(target) if target is not None else None
        fault = None
        try:
            self._pulls.leave(delivery)
            if place is not None and not self._pulls.keep(place):
                return TargetLook({}, _SOON_S)  # it is known in a moment, and comes before who names it
        except WorldError:
            pass  # the step says so itself
        except SetpointError as error:
            fault = DeployReason(error.code, error.where or "the pull secret", error.what, error.fix, "problem")
        look = self._inner.advance(delivery, environment, found)
        if fault is None:
            return look
        return replace(look, apps={app: replace(one, faults=(*one.faults, fault)) for app, one in look.apps.items()})
