"""A target whose environments' pods are looked at too: around each pass of the cluster, with what is to be said of them.

Made by wiring around the cluster's target. A cluster whose pods may not be read, or that does not answer, is told by `status`; the pass
itself goes on.
"""

from collections.abc import Mapping
from dataclasses import replace

from setpoint.core.errors import SetpointError
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import Health
from setpoint.reconcile.pods.service import PodService
from setpoint.reconcile.target import Target, TargetLook


class TargetWithPods:
    """A target (see the port) that tells of pods."""

    def __init__(self, inner: Target, pods: PodService) -> None:
        self._inner = inner
        self._pods = pods

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Take one step (see the port), and say of each application which of its pods no pin names."""
        pins = {app: effective.pin for app, effective in found.items()}
        try:
            self._pods.begin(delivery, environment, pins)
        except SetpointError:
            return self._inner.advance(delivery, environment, found)  # it says so itself
        look = self._inner.advance(delivery, environment, found)
        well = [app for app, one in look.apps.items() if one.health is Health.HEALTHY and not one.faults]
        said = self._pods.end(delivery, environment, pins, well)
        told = {app: replace(look.apps[app], reasons=(*look.apps[app].reasons, *more)) for app, more in said.items() if more}
        return replace(look, apps={**look.apps, **told}) if told else look
