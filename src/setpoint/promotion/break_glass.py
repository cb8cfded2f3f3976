"""Break-glass: for a while people change what is live, and Setpoint records it and brings nothing back.

Called by the API and the pages. A lease has a person, words, a place and an end, and is journalled like a hold. While it lasts nothing new
is pinned in its place and nothing is removed; the drift stage reads it, and sees at its end what becomes of what was changed. Nothing here
touches Git or what runs.
"""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from setpoint.core import clock, durations
from setpoint.core.errors import ConflictError, UserError
from setpoint.ground.hold.model import Hold, Then
from setpoint.ground.hold.service import closing, extending
from setpoint.ground.identity.model import Principal
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.people import require_responsible

LONGEST_S: Final = 7 * 86_400
_OBJECTS: Final = re.compile(r"[A-Za-z*][A-Za-z0-9*]{0,62}/[A-Za-z0-9.*_-]{1,253}")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person asks for when they break the glass."""

    for_s: int
    """How long, in seconds, from now."""
    why: str
    objects: str = ""
    """`Deployment/web`, `ConfigMap/*`; empty: all that can drift in the place."""
    then: Then = "correct"


class BreakGlass:
    """Opens, extends and ends leases."""

    def __init__(self, parts: PromotionParts) -> None:
        self._parts = parts

    def open(self, app: str, environment: str, principal: Principal, terms: Terms) -> Hold:
        """Break the glass for an application in an environment (app empty: for all of them); in force when it returns.

        It does not stop what is being pinned at this moment, but it returns only when that is over.

        Raises:
            UserError: no words, too long, or no objects (SP560).
            ConflictError: a lease for just this is open (SP561).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        self._check(app, environment, principal)
        _refuse(app, environment, terms)
        same = [one for one in self._of(app, environment) if one.objects == terms.objects]
        if same:
            fix = f"{same[0].release.removesuffix(' --end')} --extend --for 1h gives it more time"
            what = f"{same[0].hold} of {same[0].by} is about this already"
            raise ConflictError("SP561", what, where=_place(app, environment), fix=fix)
        lease = Hold("", "break-glass", environment, app, principal.actor, terms.why.strip(), "", self._until(terms.for_s))
        opened = self._parts.holds.open(replace(lease, objects=terms.objects, then=terms.then))
        with self._parts.deciding:
            return opened

    def extend(self, app: str, environment: str, principal: Principal, terms: Terms, then: Then | None = None) -> list[Hold]:
        """Let every lease of exactly this place end for_s seconds from now, and return them; then left out stays as it is.

        Raises:
            UserError: no words, or too long (SP560).
            ConflictError: none is in force (SP561).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        self._check(app, environment, principal)
        _refuse(app, environment, terms)
        found = self._required(app, environment, terms.objects)
        until = self._until(terms.for_s)
        extended = [replace(one, until=until, then=then or one.then) for one in found]
        self._parts.recorder.record_all([extending(one, principal.actor, until, terms.why.strip()) for one in extended])
        return extended

    def end(self, app: str, environment: str, principal: Principal, terms: Terms, then: Then | None = None) -> list[Hold]:
        """End every lease of exactly this place and return them; then left out is what was said when the glass was broken.

        Raises:
            ConflictError: none is in force (SP561).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        self._check(app, environment, principal)
        ended = [replace(one, then=then or one.then) for one in self._required(app, environment, terms.objects)]
        self._parts.recorder.record_all([closing(one, principal.actor, terms.why.strip() or "ended") for one in ended])
        return ended

    def _required(self, app: str, environment: str, objects: str) -> list[Hold]:
        found = [one for one in self._of(app, environment) if not objects or one.objects == objects]
        if not found:
            fix = "setpoint status lists what is in people's hands"
            raise ConflictError("SP561", "nobody broke the glass for exactly this", where=_place(app, environment), fix=fix)
        return found

    def _of(self, app: str, environment: str) -> list[Hold]:
        return [one for one in self._parts.holds.leases(environment, app) if one.app == app]

    def _until(self, for_s: int) -> str:
        return clock.to_text(self._parts.holds.journal_now() + timedelta(seconds=for_s))

    def _check(self, app: str, environment: str, principal: Principal) -> None:
        delivery = self._parts.delivery.require_environment(environment)
        if app:
            delivery.check_app(app)
        require_responsible(delivery, environment, principal)


def _refuse(app: str, environment: str, terms: Terms) -> None:
    """Refuse a lease without words or without a near end, and objects that are no `Kind/name`."""
    where = _place(app, environment)
    if not terms.why.strip():
        raise UserError("SP560", "who breaks the glass says why", where=where, fix='add -m "why"')
    if not 0 < terms.for_s <= LONGEST_S:
        raise UserError("SP560", "a lease ends within a week; it can be extended", where=where, fix="--for 2h")
    if terms.objects and not _OBJECTS.fullmatch(terms.objects):
        raise UserError("SP560", f"`{terms.objects[:100]}` names no objects", where=where, fix="write Deployment/web, or ConfigMap/*")


def seconds_of(text: str) -> int:
    """Return how long a lease should be, as a person writes it: `2h`.

    Raises:
        UserError: it is no duration (SP560).
    """
    try:
        return durations.parse(text.strip())
    except ValueError as error:
        raise UserError("SP560", str(error), fix="write how long: 30m, 2h") from error


def _place(app: str, environment: str) -> str:
    return f"{app or 'everything'} in {environment}"
