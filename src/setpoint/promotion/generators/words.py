"""A person's word about a preview: that it lives longer, or ends now. Pure; the generators' service journals it."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from setpoint.core import clock
from setpoint.core.errors import ConflictError, NotFoundError, UserError
from setpoint.promotion.generators.model import Element, Expansion, environment_name
from setpoint.promotion.repository import Delivery

LONGEST_S: Final = 90 * 86_400


def preview_of(delivery: Delivery, environment: str) -> tuple[Expansion, Element]:
    """Return a living preview with the expansion that it is of.

    Raises:
        NotFoundError: there is none of this name (SP597).
        ConflictError: it ends already (SP598).
    """
    made = delivery.generated.environments.get(environment)
    if made is None or environment not in delivery.generated.previews:
        known = ", ".join(sorted(delivery.generated.previews)) or "none"
        raise NotFoundError("SP597", f"there is no preview `{environment}`", fix=f"previews: {known}")
    expansion = delivery.generated.expansions[made.generator]
    found = next((one for one in expansion.elements if environment_name(made.generator, one.name) == environment), None)
    if found is None:
        raise ConflictError("SP598", "it ends already", where=environment, fix="a push to its branch brings one back when it is gone")
    return expansion, found


def extended(expansion: Expansion, element: Element, now: str, for_s: int) -> Expansion:
    """Return an expansion in which a preview lives at least so long from now.

    Raises:
        UserError: too long, or no time at all (SP599).
    """
    if not 0 < for_s <= LONGEST_S:
        raise UserError("SP599", "a preview is extended by at most 90 days", where=element.name, fix="say 3d")
    life = element.life
    assert life is not None, "a preview has a life"  # noqa: S101 - preview_of finds previews only
    until = clock.to_text(clock.from_text(now) + timedelta(seconds=for_s))
    longer = replace(element, life=replace(life, until=max(until, life.until)))
    return replace(expansion, elements=tuple(longer if one.name == element.name else one for one in expansion.elements))


def ended(expansion: Expansion, element: Element, why: str) -> Expansion:
    """Return an expansion in which a preview ends; its commit brings none back, a new push does."""
    life = element.life
    assert life is not None, "a preview has a life"  # noqa: S101 - preview_of finds previews only
    gone = replace(element, life=replace(life, ended=why))
    return replace(
        expansion,
        elements=tuple(one for one in expansion.elements if one.name != element.name),
        leaving=(*expansion.leaving, gone),
        ended={**expansion.ended, life.branch: life.commit},
    )
