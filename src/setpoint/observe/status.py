"""The matrix and `why`: joins pins, deployments and open promotions; the reasons are the gates' own (law 6).

Called by the API; computes nothing that a stage has not decided.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from setpoint.core import clock, digest, names
from setpoint.core.errors import ConfigError, NotFoundError, UserError
from setpoint.core.reasons import Outcome, Reason
from setpoint.ground.hold.decide import words as hold_words
from setpoint.ground.hold.model import Hold
from setpoint.observe import generators, rollouts
from setpoint.observe.model import Cell, Need, RolloutReport, Status, Waiting, Why
from setpoint.observe.pods import NoPods, PodLooks
from setpoint.observe.ports import Facts
from setpoint.pipeline.model import Run, TaskState
from setpoint.promotion.explaining import Explanation
from setpoint.promotion.model import Promotion
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.reconcile.drift import decide as drift
from setpoint.reconcile.drift.model import Drift
from setpoint.reconcile.model import Deployment, DeployReason, Health
from setpoint.reconcile.pods.decide import strangers as pod_reasons
from setpoint.reconcile.pods.model import Strangers
from setpoint.reconcile.prune.model import Prunable
from setpoint.rollout.model import Rollout

_DRIFTS: Final = 1000
_LOOKS: Final = 3
"""How often a place is read again when entries come in between; then it is told as it was found."""

_ASKS: Final = ("NODATA", "PRUNE_OVER_BUDGET")
"""Reasons of the reconciler that wait for a person although nothing is wrong: a canary held for want of traffic, removals over budget."""
_SETTLED: Final = ("READY", "JOB_COMPLETE", "LIMITS_NOT_ENFORCED", "FIELD_IGNORED", "IGNORE_MEANS_NOTHING")
"""Reasons of the reconciler that nothing waits for."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of an application in an environment, as of one moment."""

    app: str
    environment: str
    explanation: Explanation
    seen: Deployment | None
    rollout: Rollout | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What is told beside the records."""

    orphans: Callable[[Delivery], Sequence[Prunable]] = lambda _delivery: ()
    """What runs of applications that the delivery repository no longer has."""
    room: Callable[[], str] = lambda: ""
    """What a person should know about the disk; empty when there is enough."""
    pods: PodLooks = field(default_factory=NoPods)
    """What runs in clusters."""


class StatusView:
    """Answers `status` and `why`."""

    def __init__(
        self,
        reader: DeliveryReader,
        promotions: PromotionService,
        facts: Facts,
        version: Callable[[], int] = lambda: 0,
        beside: "Beside | None" = None,
    ) -> None:
        """Version grows with every journal entry."""
        self._beside = beside or Beside()
        self._reader = reader
        self._promotions = promotions
        self._facts = facts
        self._version = version

    def status(self, app: str | None = None) -> Status:
        """Return the matrix, of one application or all."""
        found, full = self._matrix(app), self._beside.room()
        return replace(found, needs=(*found.needs, Need(full, "setpoint gc"))) if full else found

    def _matrix(self, app: str | None) -> Status:
        runs = self._runs()
        try:
            delivery = self._reader.load()
        except ConfigError as error:
            faults = tuple(Reason(f.code, Outcome.DENY, f.place, f.what, "", f.fix) for f in error.findings)
            return Status("", (), (), (), runs, tuple(self._lost(runs)), faults)
        except UserError as error:
            fault = Reason(error.code, Outcome.DENY, error.where or "the delivery repository", error.what, "", error.fix)
            return Status("", (), (), (), runs, tuple(self._lost(runs)), (fault,))
        if delivery is None:
            absent = self._reader.absent()
            if absent.where:
                fault = Reason(absent.code, Outcome.DENY, absent.where, absent.what, "", absent.fix)
                return Status("", (), (), (), runs, tuple(self._lost(runs)), (fault,))
            need = Need("no delivery repository is registered", "setpoint init --example hello, or setpoint init --delivery NAME")
            return Status("", (), (), (), runs, (need, *self._lost(runs)))
        if app is not None:
            delivery.check_app(app)
        apps = tuple(name for name in delivery.setpoint.apps if app in (None, name))
        environments = tuple(delivery.ordered())
        explain = self._promotions.explaining(delivery)
        drifts = _by_place(self._facts.drifts(ended=False, limit=_DRIFTS))
        rows = [self._cell(self._look(explain, name, place)) for name in apps for place in environments if delivery.runs(name, place)]
        groups = {place: self._beside.pods.groups(place) for place in environments}
        cells = tuple(replace(one, drift=len(_of(drifts, one)), pods=groups[one.environment].get(one.app, ())) for one in rows)
        needs = tuple(
            dict.fromkeys([*self._lost(runs), *(need for cell in cells for need in (*_needs(cell), *_left_alone(cell, _of(drifts, cell))))])
        )
        orphans = tuple(one for one in self._beside.orphans(delivery) if app in (None, one.app))
        ends = {name for name, one in delivery.generated.previews.items() if one.life.ended}
        asked = (one for one in orphans if one.environment not in ends)  # a preview that ends needs nobody's word
        needs += (*(_orphaned(one, environments) for one in asked), *generators.needs(delivery))
        strangers, made = self._beside.pods.strangers(environments), tuple(generators.reports(delivery))
        shown = tuple(generators.previews(delivery))
        return Status(delivery.repository, apps, environments, cells, runs, needs, delivery.pending, orphans, strangers, made, shown)

    def _lost(self, runs: tuple[Run, ...]) -> list[Need]:
        """Return what only a person can say: whether tasks that must not run twice happened."""
        return [
            Need(
                f"{run.repository}: {result.task} of run {run.run} is lost: {result.reason}",
                f"setpoint resolve {run.run} {result.task} (--passed, --failed or --again, with -m and how you know)",
            )
            for run in runs
            if run.lost
            for result in self._facts.results(run.run)
            if result.state is TaskState.LOST
        ]

    def _runs(self) -> tuple[Run, ...]:
        newest: dict[str, Run] = {}
        for run in self._facts.runs(limit=200):
            newest.setdefault(run.repository, run)
        every = {run.run: run for run in [*newest.values(), *self._facts.open_runs()]}
        return tuple(every.values())

    def _look(self, explain: Callable[[str, str], Explanation], app: str, environment: str) -> _Place:
        """Return what is known of a place as of one moment: read again, when an entry came in between."""
        for _ in range(_LOOKS):
            version = self._version()
            explanation = explain(app, environment)
            seen, rollout = self._facts.deployment(app, environment), self._facts.rollout(app, environment)
            if self._version() == version:
                break
        return _Place(app, environment, explanation, seen, rollout)

    @staticmethod
    def _cell(place: _Place) -> Cell:
        app, environment, explanation, seen = place.app, place.environment, place.explanation, place.seen
        waiting = None
        if explanation.promotion is not None:
            promotion, verdict = explanation.promotion, explanation.verdict
            waiting = Waiting(
                promotion.promotion,
                promotion.version,
                promotion.source_revision,
                verdict.outcome,
                verdict.blocking(),
                promotion.configuration,
            )
        if seen is None or (not seen.pin_commit and explanation.pin is None):
            pinned = explanation.pin is not None
            health = Health.PROGRESSING if pinned else "empty"
            return Cell(app, environment, health, waiting=waiting, reasons=seen.reasons if seen else (), holds=explanation.holds)
        return replace(_running(seen, waiting, explanation), rollout=rollouts.short(place.rollout))

    def rollout(self, app: str, environment: str) -> RolloutReport:
        """Return where the newest rollout is, and whether the next one is about to begin.

        Raises:
            NotFoundError: application or environment is unknown, or nothing was rolled out there yet (SP658).
        """
        place = self._look(self._promotions.explain, app, environment)
        coming, found = _coming(place.seen, place.explanation), place.rollout
        if found is None:
            what, fix = f"nothing was rolled out yet: {app} in {environment}", f"setpoint why {app} {environment}"
            raise NotFoundError("SP658", what, fix=fix)
        return replace(rollouts.report(found), coming=coming)

    def why(self, app: str, environment: str) -> Why:
        """Return every reason for what an environment has, and what to do next.

        Raises:
            NotFoundError: application or environment is unknown.
        """
        delivery = self._reader.require(app, environment)
        place = self._look(self._promotions.explain, app, environment)
        explanation, rollout = place.explanation, place.rollout
        cell = self._cell(place)
        promotion = explanation.promotion
        approvals = tuple(self._facts.approvals(promotion.promotion)) if promotion else ()
        deploy = tuple(Reason(r.code, _outcome(r), r.subject, r.found, "", r.fix) for r in cell.reasons)
        drifts = self._facts.drifts(app, environment, ended=False, limit=_DRIFTS)
        cell = replace(cell, drift=len(drifts), pods=self._beside.pods.groups(environment).get(app, ()))
        about = (*_strange(self._beside.pods.strangers([environment])), *generators.reasons(delivery, app, environment))
        reasons = (*explanation.verdict.reasons, *deploy, *drift.reasons(drifts, app), *about, *delivery.pending)
        outcome = explanation.verdict.outcome if promotion else _outcome_of(cell, explanation)
        return Why(
            app=app,
            environment=environment,
            sentence=_sentence(cell, promotion),
            outcome=outcome,
            reasons=reasons,
            running=cell,
            promotion=promotion,
            approvals=approvals,
            next=_next(reasons),
            rollout=rollouts.report(rollout) if rollout is not None else None,
        )


def _strange(found: Sequence[Strangers]) -> Iterator[Reason]:
    """Yield what `why` says of pods in the environment's namespace that are nobody's of ours; nothing waits for them."""
    for one in found:
        where = f"namespace {one.namespace} of {one.cluster}"
        if one.unknown:
            since = f", since {clock.spoken(one.since)}" if one.since else ""
            yield Reason("PODS_UNKNOWN", Outcome.ALLOW, where, f"its pods cannot be looked at: {one.unknown}{since}")
        for reason in pod_reasons(one.groups, where):
            yield Reason(reason.code, Outcome.ALLOW, reason.subject, reason.found, "", reason.fix)


def _running(seen: Deployment, waiting: Waiting | None, explanation: Explanation) -> Cell:
    stale = _is_stale(seen, explanation)
    return Cell(
        app=seen.app,
        environment=seen.environment,
        health=Health.PROGRESSING if stale else seen.health,
        since=seen.since,
        version=seen.version,
        revision=seen.revision,
        promotion=seen.promotion,
        artifacts=dict(seen.artifacts),
        url=seen.url,
        replicas_ready=seen.replicas_ready,
        replicas_wanted=seen.replicas_wanted,
        reasons=seen.reasons,
        waiting=waiting,
        holds=explanation.holds,
    )


def _is_stale(seen: Deployment, explanation: Explanation) -> bool:
    """Whether the reconciler has not looked since the pin at HEAD became another one, or a rollback's hold overrode what it saw."""
    if any(hold.kind == "rollback" and hold.overridden == seen.pin_commit for hold in explanation.holds):
        return seen.health is Health.HEALTHY
    held = any(hold.kind == "rollback" and hold.target == seen.pin_commit for hold in explanation.holds)
    other = explanation.pin is not None and explanation.pin.commit != seen.pin_commit
    return other and not held and seen.health is Health.HEALTHY


