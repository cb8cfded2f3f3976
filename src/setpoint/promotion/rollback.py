"""Rollback, traffic first: a journalled hold moves what is desired at once; the signed commit that says so in Git comes after it.

Called by the promotion service. It asks no gate again: the statement is composed from the target's earlier PASSED one (law 2). Hold,
promotion and quarantine are one durable write, so that a crash leaves all of them or none: from then on the reconciler serves the target
(reconcile.service), the loop can never promote the bad candidate again, and whoever calls `complete` goes on where it stopped.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from setpoint.core import clock, ids, records
from setpoint.core.errors import ConflictError
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.ground.hold import decide as hold_decide
from setpoint.ground.hold.model import Hold
from setpoint.ground.hold.service import closing
from setpoint.ground.journal.model import Fact
from setpoint.promotion import returning
from setpoint.promotion.model import Pin, Promotion, PromotionState, Quarantine
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.propose import quarantine_of
from setpoint.promotion.repository import Delivery
from setpoint.promotion.standing import Pins

_EVERY = 10_000
AUTOMATIC = "setpoint"
"""The actor of a rollback that a bad verdict asked for, and no person."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A rollback that somebody asks for."""

    app: str
    environment: str
    actor: str
    to: str = ""
    """A promotion id or version; empty: what served before."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class SentBack:
    """What became of an automatic return."""

    done: bool
    """A hold is open that overrides the bad pin: by this call, or by an earlier one."""
    promotion: str
    """The rollback's promotion; empty when nothing was done."""
    verdict: Verdict
    """Why, or why not."""


