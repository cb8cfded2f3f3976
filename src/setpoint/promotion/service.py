"""The promotion service: proposes candidates, keeps promotions, takes decisions and people's words, and has pins written.

Called by the control loop (`advance`), by the API (`request`, `approve`, `rollback`, `lift`, `explain`) and by the rollout's bad verdicts
(`send_back`); the only writer of promotions. It never renders, probes or signs anything itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from setpoint.core import clock, ids, records
from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, SetpointError, WorldError
from setpoint.core.reasons import Outcome, Reason, Verdict
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.model import Fact
from setpoint.promotion import decide, propose
from setpoint.promotion.candidates import Candidates
from setpoint.promotion.explaining import Explanation, Explanations
from setpoint.promotion.inputs import Inputs, Rest, at_most_s, rest
from setpoint.promotion.model import Approval, Promotion, PromotionState, Quarantine
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.people import require_responsible
from setpoint.promotion.quarantining import Quarantining
from setpoint.promotion.repository import Delivery
from setpoint.promotion.rollback import AUTOMATIC, Rollbacks, SentBack, Wish, told
from setpoint.promotion.superseding import Superseding
from setpoint.promotion.verdicts import Verdicts


class PromotionService:
    """Promotions of the home's delivery repository; safe to call from several threads, one decision at a time."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts
        self._lock = parts.deciding
        self._rollbacks = Rollbacks(parts)
        self._superseding = Superseding(parts)
        self._candidates = Candidates(parts)
        self._quarantining = Quarantining(parts, self._candidates)
        self._verdicts = Verdicts(parts)
        self._explanations = Explanations(parts, self._candidates, self._verdicts)
        self._rests: dict[tuple[str, str], Rest] = {}
        """(app, environment) -> how long its last look stands"""

    # The loop

    def advance(self) -> float | None:
        """Take every application in every environment one step on; idempotent, so a killed pass is simply done again.

        Returns the seconds until time alone may change a verdict; None when only a change can.
        """
        with self._lock:
            delivery = self._parts.delivery.load()
            if delivery is None:
                return None
            self._rollbacks.close_ended(delivery)
            faults: list[SetpointError] = []
            # Rollbacks first: what a person sends back must not be pinned once more before.
            for promotion in sorted(self._parts.records.unfinished(), key=lambda p: p.kind != "rollback"):
                with _collected(faults):
                    self._go_on(promotion, delivery)
            inputs = self._parts.inputs(self._parts.delivery.load() or delivery)
            places = [(app, environment) for environment in delivery.ordered() for app in delivery.apps_in(environment)]
            for place in places:
                with _collected(faults):
                    inputs = self._look(inputs, place)
            if faults:
                raise faults[0]
            again = [self._rests[place].recheck_at for place in places if place in self._rests and self._rests[place].recheck_at]
            return max(0.0, (clock.from_text(min(again)) - self._parts.clock.now()).total_seconds()) if again else None

    def _look(self, inputs: Inputs, place: tuple[str, str]) -> Inputs:
        """Take a place one step on, unless all that its last look rested on is as it was; returns the inputs as of the newest head."""
        rested = self._rests.get(place)
        if rested is not None and rested.holds(inputs.of(*place), self._parts.clock.now()):
            return inputs
        self._rests.pop(place, None)
        inputs = inputs.renewed()
        on, now = inputs.of(*place), self._parts.clock.now()
        waits = self._advance_one(inputs, *place)
        if waits is None:
            self._rests[place] = rest(on, now)
        else:
            self._rests[place] = rest(on, now, waits.blocking(), at_most_s(inputs.delivery, place[1]))
        return inputs

    def _go_on(self, promotion: Promotion, delivery: Delivery) -> None:
        """Finish what an earlier pass began."""
        candidate = promotion.candidate
        promotion = self._parts.records.promotion(promotion.promotion) or promotion
        if promotion.state not in (PromotionState.OPEN, PromotionState.DECIDED):
            return  # a rollback of this very pass took its place
        if not delivery.runs(candidate.app, candidate.environment):
            self._superseding.end(promotion)
        elif promotion.kind == "rollback":
            self._roll_back(promotion, delivery)
        elif promotion.state is PromotionState.DECIDED:
            with self._explanations.noting_lag(promotion):
                self._act(promotion, delivery)

    def _advance_one(self, inputs: Inputs, app: str, environment: str) -> Verdict | None:
        """Take a place one step on; returns the verdict that what is open waits by."""
        delivery = inputs.delivery
        proposal = self._candidates.next(delivery, app, environment)
        promotion = self._ensure(delivery, proposal, "setpoint", "") if proposal.candidate is not None else self._open(app, environment)
        if promotion is None or promotion.kind != "advance" or promotion.state is not PromotionState.OPEN:
            return None
        if proposal.candidate is None:
            self._superseding.end(promotion)
            return None
        verdict = self._verdicts.take(promotion, inputs)
        if verdict.outcome is Outcome.WAIT:
            return verdict
        for approval in self._parts.records.approvals(promotion.promotion):
            # Attached already, unless a crash came between the approval's entry and its statement.
            if approval.binding == promotion.binding:
                self._parts.evidence.attach_approval(promotion.promotion, approval.email)
        state = PromotionState.DECIDED if verdict.outcome is Outcome.ALLOW else PromotionState.DENIED
        self._settle(promotion, verdict, state)
        if state is PromotionState.DECIDED:
            with self._explanations.noting_lag(promotion):
                self._act(promotion, self._parts.delivery.load() or delivery)
        return None

    def _settle(self, promotion: Promotion, verdict: Verdict, state: PromotionState) -> None:
        body = {"state": state.value, "verdict": records.encode(verdict)}
        self._parts.recorder.record("promotion.decided", promotion.promotion, "setpoint", body)
        self._parts.evidence.attach_promotion(promotion.promotion)

    def _act(self, promotion: Promotion, delivery: Delivery) -> None:
        """Write the pin of a decided promotion, unless HEAD or the policy moved on since: then it is decided anew (law 3)."""
        if self._parts.pinning.commit_of(promotion, delivery) is not None:
            self._parts.pinning.pin(promotion, delivery)
        elif not self._candidates.is_current(promotion, delivery):
            self._superseding.end(promotion)
        elif not self._parts.holds.stops(promotion.candidate.app, promotion.candidate.environment):
            self._parts.pinning.pin(promotion, delivery)

    def _open(self, app: str, environment: str) -> Promotion | None:
        return next((p for p in self._superseding.unfinished(app, environment) if p.state is PromotionState.OPEN), None)

    def _ensure(self, delivery: Delivery, proposal: propose.Proposal, actor: str, note: str, *, again: bool = False) -> Promotion | None:
        """Return the unfinished promotion of the proposed candidate, creating it and superseding what it replaces.

        A candidate that was denied is not asked again by itself; `again` is a person asking.
        """
        candidate = proposal.candidate
        if candidate is None:
            return None
        binding = self._parts.gatherer.binding(candidate, delivery)
        for current in self._superseding.unfinished(candidate.app, candidate.environment):
            if current.candidate == candidate and current.binding == binding:
                self._superseding.older(current)
                return current
        history = self._parts.records.promotions(candidate.app, candidate.environment)
        same = [p for p in history if p.candidate == candidate and p.binding == binding]
        if same and same[0].state is PromotionState.DENIED and not again:
            self._keep_denied(same[0])
            return None
        build = proposal.build or propose.Build({}, "", "")
        created_at = clock.to_text(self._parts.clock.now())
        created = Promotion(
            promotion=ids.identifier("p", candidate.digest, binding, len(history), created_at),
            kind="advance",
            candidate=candidate,
            source_repository=delivery.app_in(candidate.app, candidate.environment).source or "",
            source_revision=build.revision,
            version=build.version or candidate.digest[7:14],
            delivery_commit=delivery.head,
            accepted_commit=delivery.accepted,
            policy=self._parts.delivery.policy_id(delivery, candidate.environment),
            binding=binding,
            requested_by=actor,
            created_at=created_at,
            note=note,
            losses=self._parts.gatherer.losses(candidate, delivery),
            scripts=self._parts.gatherer.scripts(candidate, delivery),
            configuration=self._candidates.configuration(delivery, candidate),
        )
        fact = Fact("promotion.created", created.promotion, actor, records.encode(created))
        self._parts.recorder.record_all([fact, *self._superseding.ends_of_others(created)])
        return created

    def _keep_denied(self, denied: Promotion) -> None:
        """Leave a denied candidate denied: what waits beside it is no longer wanted, and a crash may have kept its statement back."""
        self._superseding.others(denied)
        if not denied.gate_bundle:
            self._parts.evidence.attach_promotion(denied.promotion)

    # What people say

    def explain(self, app: str, environment: str) -> Explanation:
        """Return the reasons for what an environment has: the same ones the gate sees (law 6).

        Raises:
            NotFoundError: the application or environment is unknown, or no delivery repository is registered (SP504-506).
        """
        return self.explaining(self._parts.delivery.require(app, environment))(app, environment)

    def explaining(self, delivery: Delivery) -> Callable[[str, str], Explanation]:
        """Return what explains one application in one environment after the other: the same as `explain`, for who shows many."""
        return partial(self._explanations.of, self._parts.inputs(delivery))

    def request(self, app: str, environment: str, principal: Principal, note: str = "") -> Promotion:
        """Ask for the next candidate: joins the open promotion (you become its requester) or asks a denied one again.

        Raises:
            ConflictError: there is nothing to promote; the text says why (SP510).
        """
        with self._lock:
            delivery = self._parts.delivery.require(app, environment)
            proposal = self._candidates.next(delivery, app, environment)
            promotion = self._ensure(delivery, proposal, principal.actor, note, again=True)
            if promotion is None:
                first = proposal.reasons[0]
                raise ConflictError(
                    "SP510", f"nothing to promote: {first.found}", where=f"{app} in {environment}", fix=first.fix or first.wanted
                )
            if promotion.state is PromotionState.OPEN and promotion.requested_by != principal.actor:
                self._parts.recorder.record("promotion.requested", promotion.promotion, principal.actor, {"note": note})
                promotion = replace(promotion, requested_by=principal.actor)
            return promotion

    def approve(self, promotion_id: str, principal: Principal, message: str) -> Promotion:
        """Record a person's approval and have it signed; once it is journalled it is given, whatever keeps the signature waiting.

        Raises:
            NotAllowedError: the principal is nobody whose approval counts, and why (SP511).
            ConflictError: the promotion is not open, or this person approved it already (SP512).
        """
        with self._lock:
            promotion = self.find(promotion_id)
            if promotion.state is not PromotionState.OPEN:
                fix = f"setpoint why {promotion.candidate.app} {promotion.candidate.environment}"
                raise ConflictError("SP512", f"the promotion is {promotion.state}, not open", where=promotion.promotion, fix=fix)
            delivery = self._parts.delivery.require(promotion.candidate.app, promotion.candidate.environment)
            name = self._may_approve(promotion, delivery, principal)
            wanted = delivery.environment(promotion.candidate.environment).gates.approvals
            earlier = self._parts.records.approvals(promotion.promotion)
            counting = decide.fresh(earlier, wanted, self._parts.holds.journal_now()) if wanted is not None else earlier
            if any(a.person == name and a.binding == promotion.binding for a in counting):
                raise ConflictError(
                    "SP512",
                    f"{name} has approved it already",
                    where=promotion.promotion,
                    fix=f"setpoint why {promotion.candidate.app} {promotion.candidate.environment}",
                )
            at = clock.to_text(self._parts.clock.now())
            approval = Approval(promotion.promotion, name, principal.email, promotion.binding, message, at)
            self._parts.recorder.record("approval.given", promotion.promotion, principal.actor, records.encode(approval))
            with suppress(WorldError):  # the approval is given; its statement is attached at the latest when the promotion is decided
                self._parts.evidence.attach_approval(promotion.promotion, principal.email)
            return promotion

    def _may_approve(self, promotion: Promotion, delivery: Delivery, principal: Principal) -> str:
        """Return the person's name, or refuse with the reason."""
        gates = delivery.environment(promotion.candidate.environment).gates
        if gates.approvals is None:
            raise ConflictError("SP512", "this environment asks for no approval", where=promotion.candidate.environment)
        who = f"approvals come from {', '.join(gates.approvals.approvers)}"
        if principal.kind != "person":
            fix = "setpoint token create --person EMAIL, then SETPOINT_TOKEN=..."
            raise NotAllowedError("SP511", f"the operator's token is nobody's approval; {who}", where=promotion.promotion, fix=fix)
        facts = self._parts.gatherer.gather(promotion, delivery)
        person = delivery.directory.person(principal.email)
        if person is None or person.name not in facts.approvers:
            raise NotAllowedError(
                "SP511",
                f"{principal.email} may not approve here; {who}",
                where=promotion.promotion,
                fix=f"ask one of: {', '.join(sorted(facts.approvers))}",
            )
        if person.name in facts.excluded:
            able = sorted(facts.approvers - set(facts.excluded))
            why = facts.excluded[person.name]
            raise NotAllowedError(
                "SP511",
                f"{person.name}'s approval cannot count: {why}",
                where=promotion.promotion,
                fix=f"ask one of: {', '.join(able) or 'nobody is left'}",
            )
        return person.name

    def rollback(self, app: str, environment: str, principal: Principal, to: str, message: str) -> Promotion:
        """Bring back an earlier candidate, traffic first, and bar the one it overrides (see `Rollbacks.begin`).

        When this returns, what is desired has moved; a promotion that is not `pinned` yet is committed by the loop as soon as Git and the
        signer let it. Asked again while one is under way, it goes on with that one. A person's rollback passes a stop.

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
            ConflictError: nothing to go back from or to (SP513); another candidate was pinned in the meantime (SP517).
        """
        delivery = self._parts.delivery.require(app, environment)
        require_responsible(delivery, environment, principal)
        begun = self._rollbacks.begin(delivery, Wish(app, environment, principal.actor, to, message))
        with self._lock:
            promotion = self._parts.records.promotion(begun.promotion) or begun
            if promotion.state in (PromotionState.OPEN, PromotionState.DECIDED):
                with suppress(SetpointError):  # it is noted, shown by `explain`, and tried again by the loop
                    self._roll_back(promotion, self._parts.delivery.load() or delivery)
            done = self._parts.records.promotion(begun.promotion) or begun
        if done.state is PromotionState.SUPERSEDED:
            fix = f"setpoint why {app} {environment}"
            raise ConflictError("SP517", "something else was pinned in the meantime", where=f"{app} in {environment}", fix=fix)
        return done

    def send_back(self, app: str, environment: str, bad_pin_commit: str, reasons: Sequence[Reason]) -> SentBack:
        """Take an environment off a pin commit that a verdict found bad: the same way as a person's rollback, by actor `setpoint`.

        It opens the hold and returns within milliseconds; the loop commits. Idempotent; guarded by `promotion.returning`.

        Raises:
            NotFoundError: application or environment is not (any more) in the accepted files (SP504-506).
        """
        delivery = self._parts.delivery.require(app, environment)
        return self._rollbacks.send_back(delivery, Wish(app, environment, AUTOMATIC, why=told(reasons)), bad_pin_commit)

    def sent_back(self, app: str, environment: str, pin_commit: str) -> str:
        """Return the rollback that took an environment off a pin commit, also when it is over; empty when none did."""
        held = self._parts.holds.rollback(app, environment, pin_commit, ended=True)
        return held.promotion if held is not None else ""

    def _roll_back(self, rollback: Promotion, delivery: Delivery) -> None:
        """Take a rollback to its end; whatever else was under way there is not wanted any more."""
        if self._rollbacks.is_moot(rollback, delivery):
            self._superseding.end(rollback)
            return
        self._superseding.others(rollback)
        with self._explanations.noting_lag(rollback):
            self._rollbacks.complete(rollback, delivery)
        self._rollbacks.close_ended(self._parts.delivery.load() or delivery)

    def lift(self, app: str, environment: str, principal: Principal) -> int:
        """End the quarantines of an application in an environment; returns how many.

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
            ConflictError: nothing is quarantined (SP515).
        """
        with self._lock:
            delivery = self._parts.delivery.require(app, environment)
            require_responsible(delivery, environment, principal)
            return self._quarantining.lift(app, environment, principal.actor)

    def quarantine(self, app: str, environment: str, principal: Principal, digest: str, why: str) -> Quarantine:
        """Bar what waits, or a digest, from an environment (see `Quarantining.bar`).

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        with self._lock:
            delivery = self._parts.delivery.require(app, environment)
            require_responsible(delivery, environment, principal)
            return self._quarantining.bar(delivery, (app, environment), principal, digest, why)

    def find(self, promotion_id: str) -> Promotion:
        """Return a promotion by id or unique beginning.

        Raises:
            NotFoundError: there is none, or several begin so (SP516).
        """
        exact = self._parts.records.promotion(promotion_id)
        if exact is not None:
            return exact
        found = [p for p in self._parts.records.promotions(limit=10_000) if p.promotion.startswith(promotion_id)]
        if len(found) != 1:
            what = f"{len(found)} promotions begin with `{promotion_id}`" if found else f"there is no promotion `{promotion_id}`"
            raise NotFoundError("SP516", what, fix="setpoint status lists what waits")
        return found[0]


@contextmanager
def _collected(faults: list[SetpointError]) -> Iterator[None]:
    """Set an application's fault aside, so that it does not stop the others."""
    try:
        yield
    except SetpointError as error:
        faults.append(error)