def _coming(seen: Deployment | None, explanation: Explanation) -> str:
    """Return the version that gets in by itself and has no rollout yet: let in by its gates and not pinned, or pinned and not looked at."""
    promotion = explanation.promotion
    stands = [reason.code for reason in explanation.verdict.blocking()]
    if promotion is not None and promotion.kind != "rollback" and stands in ([], ["GIT_LAGS"]):
        return promotion.names
    if explanation.pin is not None and (seen is None or _is_stale(seen, explanation)):
        return explanation.pin.version
    return ""


def _outcome(reason: DeployReason) -> Outcome:
    """Return how a reason of the reconciler reads beside a gate's."""
    if reason.severity == "problem":
        return Outcome.DENY
    return Outcome.ALLOW if reason.code in _SETTLED else Outcome.WAIT


def _outcome_of(cell: Cell, explanation: Explanation) -> Outcome:
    if cell.health == Health.HEALTHY:
        return Outcome.ALLOW
    return Outcome.DENY if cell.health == Health.DEGRADED else explanation.verdict.outcome


def _needs(cell: Cell) -> list[Need]:
    """Return what a person can do about a cell: the fixes of its waiting and problem reasons that are commands."""
    needs = [_release(hold) for hold in cell.holds if hold.kind != "rollback"]
    place = f"{cell.app} in {cell.environment}"
    if cell.waiting is not None:
        for reason in cell.waiting.reasons:
            if reason.code in ("APPROVAL_MISSING", "APPROVAL_EXPIRED", "POLICY_FAILED", "RENDER_FAILED", "PROVENANCE_MISSING"):
                coming = names.candidate(cell.waiting.version, cell.waiting.configuration)
                what = f"{place}: {coming} waits for {reason.subject}: {reason.found}"
                needs.append(Need(what, reason.fix, cell.app, cell.environment, cell.waiting.promotion))
    for problem in cell.reasons:
        if problem.severity == "problem" or problem.code in _ASKS:
            needs.append(Need(f"{place}: {problem.subject}: {problem.found}", problem.fix, cell.app, cell.environment))
    return needs


