"""Keeps every environment at its pins: fetch, render the pinned trees, admit, step, judge health; level-triggered and without memory.

Called by the control loop, one call per environment and pass. What is refused changes nothing: what was admitted before keeps running, and
the refusal is journalled with its reasons (laws 2 and 7).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock, records
from setpoint.core.errors import SetpointError, UserError
from setpoint.core.reasons import Outcome
from setpoint.ground.hold.model import Hold
from setpoint.ground.hold.service import Holds
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile import claims, decide
from setpoint.reconcile.admission import Admission
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.model import Deployment, DeployReason, DesiredState, Health, Identity, Release, Route
from setpoint.reconcile.ports import DeploymentRecords, JobRuns, JobStatus, WorkloadRollout, WorkloadStatus
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.strategy import canary_plan

_RETRY_S = 1.0
"""How soon to look again at what is not well."""


@dataclass(frozen=True, slots=True)
class ReconcileParts:
    """What the reconciler works with."""

    delivery: DeliveryReader
    admission: Admission
    rendering: Rendering
    rollout: WorkloadRollout
    jobs: JobRuns
    records: DeploymentRecords
    holds: Holds
    recorder: Recorder
    clock: clock.Clock
    drift: DriftService
    prune: PruneService
    served: Callable[[str], Sequence[tuple[str, Route]]]
    """environment -> (application, route) that its proxy was told last"""


@dataclass(frozen=True, slots=True)
class _Effective:
    """The pin that is to run, its desired state, and what stands against the pin at HEAD."""

    pin: Pin
    desired: DesiredState
    faults: tuple[DeployReason, ...]
    notes: tuple[DeployReason, ...] = ()
    """What is to be said of it and is no fault: that a rollback's hold overrides HEAD."""