class Rollbacks:
    """Begins and completes rollbacks."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts
        self._pins = Pins(parts.delivery, parts.records)
        self._beginning = threading.Lock()
        """Of its own: a hold must not wait for a pass of the loop that renders, probes and signs."""

    def begin(self, delivery: Delivery, wish: Wish) -> Promotion:
        """Open the hold, or join the rollback that is under way; what is desired has moved when this returns.

        A pin that hands changed or removed is no candidate: what Setpoint pinned last comes back, and nothing is quarantined.

        Raises:
            ConflictError: nothing to go back from or to, or the target is quarantined (SP513).
        """
        with self._beginning:
            under_way = self._under_way(wish.app, wish.environment)
            joined = [p for p in under_way if wish.to in ("", p.of, p.version)]
            return joined[-1] if joined else self._open(delivery, wish)

    def send_back(self, delivery: Delivery, wish: Wish, bad_pin_commit: str) -> SentBack:
        """Open the hold that takes an environment off a pin commit which a verdict found bad; asked again, it changes nothing.

        Never back from a rollback's own target, never past a person's stop, and only so often: then a person decides.
        """
        parts, app, environment = self._parts, wish.app, wish.environment
        with self._beginning:
            held = parts.holds.rollback(app, environment, bad_pin_commit)
            if held is not None:
                already = Reason("SENT_BACK", Outcome.ALLOW, "hold", f"{held.hold} overrides it already")
                return SentBack(done=True, promotion=held.promotion, verdict=conclude([already]))
            pin = self._pins.own(delivery, environment, app)
            pinned = parts.records.promotion(pin.promotion) if pin is not None else None
            history = parts.records.promotions(app, environment, limit=_EVERY)
            facts = returning.ReturnFacts(
                bad_pin_commit=bad_pin_commit,
                head_commit=pin.commit if pin is not None else "",
                came_by=pinned.kind if pinned is not None else "",
                stops=parts.holds.stops(app, environment),
                earlier=tuple(p.created_at for p in history if p.kind == "rollback" and p.requested_by == AUTOMATIC),
                place=f"{app} {environment}",
            )
            verdict = returning.decide(facts, parts.holds.journal_now())
            if verdict.outcome is not Outcome.ALLOW:
                return SentBack(done=False, promotion="", verdict=verdict)
            try:
                opened = self._open(delivery, wish)
            except ConflictError as error:
                nowhere = Reason("NOWHERE_TO_RETURN", Outcome.DENY, "rollback", error.what, "an earlier candidate", error.fix)
                return SentBack(done=False, promotion="", verdict=conclude([*verdict.reasons, nowhere]))
            return SentBack(done=True, promotion=opened.promotion, verdict=verdict)

    def _under_way(self, app: str, environment: str) -> list[Promotion]:
        return [p for p in self._parts.records.unfinished(app, environment) if p.kind == "rollback"]

    def _open(self, delivery: Delivery, wish: Wish) -> Promotion:
        """Journal hold, promotion and quarantine at once; a hold that another rollback opened for the same pin ends with it."""
        app, environment, parts = wish.app, wish.environment, self._parts
        pin = self._pins.own(delivery, environment, app)
        if pin is None and self._pins.last(delivery, environment, app) is None:
            raise ConflictError("SP513", "nothing is pinned, so there is nothing to go back from", where=f"{app} in {environment}")
        target = self._target(delivery, wish, pin)
        overridden = parts.delivery.pin_commit(delivery, environment, app)
        facts: list[Fact] = []
        hold = ""
        created_at = clock.to_text(parts.holds.journal_now())
        history = parts.records.promotions(app, environment, limit=_EVERY)
        name = ids.identifier("p", target.candidate.digest, "rollback", len(history), created_at)
        if overridden:
            earlier = parts.holds.rollback(app, environment, overridden)
            facts += [closing(earlier, wish.actor, f"{name} takes its place")] if earlier is not None else []
            wanted = Hold("", "rollback", environment, app, wish.actor, wish.why, "", overridden=overridden, promotion=name)
            opened, fact = parts.holds.opening(
                replace(wanted, bad=pin.candidate.digest if pin is not None else "", target=target.pin_commit)
            )
            hold = opened.hold
            facts.append(fact)
        created = _created(target, name, wish, delivery.head, created_at, hold)
        facts.append(Fact("promotion.created", name, wish.actor, records.encode(created)))
        facts += self._quarantine(pin, created)
        parts.recorder.record_all(facts)
        return created

    def _target(self, delivery: Delivery, wish: Wish, pin: Pin | None) -> Promotion:
        """Return the promotion whose candidate comes back: the newest that served healthily, is not barred, and still verifies."""
        app, environment, to = wish.app, wish.environment, wish.to
        barred = self._parts.records.quarantines(app, environment)
        history = self._parts.records.promotions(app, environment, limit=_EVERY)
        history = [p for p in history if p.state is PromotionState.PINNED and to in ("", p.promotion, p.version)]
        usable = [p for p in history if (pin is None or p.candidate != pin.candidate) and quarantine_of(p.candidate, barred) is None]
        if pin is not None and not to:
            usable.sort(key=lambda promotion: promotion.served_at is None)
        fault = f"`{to}` was never pinned here, runs now, or is quarantined" if to else "no earlier candidate that is not quarantined"
        for promotion in usable:
            earlier = self._parts.delivery.pin_at(delivery.repository, promotion.pin_commit, environment, app)
            fault = self._parts.admissible(delivery.repository, earlier) if earlier is not None else "its pin is gone"
            if not fault:
                return promotion
        where = f"{app} in {environment}"
        raise ConflictError("SP513", fault, where=where, fix=f"setpoint events --subject {app}/{environment}")

    def _quarantine(self, pin: Pin | None, rollback: Promotion) -> list[Fact]:
        """Return the fact that bars what is pinned, in the name of who asked; none when it is barred already, or hands wrote the pin."""
        if pin is None or pin.candidate == rollback.candidate:
            return []
        candidate = pin.candidate
        if quarantine_of(candidate, self._parts.records.quarantines(candidate.app, candidate.environment)) is not None:
            return []
        barred = Quarantine(
            environment=candidate.environment,
            app=candidate.app,
            candidate=candidate.digest,
            artifacts={name: artifact.digest for name, artifact in candidate.artifacts.items()},
            trees=candidate.trees,
            since=rollback.created_at,
            by=rollback.requested_by,
            why=rollback.note or "rolled back",
        )
        return [Fact("quarantine.set", candidate.digest, rollback.requested_by, records.encode(barred))]

    def is_moot(self, rollback: Promotion, delivery: Delivery) -> bool:
        """Say whether another commit changed the pin that a rollback overrides: its hold has ended, and nothing is to be committed."""
        if not rollback.hold or self._parts.pinning.commit_of(rollback, delivery) is not None:
            return False
        app, environment = rollback.candidate.app, rollback.candidate.environment
        held = next((hold for hold in self._parts.holds.open_ones(app, environment) if hold.hold == rollback.hold), None)
        return held is None or self._parts.delivery.pin_commit(delivery, environment, app) != held.overridden

    def complete(self, promotion: Promotion, delivery: Delivery) -> None:
        """Decide and pin; called again after a crash or a lost race, it goes on where it stopped."""
        if promotion.state is PromotionState.OPEN:
            # A power cut may keep the first lines of one write and lose its last: the quarantine is made up for.
            pin = self._pins.own(delivery, promotion.candidate.environment, promotion.candidate.app)
            missing = self._quarantine(pin, promotion)
            if missing:
                self._parts.recorder.record_all(missing)
            target = self._parts.records.promotion(promotion.of)
            when = target.decided_at if target is not None else "an earlier day"
            earlier = Reason("PASSED_BEFORE", Outcome.ALLOW, "gate", f"{promotion.of} passed every gate at {when}")
            free = Reason("NOT_QUARANTINED", Outcome.ALLOW, "quarantine", "the candidate that comes back is not barred")
            stops = self._parts.holds.stops(promotion.candidate.app, promotion.candidate.environment)
            verdict = conclude((earlier, free, *hold_decide.passed(stops)))
            body = {"state": PromotionState.DECIDED.value, "verdict": records.encode(verdict)}
            self._parts.recorder.record("promotion.decided", promotion.promotion, "setpoint", body)
        self._parts.pinning.pin(promotion, self._parts.delivery.load() or delivery)

    def close_ended(self, delivery: Delivery) -> None:
        """Close the rollback holds whose pin another commit changed, and the stops and leases whose time has passed."""
        now = self._parts.holds.journal_now()
        for hold in self._parts.holds.open_ones():
            if hold.kind != "rollback":
                if hold_decide.is_over(hold, now):
                    self._parts.holds.close(hold, "setpoint", "its time has passed")
                continue
            commit = self._parts.delivery.pin_commit(delivery, hold.environment, hold.app)
            if commit != hold.overridden:
                self._parts.holds.close(hold, "setpoint", f"the pin was changed by {commit[:12] or 'its removal'}")


def _created(target: Promotion, name: str, wish: Wish, head: str, at: str, hold: str) -> Promotion:
    """Return the promotion that brings a target's candidate back."""
    return replace(
        target,
        promotion=name,
        kind="rollback",
        of=target.promotion,
        hold=hold,
        delivery_commit=head,
        requested_by=wish.actor,
        created_at=at,
        state=PromotionState.OPEN,
        note=wish.why,
        decided_at=None,
        verdict=None,
        gate_bundle="",
        pin_commit="",
        losses=(),
        pinned_at=None,
        served_at=None,
    )


def told(reasons: Sequence[Reason]) -> str:
    """Return a verdict's reasons as the words of a quarantine: `error rate: 12 % of 900, baseline 0.1 %; ...`."""
    return "; ".join(f"{reason.subject}: {reason.found}" for reason in reasons) or "a bad verdict"