def _release(hold: Hold) -> Need:
    until = f" until {clock.spoken(hold.until)}" if hold.until else ""
    if hold.kind == "break-glass":
        what = f"{hold_words(hold)}{until}: drift is not corrected; then: {hold.then}"
        return Need(what, hold.release, hold.app, hold.environment)
    return Need(f"{hold.place} is on hold{until} by {names.actor(hold.by)}: {hold.why}", hold.release, hold.app, hold.environment)


def _orphaned(one: Prunable, environments: Sequence[str]) -> Need:
    """Return the way out: an environment that is gone has no reconciler, so it has to come back first."""
    what = f"{one.app} in {one.environment} still runs: {one.held.why}"
    command = f"setpoint prune {one.app} {one.environment}" if one.environment in environments else "setpoint down"
    return Need(what, command, one.app, one.environment)


def _by_place(drifts: Sequence[Drift]) -> dict[tuple[str, str], list[Drift]]:
    found: dict[tuple[str, str], list[Drift]] = {}
    for one in drifts:
        found.setdefault((one.app, one.environment), []).append(one)
    return found


def _of(drifts: Mapping[tuple[str, str], list[Drift]], cell: Cell) -> list[Drift]:
    """Return the cases of an application, and those of its environment's proxy."""
    return [*drifts.get((cell.app, cell.environment), ()), *drifts.get(("", cell.environment), ())]


