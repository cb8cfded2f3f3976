"""How many tasks execute at the same time, and whose turn is next: first come, first served over all runs.

Called by the pipeline service. The order is that of the runs, then that in which their tasks became ready, as in Woodpecker's queue: an
early run is never starved by later ones. Lives in one event loop; `ahead` may be asked from any thread. Nothing is remembered over a
restart: open runs queue again.
"""

import asyncio
import bisect
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from setpoint.pipeline.offers import Offer


@dataclass(frozen=True, order=True, slots=True)
class _Ticket:
    """Somebody who waits."""

    begun: str
    run: str
    number: int
    task: str = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Slots:
    """So many slots, and a queue for them."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: list[_Ticket] = []
        self._numbers = itertools.count()

    @asynccontextmanager
    async def one(self, begun: str, run: str, task: str) -> AsyncIterator[None]:
        """Hold a slot, waiting for it when there is none; `begun` is when the run was begun."""
        await self._take(begun, run, task)
        try:
            yield
        finally:
            self._give()

    def ahead(self, run: str) -> dict[str, int]:
        """Return {task: how many stand before it} of the tasks of a run that wait for a slot."""
        return {ticket.task: position for position, ticket in enumerate(tuple(self._queue)) if ticket.run == run}

    async def _take(self, begun: str, run: str, task: str) -> None:
        if self._free and not self._queue:
            self._free -= 1
            return
        ticket = _Ticket(begun, run, next(self._numbers), task, asyncio.get_running_loop().create_future())
        bisect.insort(self._queue, ticket)
        try:
            await ticket.granted
        except asyncio.CancelledError:
            if not ticket.granted.cancelled():
                self._give()  # it was granted in the very moment when nobody wanted it any more
            elif ticket in self._queue:
                self._queue.remove(ticket)
            raise

    def _give(self) -> None:
        """Hand a slot to whoever is next and still wants it, or keep it."""
        while self._queue:
            ticket = self._queue.pop(0)
            if not ticket.granted.done():
                ticket.granted.set_result(None)
                return
        self._free += 1


class Places:
    """The slots of this machine, and those of each executor elsewhere: a cluster that is full holds up nobody here."""

    def __init__(self, count: int) -> None:
        self._here = Slots(count)
        self._elsewhere: dict[tuple[str, int], Slots] = {}

    def of(self, offer: Offer | None) -> Slots:
        """Return the slots that a task waits for."""
        if offer is None:
            return self._here
        return self._elsewhere.setdefault((offer.name, offer.slots), Slots(offer.slots))

    def ahead(self, run: str) -> dict[str, int]:
        """Return {task: how many stand before it} of the tasks of a run that wait for a slot anywhere."""
        found = self._here.ahead(run)
        for slots in tuple(self._elsewhere.values()):
            found |= slots.ahead(run)
        return found
