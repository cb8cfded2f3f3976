"""Stop the line: a person's hold keeps anything new from being pinned, in one application's environment or in a whole one.

Called by the API and the pages. What runs stays at its pin and is still healed; a person's rollback passes; only a release or the end of
its time lets candidates in again. Nothing here touches Git.
"""

from datetime import timedelta
from typing import Final

from setpoint.core import clock, durations
from setpoint.core.errors import ConflictError, UserError
from setpoint.ground.hold.model import Hold
from setpoint.ground.hold.service import closing
from setpoint.ground.identity.model import Principal
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.people import require_responsible

LONGEST_S: Final = 366 * 86_400


class Stops:
    """Opens and ends people's holds."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts

    def hold(self, app: str, environment: str, principal: Principal, for_s: int | None, message: str) -> Hold:
        """Stop new pins of an application in an environment (app empty: of all of them) for for_s seconds, or until a release.

        It does not wait for what the loop does now to be journalled, but it returns only when that is over: nothing is pinned after it.
        Several people may hold the same place; nobody's hold is shortened by another.

        Raises:
            UserError: no words, or for longer than a year (SP518).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        self._check(app, environment, principal)
        if not message.strip():
            raise UserError("SP518", "a hold needs a reason that people read", where=_place(app, environment), fix='add -m "why"')
        if for_s is not None and not 0 < for_s <= LONGEST_S:
            raise UserError("SP518", "a hold ends within a year, or by a release", where=_place(app, environment), fix="leave --until out")
        until = None if for_s is None else clock.to_text(self._parts.holds.journal_now() + timedelta(seconds=for_s))
        opened = self._parts.holds.open(Hold("", "stop", environment, app, principal.actor, message.strip(), "", until))
        with self._parts.deciding:
            return opened

    def release(self, app: str, environment: str, principal: Principal, message: str = "") -> list[Hold]:
        """End every person's hold of exactly this place and return them.

        Raises:
            ConflictError: none is in force (SP519).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        self._check(app, environment, principal)
        here = [hold for hold in self._parts.holds.stops(app, environment) if hold.kind == "stop"]
        found = [hold for hold in here if hold.app == app]
        if not found:
            fix = here[0].release if here else "setpoint status lists what is on hold"
            raise ConflictError("SP519", "nobody holds exactly this", where=_place(app, environment), fix=fix)
        self._parts.recorder.record_all([closing(hold, principal.actor, message.strip() or "released") for hold in found])
        return found

    def listed(self, app: str | None, environment: str | None, *, ended: bool = False) -> list[Hold]:
        """Return open holds of both kinds; with `ended` also those of the past."""
        return self._parts.records.holds(app, environment, ended=ended)

    def _check(self, app: str, environment: str, principal: Principal) -> None:
        delivery = self._parts.delivery.require_environment(environment)
        if app:
            delivery.check_app(app)
        require_responsible(delivery, environment, principal)


def seconds_of(text: str) -> int | None:
    """Return how long a hold should be, as a person writes it: `2h`; None for nothing written.

    Raises:
        UserError: it is no duration (SP518).
    """
    try:
        return durations.parse(text.strip()) if text.strip() else None
    except ValueError as error:
        raise UserError("SP518", str(error), fix="leave it empty to hold until a release") from error


def _place(app: str, environment: str) -> str:
    return f"{app or 'everything'} in {environment}"