def _left_alone(cell: Cell, drifts: Sequence[Drift]) -> list[Need]:
    """Return what is only reported, for a person to decide about."""
    found = []
    for reason in drift.reasons(drifts, cell.app):
        if reason.fix:
            what = f"{cell.app} in {cell.environment}: drift of {reason.subject}: {reason.found}"
            found.append(Need(what, reason.fix, cell.app, cell.environment))
    return found


def _sentence(cell: Cell, promotion: Promotion | None) -> str:
    place = f"{cell.app} in {cell.environment}"
    what = f"{cell.version} ({digest.short(cell.revision)})" if cell.revision else cell.version
    runs = f"{place} runs {what}, {cell.health}" if cell.version else f"{place} runs nothing"
    if promotion is None:
        return f"{runs}."
    if promotion.kind == "rollback":
        return f"{runs}. It was rolled back to {promotion.version}, and Git does not say so yet."
    if promotion.configuration:
        same = " with an earlier configuration" if cell.version == promotion.version else ""
        return f"The {promotion.names} is NOT in {cell.environment} yet. {runs}{same}."
    source = f" ({digest.short(promotion.source_revision)})" if promotion.source_revision else ""
    return f"{promotion.version}{source} is NOT in {cell.environment} yet. {runs}."


def _next(reasons: tuple[Reason, ...]) -> str:
    for reason in reasons:
        if reason.outcome is not Outcome.ALLOW and reason.fix:
            return reason.fix
    for reason in reasons:
        if reason.outcome is not Outcome.ALLOW and reason.recheck_at:
            return f"nothing to do: decided again at {clock.spoken(reason.recheck_at)}"
    waits = any(reason.outcome is not Outcome.ALLOW for reason in reasons)
    return "nothing to do: it goes on by itself" if waits else "nothing to do"
