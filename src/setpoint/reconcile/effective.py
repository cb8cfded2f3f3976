"""Finds what should run: a rollback's target, the pin at HEAD when it is admitted and renders, or what was admitted before.

Called by the reconcile service for every application on every pass, whatever its target. It changes nothing, and reads what runs from
the records only (laws 2 and 7).
"""

from dataclasses import dataclass
from typing import Protocol

from setpoint.core import clock
from setpoint.core.errors import SetpointError, UserError
from setpoint.core.reasons import Outcome
from setpoint.ground.hold.model import Hold
from setpoint.ground.hold.service import Holds
from setpoint.promotion.inputs import ChangeRecords, Inputs, Rest, rest
from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile.admission import Admission
from setpoint.reconcile.model import DeployReason, DesiredState
from setpoint.reconcile.ports import DeploymentRecords
from setpoint.reconcile.rendering import Rendering
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class Effective:
    """The pin that is to run, its desired state, and what stands against the pin at HEAD."""

    pin: Pin
    desired: DesiredState
    """On the host; nothing of an application that runs elsewhere."""
    faults: tuple[DeployReason, ...]
    notes: tuple[DeployReason, ...] = ()
    """What is to be said of it and is no fault: that a rollback's hold overrides HEAD."""
    held: bool = False
    """It was sent back by a rollback's hold: in haste, however carefully the bad release came in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may run: no pin of the application was ever admitted, or none renders any more."""

    faults: tuple[DeployReason, ...]


class EffectiveRecords(DeploymentRecords, ChangeRecords, Protocol):
    """Deployments, and how far the journal is, as its projection tells."""


@dataclass(frozen=True, slots=True)
class EffectiveParts:
    """What is read to find it."""

    delivery: DeliveryReader
    admission: Admission
    rendering: Rendering
    records: EffectiveRecords
    holds: Holds
    git: GitStore
    clock: clock.Clock


class EffectivePins:
    """What should run of one home."""

    def __init__(self, parts: EffectiveParts) -> None:
        self._parts = parts
        self._inputs: dict[str, Inputs] = {}
        """environment -> what its last pass rested on"""
        self._rests: dict[tuple[str, str], tuple[Rest, Effective | None]] = {}
        """(application, environment) -> what should run, where nothing stood against it, and how long that stands"""

    def of(self, delivery: Delivery, app: str, environment: str) -> Effective | Refused | None:
        """Return what should run of an application; None when it was never there and nothing stands against that.

        It is found out again when something changed that it rests on, and at least every minute; what is refused at every look.
        """
        on, now = self._inputs_of(delivery, environment).of(app, environment), self._parts.clock.now()
        rested = self._rests.get((app, environment))
        if rested is not None and rested[0].holds(on, now):
            return rested[1]
        self._rests.pop((app, environment), None)
        found = self._now(delivery, app, environment)
        if not isinstance(found, Refused) and (found is None or not found.faults):
            self._rests[app, environment] = (rest(on, now), found)
        return found

    def before(self, delivery: Delivery, app: str, environment: str) -> Effective | None:
        """Return what was admitted there before and still may run; None when nothing was."""
        found = self._before(delivery, app, environment, ())
        return found if isinstance(found, Effective) else None

    def _inputs_of(self, delivery: Delivery, environment: str) -> Inputs:
        inputs = self._inputs.get(environment)
        if inputs is None or inputs.delivery is not delivery:
            inputs = Inputs(delivery, self._parts.delivery, self._parts.git, self._parts.records)
            self._inputs[environment] = inputs
        return inputs

    def _now(self, delivery: Delivery, app: str, environment: str) -> Effective | Refused | None:
        faults: tuple[DeployReason, ...]
        try:
            held = self._held(delivery, app, environment)
            if held is not None:
                return held
            pin = self._parts.delivery.pin(delivery, environment, app)
            if pin is None:
                return self._before(delivery, app, environment, self._gone(app, environment))
            verdict = self._parts.admission.admit(delivery.repository, pin)
            if verdict.outcome is Outcome.ALLOW:
                return Effective(pin, self._parts.rendering.desired(pin.candidate, delivery.repository), ())
            faults = tuple(DeployReason(r.code, r.subject, r.found, r.fix, "problem") for r in verdict.blocking())
        except SetpointError as error:
            faults = (DeployReason(error.code, error.where or "pin", error.what, error.fix, "problem"),)
        return self._before(delivery, app, environment, faults)

    def _held(self, delivery: Delivery, app: str, environment: str) -> Effective | None:
        """Return the target of an open rollback hold, while HEAD still has the pin commit that it overrides.

        Raises:
            UserError: the target may not return (SP650), or does not render.
        """
        parts = self._parts
        if not any(hold.kind == "rollback" for hold in parts.holds.open_ones(app, environment)):
            return None
        hold = parts.holds.rollback(app, environment, parts.delivery.pin_commit(delivery, environment, app))
        if hold is None:
            return None
        pin = parts.delivery.pin_at(delivery.repository, hold.target, environment, app)
        refused = parts.admission.returns(delivery.repository, pin).blocking() if pin is not None else ()
        if pin is None or refused:
            why = "; ".join(reason.found for reason in refused) or "its pin is gone"
            fix = f"setpoint rollback {app} {environment} --to VERSION chooses another"
            raise UserError("SP650", f"what the rollback brings back may not run: {why}", where=hold.hold, fix=fix)
        desired = parts.rendering.desired(pin.candidate, delivery.repository)
        return Effective(pin, desired, (), (_overridden(hold, pin),), held=True)

    def _gone(self, app: str, environment: str) -> tuple[DeployReason, ...]:
        """Return what to say when there is no pin: nothing, unless something was deployed (a deleted pin prunes nothing, law 7)."""
        if self._parts.records.deployment(app, environment) is None:
            return ()
        fix = "restore the pin from the last commit signed by Setpoint; deleting it by hand removes nothing"
        return (DeployReason("PIN_MISSING", f"{app} in {environment}", "its pin was deleted by hand", fix, "problem"),)

    def _before(self, delivery: Delivery, app: str, environment: str, faults: tuple[DeployReason, ...]) -> Effective | Refused | None:
        """Return the last admitted pin as what should run; without one, the refusal: everything is left as it is."""
        seen = self._parts.records.deployment(app, environment)
        if seen is not None and seen.pin_commit:
            try:
                pin = self._parts.delivery.pin_at(delivery.repository, seen.pin_commit, environment, app)
                if pin is not None and self._parts.admission.still_holds(delivery.repository, pin).outcome is Outcome.ALLOW:
                    return Effective(pin, self._parts.rendering.desired(pin.candidate, delivery.repository), faults)
            except SetpointError as error:
                faults = (*faults, DeployReason(error.code, error.where or "pin", error.what, error.fix, "problem"))
        return Refused(faults) if faults else None


def _overridden(hold: Hold, pin: Pin) -> DeployReason:
    found = f"{pin.version or pin.promotion} serves by {hold.promotion}; pin commit {hold.overridden[:12]} is overridden"
    return DeployReason("HELD", hold.hold, found)