class ReconcileService:
    """The reconciler of one home."""

    def __init__(self, parts: ReconcileParts) -> None:
        self._parts = parts

    def advance(self, environment: str) -> float | None:
        """Take an environment one step on; returns the seconds until the next look: none at all while something is on its way.

        None when only a change can be a reason to look.
        """
        delivery = self._parts.delivery.load()
        if delivery is None or environment not in delivery.environments:
            return None
        listen = delivery.environment(environment).target.host.listen
        found: dict[str, _Effective] = {}
        for app in delivery.setpoint.apps:
            effective = self._effective(delivery, app, environment)
            if effective is not None:
                found[app] = effective
        found, left = self._kept(delivery, found)
        url = f"http://{listen}/"
        for effective in left:
            self._observe(effective, [], effective.faults, url)
        states, problems = claims.settle({app: one.desired for app, one in found.items()}, self._parts.served(environment))
        releases = [self._release(delivery, environment, replace(e, desired=states[app])) for app, e in found.items()]
        retiring = self._parts.prune.retiring(delivery, environment)
        try:
            self._parts.drift.look(environment, delivery.environment(environment).drift.mode, [release.desired for release in releases])
            jobs = self._parts.jobs.advance(environment, [*releases, *retiring])
            statuses = self._parts.rollout.advance(environment, listen, [*releases, *retiring])
        except SetpointError as error:
            for app, effective in found.items():
                fault = DeployReason(error.code, error.where or f"{app} in {environment}", error.what, error.fix, "problem")
                self._observe(effective, [], (*effective.faults, fault), url)
            return _RETRY_S
        seen = {
            app: self._observe(e, statuses.get(app, []), (*e.faults, *problems[app]), url, jobs.get(app, [])) for app, e in found.items()
        }
        for effective in found.values():
            self._parts.prune.done(effective.pin, effective.desired)
        for release in retiring:
            self._parts.prune.retired(release)
        on_its_way = [statuses.get(app, []) for app, health in seen.items() if health is Health.PROGRESSING]
        if retiring or not all(_calm(rows) for rows in on_its_way):
            return 0.0
        well = all(health is Health.HEALTHY for health in seen.values()) and not any(e.faults for e in found.values())
        return decide.next_look_s([e.desired for e in found.values()]) if well else _RETRY_S

    def _kept(self, delivery: Delivery, found: Mapping[str, _Effective]) -> tuple[dict[str, _Effective], list[_Effective]]:
        """Return what should run together with what must not be removed, and who is left alone, for that cannot be found out."""
        kept: dict[str, _Effective] = {}
        left: list[_Effective] = []
        for app, effective in found.items():
            try:
                desired, notes = self._parts.prune.keep(delivery, effective.pin, effective.desired, whole=not effective.faults)
                kept[app] = replace(effective, desired=desired, notes=(*effective.notes, *notes))
            except SetpointError as error:
                fault = DeployReason(error.code, error.where or "prune", error.what, error.fix, "problem")
                left.append(replace(effective, faults=(*effective.faults, fault)))
        return kept, left

    def _release(self, delivery: Delivery, environment: str, effective: _Effective) -> Release:
        """Return what the rollout is handed: a rollback goes back at once, everything else as the environment declares."""
        pin = effective.pin
        promotion = self._parts.records.promotion(pin.promotion)
        config = delivery.environment(environment).rollout.canary
        held = any(note.code == "HELD" for note in effective.notes)
        back = held or (promotion is not None and promotion.kind == "rollback")
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

    def _effective(self, delivery: Delivery, app: str, environment: str) -> _Effective | None:
        """Return what should run: a rollback's target, the pin at HEAD when it is admitted and renders, or what was admitted before."""
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
                return _Effective(pin, self._parts.rendering.desired(pin.candidate, delivery.repository), ())
            faults = tuple(DeployReason(r.code, r.subject, r.found, r.fix, "problem") for r in verdict.blocking())
        except SetpointError as error:
            faults = (DeployReason(error.code, error.where or "pin", error.what, error.fix, "problem"),)
        return self._before(delivery, app, environment, faults)

    def _held(self, delivery: Delivery, app: str, environment: str) -> _Effective | None:
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
        # Sent back in haste: all of the target's replicas may start at once, however carefully the bad release came in.
        hasty = tuple(replace(workload, max_surge=max(workload.max_surge, workload.replicas)) for workload in desired.workloads)
        return _Effective(pin, replace(desired, workloads=hasty), (), (_overridden(hold, pin),))

    def _gone(self, app: str, environment: str) -> tuple[DeployReason, ...]:
        """Return what to say when there is no pin: nothing, unless something was deployed (a deleted pin prunes nothing, law 7)."""
        if self._parts.records.deployment(app, environment) is None:
            return ()
        fix = "restore the pin from the last commit signed by Setpoint; deleting it by hand removes nothing"
        return (DeployReason("PIN_MISSING", f"{app} in {environment}", "its pin was deleted by hand", fix, "problem"),)

    def _before(self, delivery: Delivery, app: str, environment: str, faults: tuple[DeployReason, ...]) -> _Effective | None:
        """Return the last admitted pin as what should run; without one, journal the refusal and leave everything as it is."""
        seen = self._parts.records.deployment(app, environment)
        if seen is not None and seen.pin_commit:
            try:
                pin = self._parts.delivery.pin_at(delivery.repository, seen.pin_commit, environment, app)
                if pin is not None and self._parts.admission.still_holds(delivery.repository, pin).outcome is Outcome.ALLOW:
                    return _Effective(pin, self._parts.rendering.desired(pin.candidate, delivery.repository), faults)
            except SetpointError as error:
                faults = (*faults, DeployReason(error.code, error.where or "pin", error.what, error.fix, "problem"))
        if faults:
            at = clock.to_text(self._parts.clock.now())
            refused = Deployment(app, environment, "", "", Health.MISSING, at, faults)
            if seen is not None and seen.pin_commit:
                # What ran stays known: the next pass may bring it up again.
                refused = replace(seen, health=Health.DEGRADED, since=at, reasons=faults)
            self._journal(refused, seen)
        return None

    def _observe(
        self,
        effective: _Effective,
        statuses: Sequence[WorkloadStatus],
        faults: tuple[DeployReason, ...],
        url: str,
        jobs: Sequence[JobStatus] = (),
    ) -> Health:
        """Judge and journal an application's health and return what its replicas and Jobs say of it."""
        pin, desired = effective.pin, effective.desired
        before = self._parts.records.deployment(pin.candidate.app, pin.candidate.environment)
        same_pin = before if before is not None and before.pin_commit == pin.commit else None
        deadline_s = max((workload.progress_deadline_s for workload in desired.workloads), default=600.0)
        now = self._parts.clock.now()
        health, reasons = decide.judge(statuses, same_pin, deadline_s, now, jobs)
        if not statuses and desired.workloads:
            health, reasons = Health.DEGRADED, ()
        seen = Deployment(
            app=pin.candidate.app,
            environment=pin.candidate.environment,
            promotion=pin.promotion,
            pin_commit=pin.commit,
            health=Health.DEGRADED if faults else health,
            since=clock.to_text(now),
            reasons=(*faults, *effective.notes, *reasons),
            render=desired.digest,
            artifacts={name: artifact.digest for name, artifact in pin.candidate.artifacts.items()},
            revision=pin.source_revision,
            version=pin.version,
            url=url if desired.routes else "",
            replicas_ready=sum(status.ready for status in statuses),
            replicas_wanted=sum(workload.replicas for workload in desired.workloads),
        )
        self._journal(seen, before)
        return health

    def _journal(self, seen: Deployment, before: Deployment | None) -> None:
        """Journal an observation that tells a person something new; `since` stays while health and pin stay."""
        if before is not None and before.health is seen.health and before.pin_commit == seen.pin_commit:
            seen = replace(seen, since=before.since)
        if before is None or not decide.same_observation(before, seen):
            self._parts.recorder.record("deployment.observed", f"{seen.app}/{seen.environment}", "setpoint", records.encode(seen))


def _calm(statuses: Sequence[WorkloadStatus]) -> bool:
    """Say whether what is on its way needs no hurry: a Job or a step of a rollout takes its time."""
    return decide.is_settled(statuses) or any(status.pace == "holding" for status in statuses)


def _overridden(hold: Hold, pin: Pin) -> DeployReason:
    found = f"{pin.version or pin.promotion} serves by {hold.promotion}; pin commit {hold.overridden[:12]} is overridden"
    return DeployReason("HELD", hold.hold, found)


def _identity(pin: Pin) -> Identity:
    return Identity(pin.candidate.app, pin.candidate.environment, pin.source_revision, "", pin.promotion, pin.version)
