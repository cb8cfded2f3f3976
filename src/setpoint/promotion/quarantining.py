"""Quarantine by a person: a candidate, or a bare digest whatever comes with it, is barred from an environment until somebody lifts it.

Called by the promotion service under its lock. A rollback bars what it overrides by itself (`promotion.rollback`); here a person bars what
waits or may come. What runs is never barred under its own feet: that is a rollback.
"""

from setpoint.core import clock, records
from setpoint.core.digest import is_digest
from setpoint.core.errors import ConflictError, UserError
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.model import Fact
from setpoint.promotion.candidates import Candidates
from setpoint.promotion.model import Candidate, Quarantine
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.repository import Delivery
from setpoint.promotion.standing import Pins


class Quarantining:
    """Sets and lifts quarantines."""

    def __init__(self, parts: PromotionParts, candidates: Candidates) -> None:
        self._parts = parts
        self._candidates = candidates
        self._pins = Pins(parts.delivery, parts.records)

    def bar(self, delivery: Delivery, place: tuple[str, str], principal: Principal, digest: str, why: str) -> Quarantine:
        """Bar the candidate that waits at (app, environment), or with a digest every candidate that brings this artifact.

        Raises:
            UserError: no digest of an artifact, or no words (SP508).
            ConflictError: nothing waits there, it runs there, or it is barred already (SP509).
        """
        app, environment = place
        where = f"{app} in {environment}"
        if not why.strip():
            raise UserError("SP508", "a quarantine needs a reason that people read", where=where, fix='add -m "why"')
        if digest and not is_digest(digest):
            raise UserError("SP508", f"`{digest[:80]}` is no digest of an artifact", where=where, fix="sha256: and 64 hexadecimal digits")
        pin = self._pins.last(delivery, environment, app)
        if digest and pin is not None and digest in {artifact.digest for artifact in pin.candidate.artifacts.values()}:
            raise ConflictError("SP509", "it is what is pinned there", where=where, fix=f"setpoint rollback {app} {environment}")
        barred = self._bare(place, digest) if digest else self._whole(self._waiting(delivery, app, environment))
        if barred.candidate in {known.candidate for known in self._parts.records.quarantines(app, environment)}:
            fix = f"setpoint promote {app} --to {environment} --lift ends it"
            raise ConflictError("SP509", "it is quarantined already", where=where, fix=fix)
        at = clock.to_text(self._parts.holds.journal_now())
        named = Quarantine(
            environment, app, barred.candidate, barred.artifacts, barred.trees, at, principal.actor, why.strip(), bare=barred.bare
        )
        self._parts.recorder.record("quarantine.set", named.candidate, principal.actor, records.encode(named))
        return named

    def _waiting(self, delivery: Delivery, app: str, environment: str) -> Candidate:
        """Return the candidate that is open or comes next."""
        proposal = self._candidates.next(delivery, app, environment)
        if proposal.candidate is None:
            fix = f"setpoint rollback {app} {environment} takes back what runs; or name a digest"
            raise ConflictError("SP509", "no candidate waits there", where=f"{app} in {environment}", fix=fix)
        return proposal.candidate

    @staticmethod
    def _bare(place: tuple[str, str], digest: str) -> Quarantine:
        return Quarantine(place[1], place[0], digest, {}, (None, None), "", "", "", bare=True)

    @staticmethod
    def _whole(candidate: Candidate) -> Quarantine:
        artifacts = {name: artifact.digest for name, artifact in candidate.artifacts.items()}
        return Quarantine(candidate.environment, candidate.app, candidate.digest, artifacts, candidate.trees, "", "", "")

    def lift(self, app: str, environment: str, actor: str) -> int:
        """End the quarantines of an application in an environment; returns how many.

        Raises:
            ConflictError: nothing is quarantined (SP515).
        """
        barred = self._parts.records.quarantines(app, environment)
        if not barred:
            raise ConflictError("SP515", "nothing is quarantined", where=f"{app} in {environment}")
        body = {"app": app, "environment": environment}
        names = sorted({quarantine.candidate for quarantine in barred})
        self._parts.recorder.record_all([Fact("quarantine.lifted", candidate, actor, body) for candidate in names])
        return len(barred)
