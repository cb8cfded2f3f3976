"""Who may press which button of the why page; the service decides again when it is pressed.

Called by the pages, so that nobody is offered what will be refused; never grants anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from setpoint.ground.identity.model import Principal
from setpoint.promotion.decide import fresh
from setpoint.promotion.model import Approval
from setpoint.promotion.repository import Delivery


@dataclass(frozen=True, slots=True)
class Rights:
    """What the caller may do in one environment, and who else may."""

    approve: bool
    operate: bool
    """Roll back, hold, release and lift."""
    approved: bool
    """The caller has approved this promotion already."""
    approvers: str
    """`team:sre (ada, bob)`; empty when no approval is asked for."""
    operators: str


def rights(delivery: Delivery, environment: str, caller: Principal, given: Sequence[Approval], now: datetime) -> Rights:
    """Return the caller's rights by the accepted files; `given` are the approvals of the open promotion: an expired one is none."""
    config = delivery.environment(environment)
    wanted = config.gates.approvals
    approvers = wanted.approvers if wanted is not None else ()
    given = fresh(given, wanted, now) if wanted is not None else ()
    operators = tuple(dict.fromkeys((*config.owners, *approvers)))
    directory = delivery.directory
    person = directory.person(caller.email) if caller.kind == "person" else None
    name = person.name if person is not None else ""
    approved = any(approval.person == name for approval in given)
    return Rights(
        approve=name in directory.members(approvers) and not approved,
        operate=caller.kind == "operator" or name in directory.members(operators),
        approved=bool(name) and approved,
        approvers=_named(delivery, approvers),
        operators=_named(delivery, operators) or "the home's operator",
    )


def _named(delivery: Delivery, selectors: tuple[str, ...]) -> str:
    people = sorted(delivery.directory.members(selectors))
    return f"{', '.join(selectors)} ({', '.join(people) or 'nobody'})" if selectors else ""
