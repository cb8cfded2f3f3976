"""A target whose cluster refuses images by itself: the list is widened before a step, and shrinks after one that left everything at rest.

Made by wiring within the look at pods, which knows what a pass is about to bring up. While the cluster cannot be told, nothing new is
applied there: its pods would be refused.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from setpoint.core.errors import SetpointError, WorldError
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.enforce.service import EnforceService
from setpoint.reconcile.model import DeployReason, Health
from setpoint.reconcile.target import Target, TargetLook

_SOON_S: Final = 0.5


class TargetWithRefusal:
    """A target (see the port) that keeps the cluster's own refusal."""

    def __init__(self, inner: Target, enforce: EnforceService) -> None:
        self._inner = inner
        self._enforce = enforce
        self._rested: set[str] = set()
        """Environments that were at rest after their last step."""

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Tell the cluster what may run, then take one step (see the port)."""
        fault = None
        try:
            if not self._enforce.keep(delivery, environment, settled=environment in self._rested):
                return TargetLook({}, _SOON_S)
        except WorldError:
            pass  # the step says so itself
        except SetpointError as error:
            fault = DeployReason(error.code, error.where or "enforceImages", error.what, error.fix, "problem")
        look = self._inner.advance(delivery, environment, found)
        rests = bool(look.apps) and all(one.health is Health.HEALTHY and not one.faults for one in look.apps.values())
        (self._rested.add if rests else self._rested.discard)(environment)
        if fault is None:
            return look
        return replace(look, apps={app: replace(one, faults=(*one.faults, fault)) for app, one in look.apps.items()})
