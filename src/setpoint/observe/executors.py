"""The executors that the delivery repository offers, and what keeps tasks from running there; called by the API, reads only."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from setpoint.pipeline.offers import Offer


@dataclass(frozen=True, slots=True)
class ExecutorReport:
    """One executor as people see it."""

    name: str
    cluster: str
    namespace: str
    image: str
    slots: int
    problems: tuple[str, ...]
    """What keeps tasks from running there, a sentence each; empty: nothing known."""


class ExecutorsView:
    """Answers `doctor`; every executor is looked at anew, all at once."""

    def __init__(self, listed: Callable[[], Sequence[Offer]], look: Callable[[Offer], Awaitable[Sequence[str]]]) -> None:
        self._listed = listed
        self._look = look

    async def reports(self) -> list[ExecutorReport]:
        """Return every executor, by name."""
        offers = await asyncio.to_thread(self._listed)
        problems = await asyncio.gather(*(self._look(offer) for offer in offers))
        return [
            ExecutorReport(offer.name, offer.cluster, offer.namespace, offer.image, offer.slots, tuple(found))
            for offer, found in zip(offers, problems, strict=True)
        ]
