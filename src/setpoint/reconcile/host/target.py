"""The host runtime as a target: addresses, prune, drift, Jobs and rollouts of one environment, one step a pass.

Called by the reconcile service through its port; what runs, and the proxy that leads to it, are the adapters' behind rollout and runtime.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock
from setpoint.core.errors import SetpointError
from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile import claims, decide
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import DeployReason, DesiredState, Health, Identity, Release, Route
from setpoint.reconcile.ports import DeploymentRecords, JobRuns, JobStatus, WorkloadRollout, WorkloadStatus
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.strategy import canary_plan
from setpoint.reconcile.target import Observed, TargetLook

_RETRY_S = 1.0
"""How soon to look again at what is not well."""


@dataclass(frozen=True, slots=True)
class HostParts:
    """What the host's environments are kept with."""

    delivery: DeliveryReader
    rendering: Rendering
    rollout: WorkloadRollout
    jobs: JobRuns
    records: DeploymentRecords
    clock: clock.Clock
    drift: DriftService
    prune: PruneService
    served: Callable[[str], Sequence[tuple[str, Route]]]
    """environment -> (application, route) that its proxy was told last"""


class HostTarget:
    """The machine that Setpoint runs on."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Take one step towards what should run (see the port)."""
        parts, listen = self._parts, _listen(delivery, environment)
        url = f"http://{listen}/"
        kept, seen = self._kept(delivery, found, url)
        states, problems = claims.settle({app: one.desired for app, one in kept.items()}, parts.served(environment))
        releases = [self._release(delivery, environment, replace(e, desired=states[app])) for app, e in kept.items()]
        retiring = parts.prune.retiring(delivery, environment)
        try:
            parts.drift.look(environment, delivery.environment(environment).drift.mode, [release.desired for release in releases])
            jobs = parts.jobs.advance(environment, [*releases, *retiring])
            statuses = parts.rollout.advance(environment, listen, [*releases, *retiring])
        except SetpointError as error:
            for app, effective in kept.items():
                fault = DeployReason(error.code, error.where or f"{app} in {environment}", error.what, error.fix, "problem")
                seen[app] = self._observed(effective, [], (fault,), url)
            return TargetLook(seen, _RETRY_S)
        for app, effective in kept.items():
            seen[app] = self._observed(effective, statuses.get(app, []), problems[app], url, jobs.get(app, []))
            parts.prune.done(effective.pin, effective.desired)
        for release in retiring:
            parts.prune.retired(release)
        if retiring or not all(_calm(statuses.get(app, [])) for app in kept if _health(seen[app], kept[app]) is Health.PROGRESSING):
            return TargetLook(seen, 0.0)
        well = all(_health(seen[app], e) is Health.HEALTHY for app, e in kept.items()) and not any(e.faults for e in kept.values())
        return TargetLook(seen, decide.next_look_s([e.desired for e in kept.values()]) if well else _RETRY_S)

    def _kept(self, delivery: Delivery, found: Mapping[str, Effective], url: str) -> tuple[dict[str, Effective], dict[str, Observed]]:
        """Return what should run together with what must not be removed, and what is told of who is left alone."""
        kept: dict[str, Effective] = {}
        left: dict[str, Observed] = {}
        for app, effective in found.items():
            desired = _hasty(effective.desired) if effective.held else effective.desired
            strange = sorted(name for name in self._parts.prune.inventory(app, desired.environment).objects if name.count("/") == 3)
            if strange:
                where = f"target of {desired.environment}"
                what = (
                    f"the target changed, and {', '.join(strange[:5])} of before is still in its cluster: nothing is done until it is gone"
                )
                fix = "name the old target again, and begin an environment of another name for the new one"
                left[app] = self._observed(effective, [], (DeployReason("TARGET_CHANGED", where, what, fix, "problem"),), url)
                continue
            try:
                desired, notes = self._parts.prune.keep(delivery, effective.pin, desired, whole=not effective.faults)
                kept[app] = replace(effective, desired=desired, notes=(*effective.notes, *notes))
            except SetpointError as error:
                fault = DeployReason(error.code, error.where or "prune", error.what, error.fix, "problem")
                left[app] = self._observed(effective, [], (fault,), url)
        return kept, left

    def _release(self, delivery: Delivery, environment: str, effective: Effective) -> Release:
        """Return what the rollout is handed: a rollback goes back at once, everything else as the environment declares."""
        pin = effective.pin
        promotion = self._parts.records.promotion(pin.promotion)
        config = delivery.environment(environment).rollout.canary
        back = effective.held or (promotion is not None and promotion.kind == "rollback")
        canary = canary_plan(config) if config is not None and not back else None
        release = Release(effective.desired, _identity(pin), pin.commit, canary)
        commit = self._parts.rollout.stable_pin(pin.candidate.app, environment)
        if not commit or commit == pin.commit:
            return release
        try:
            stable = self._parts.delivery.pin_at(delivery.repository, commit, environment, pin.candidate.app)
            desired = self._parts.rendering.desired(stable.candidate, delivery.repository) if stable is not None else None
        except SetpointError:
            return release  # without it nothing is split; a split that goes on remembers it, or says what is missing
        return (
            replace(release, stable=Release(desired, _identity(stable), commit)) if stable is not None and desired is not None else release
        )

    def _observed(
        self,
        effective: Effective,
        statuses: Sequence[WorkloadStatus],
        faults: tuple[DeployReason, ...],
        url: str,
        jobs: Sequence[JobStatus] = (),
    ) -> Observed:
        """Judge an application's health and return what its replicas and Jobs say of it."""
        pin, desired = effective.pin, effective.desired
        before = self._parts.records.deployment(pin.candidate.app, pin.candidate.environment)
        same_pin = before if before is not None and before.pin_commit == pin.commit else None
        deadline_s = max((workload.progress_deadline_s for workload in desired.workloads), default=600.0)
        health, reasons = decide.judge(statuses, same_pin, deadline_s, self._parts.clock.now(), jobs)
        if not statuses and desired.workloads:
            health, reasons = Health.DEGRADED, ()
        return Observed(
            health,
            (*effective.notes, *reasons),
            faults,
            url if desired.routes else "",
            sum(status.ready for status in statuses),
            sum(workload.replicas for workload in desired.workloads),
            desired.digest,
        )


def _listen(delivery: Delivery, environment: str) -> str:
    host = delivery.environment(environment).target.host
    assert host is not None, "an environment of another target"  # noqa: S101 - the service chooses the target by the same key
    return host.listen


def _health(observed: Observed, effective: Effective) -> Health:
    return Health.DEGRADED if observed.faults or effective.faults else observed.health


def _hasty(desired: DesiredState) -> DesiredState:
    """Sent back: all of the target's replicas may start at once."""
    workloads = tuple(replace(workload, max_surge=max(workload.max_surge, workload.replicas)) for workload in desired.workloads)
    return replace(desired, workloads=workloads)


def _calm(statuses: Sequence[WorkloadStatus]) -> bool:
    """Say whether what is on its way needs no hurry: a Job or a step of a rollout takes its time."""
    return decide.is_settled(statuses) or any(status.pace == "holding" for status in statuses)


def _identity(pin: Pin) -> Identity:
    return Identity(pin.candidate.app, pin.candidate.environment, pin.source_revision, "", pin.promotion, pin.version)
