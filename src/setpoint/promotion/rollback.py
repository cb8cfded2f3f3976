"""Rollback: an earlier candidate comes back as a new signed commit, and the one it overrides is quarantined.

Called by the promotion service under its lock. It asks no gate again: the statement is composed from the target's earlier PASSED one
(law 2). The wish is journalled first, so that a crash cannot leave half of it, and the quarantine before the commit, so that the loop
can never promote the bad candidate in between.
"""

from dataclasses import replace

from setpoint.core import clock, ids, records
from setpoint.core.errors import ConflictError
from setpoint.core.reasons import Outcome, Reason, conclude
from setpoint.ground.identity.model import Principal
from setpoint.promotion.model import Pin, Promotion, PromotionState, Quarantine
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.propose import quarantine_of
from setpoint.promotion.repository import Delivery
from setpoint.promotion.standing import Pins


class Rollbacks:
    """Begins and completes rollbacks, and lifts the quarantines they set."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts
        self._pins = Pins(parts.delivery, parts.records)

    def begin(self, delivery: Delivery, place: tuple[str, str], principal: Principal, to: str, message: str) -> Promotion:
        """Journal that a rollback is wanted; place is (app, environment), `to` a promotion id or version, or empty.

        From this one entry on, `complete` does the rest, whoever calls it. A pin that hands changed or removed is no candidate: what
        Setpoint pinned last comes back, and nothing is quarantined.

        Raises:
            ConflictError: nothing to go back from or to, or the target is quarantined (SP513).
        """
        app, environment = place
        pin = self._pins.own(delivery, environment, app)
        if pin is None and self._pins.last(delivery, environment, app) is None:
            raise ConflictError("SP513", "nothing is pinned, so there is nothing to go back from", where=f"{app} in {environment}")
        target = self._target(place, pin, to)
        history = self._parts.records.promotions(app, environment)
        created_at = clock.to_text(self._parts.clock.now())
        created = replace(
            target,
            promotion=ids.identifier("p", target.candidate.digest, "rollback", len(history), created_at),
            kind="rollback",
            of=target.promotion,
            delivery_commit=delivery.head,
            requested_by=principal.actor,
            created_at=created_at,
            state=PromotionState.OPEN,
            note=message,
            decided_at=None,
            verdict=None,
            gate_bundle="",
            pin_commit="",
            pinned_at=None,
        )
        self._parts.recorder.record("promotion.created", created.promotion, principal.actor, records.encode(created))
        return created

    def complete(self, promotion: Promotion, delivery: Delivery) -> None:
        """Quarantine what is overridden, decide and pin; called again after a crash or a lost race, it goes on where it stopped."""
        if promotion.state is PromotionState.OPEN:
            self._quarantine(promotion, delivery)
            target = self._parts.records.promotion(promotion.of)
            when = target.decided_at if target is not None else "an earlier day"
            earlier = Reason("PASSED_BEFORE", Outcome.ALLOW, "gate", f"{promotion.of} passed every gate at {when}")
            free = Reason("NOT_QUARANTINED", Outcome.ALLOW, "quarantine", "the candidate that comes back is not barred")
            body = {"state": PromotionState.DECIDED.value, "verdict": records.encode(conclude((earlier, free)))}
            self._parts.recorder.record("promotion.decided", promotion.promotion, "setpoint", body)
        self._parts.pinning.pin(promotion, self._parts.delivery.load() or delivery)

    def lift(self, app: str, environment: str, principal: Principal) -> int:
        """End the quarantines of an application in an environment; returns how many.

        Raises:
            ConflictError: nothing is quarantined (SP515).
        """
        barred = self._parts.records.quarantines(app, environment)
        if not barred:
            raise ConflictError("SP515", "nothing is quarantined", where=f"{app} in {environment}")
        for candidate in {quarantine.candidate for quarantine in barred}:
            body = {"app": app, "environment": environment}
            self._parts.recorder.record("quarantine.lifted", candidate, principal.actor, body)
        return len(barred)

    def _target(self, place: tuple[str, str], pin: Pin | None, to: str) -> Promotion:
        app, environment = place
        barred = {q.candidate for q in self._parts.records.quarantines(app, environment)}
        history = self._parts.records.promotions(app, environment, limit=10_000)
        history = [p for p in history if p.state is PromotionState.PINNED and to in ("", p.promotion, p.version)]
        usable = [p for p in history if (pin is None or p.candidate != pin.candidate) and p.candidate.digest not in barred]
        if not usable:
            what = f"`{to}` was never pinned here, runs now, or is quarantined" if to else "no earlier candidate that is not quarantined"
            raise ConflictError("SP513", what, where=f"{app} in {environment}", fix=f"setpoint events --subject {app}/{environment}")
        return usable[0]

    def _quarantine(self, rollback: Promotion, delivery: Delivery) -> None:
        """Bar what is pinned, once, in the name of who asked for the rollback."""
        pin = self._pins.own(delivery, rollback.candidate.environment, rollback.candidate.app)
        if pin is None or pin.candidate == rollback.candidate:
            return
        candidate = pin.candidate
        if quarantine_of(candidate, self._parts.records.quarantines(candidate.app, candidate.environment)) is not None:
            return
        barred = Quarantine(
            environment=candidate.environment,
            app=candidate.app,
            candidate=candidate.digest,
            artifacts={name: artifact.digest for name, artifact in candidate.artifacts.items()},
            trees=(candidate.app_tree, candidate.environment_tree),
            since=clock.to_text(self._parts.clock.now()),
            by=rollback.requested_by,
            why=rollback.note or "rolled back",
        )
        self._parts.recorder.record("quarantine.set", candidate.digest, rollback.requested_by, records.encode(barred))
