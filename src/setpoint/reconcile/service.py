"""Keeps every environment at its pins: finds what should run, has its target take a step, and journals what was seen; level-triggered.

Called by the control loop, one call per environment and pass. What is refused changes nothing: what was admitted before keeps running, and
the refusal is journalled with its reasons (laws 2 and 7).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from setpoint.core import clock, records
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile import decide
from setpoint.reconcile.effective import Effective, EffectivePins, Refused
from setpoint.reconcile.model import Deployment, DeployReason, Health
from setpoint.reconcile.ports import DeploymentRecords
from setpoint.reconcile.target import Observed, Target
from setpoint.reconcile.waiting import Waiting


@dataclass(frozen=True, slots=True)
class ReconcileParts:
    """What the reconciler works with."""

    delivery: DeliveryReader
    pins: EffectivePins
    target: Callable[[Delivery, str], Target]
    """(delivery, environment) -> where its applications run"""
    records: DeploymentRecords
    recorder: Recorder
    clock: clock.Clock
    adoptions: Callable[[Delivery, str], None] = lambda _delivery, _environment: None
    """Looks at what became of an environment's adoptions, before its target takes a step."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How often an environment was passed since the server started."""

    count: int = 0
    seconds: float = 0.0
    """All of them together."""


class ReconcileService:
    """The reconciler of one home."""

    def __init__(self, parts: ReconcileParts) -> None:
        self._parts = parts
        self.passes: dict[str, Passes] = {}
        """By environment, for metrics."""
        self._said: dict[tuple[str, str], tuple[Effective, Observed]] = {}
        """What was last found of (application, environment): what is the very same is no news."""

    def advance(self, environment: str) -> float | None:
        """Take an environment one step on; returns the seconds until the next look: none at all while something is on its way.

        None when only a change can be a reason to look.
        """
        delivery = self._parts.delivery.load()
        if delivery is None or environment not in delivery.environments:
            return None
        began, found, refused = time.monotonic(), dict[str, Effective](), list[Fact]()
        for app in delivery.apps_in(environment):
            effective = self._parts.pins.of(delivery, app, environment)
            if isinstance(effective, Refused):
                refused += self._refused(app, environment, effective.faults)
            elif effective is not None:
                found[app] = effective
        found, waiting = Waiting(self._parts.pins, self._parts.records).split(delivery, environment, found)
        for effective, why in waiting.values():
            refused += self._observe(effective, Observed(Health.PROGRESSING, why), begun=False)
        self._parts.recorder.record_all(refused)
        self._parts.adoptions(delivery, environment)
        look = self._parts.target(delivery, environment).advance(delivery, environment, found)
        self._parts.recorder.record_all([fact for app, seen in look.apps.items() for fact in self._observe(found[app], seen)])
        before = self.passes.get(environment, Passes())
        self.passes[environment] = Passes(before.count + 1, before.seconds + time.monotonic() - began)
        return look.again_s

    def _refused(self, app: str, environment: str, faults: tuple[DeployReason, ...]) -> Iterator[Fact]:
        """Yield that nothing may run; what ran stays known: the next pass may bring it up again."""
        seen = self._parts.records.deployment(app, environment)
        at = clock.to_text(self._parts.clock.now())
        refused = Deployment(app, environment, "", "", Health.MISSING, at, faults)
        if seen is not None and seen.pin_commit:
            refused = replace(seen, health=Health.DEGRADED, since=at, reasons=faults)
        self._said.pop((app, environment), None)
        yield from self._news(refused, seen)

    def _observe(self, effective: Effective, observed: Observed, *, begun: bool = True) -> Iterator[Fact]:
        """Yield how an application was seen, if that is news; one that was not begun has no pin yet, for nothing of it is there."""
        pin = effective.pin
        place = (pin.candidate.app, pin.candidate.environment)
        said = self._said.get(place)
        if said is not None and said[0] is effective and said[1] is observed:
            return  # it rests
        self._said[place] = (effective, observed)
        before = self._parts.records.deployment(pin.candidate.app, pin.candidate.environment)
        faults = (*effective.faults, *observed.faults)
        seen = Deployment(
            app=pin.candidate.app,
            environment=pin.candidate.environment,
            promotion=pin.promotion if begun else "",
            pin_commit=pin.commit if begun else "",
            health=Health.DEGRADED if faults else observed.health,
            since=clock.to_text(self._parts.clock.now()),
            reasons=(*faults, *observed.reasons),
            render=observed.render,
            artifacts={name: artifact.digest for name, artifact in pin.candidate.artifacts.items()} if begun else {},
            revision=pin.source_revision if begun else "",
            version=pin.version if begun else "",
            url=observed.url,
            replicas_ready=observed.ready,
            replicas_wanted=observed.wanted,
        )
        yield from self._news(seen, before)

    @staticmethod
    def _news(seen: Deployment, before: Deployment | None) -> Iterator[Fact]:
        """Yield an observation that tells a person something new; `since` stays while health and pin stay."""
        if before is not None and before.health is seen.health and before.pin_commit == seen.pin_commit:
            seen = replace(seen, since=before.since)
        if before is None or not decide.same_observation(before, seen):
            yield Fact("deployment.observed", f"{seen.app}/{seen.environment}", "setpoint", records.encode(seen))
