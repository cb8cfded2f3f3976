"""The control loop: every pass re-reads the world and decides again; a wake only makes the next pass come sooner (law 5).

Loops run side by side so that none waits for another: sources and runs, promotions, unpacked images, and one reconciler per environment.
A pass that fails is logged once and tried again; what runs keeps running.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from setpoint.app.bus import Bus
from setpoint.core.errors import SetpointError, WorldError
from setpoint.pipeline.service import PipelineService
from setpoint.promotion.repository import DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.reconcile.drift.images import LOOK_S, ImageDrift
from setpoint.reconcile.service import ReconcileService
from setpoint.source.service import SourceService

log = logging.getLogger(__name__)

_IDLE_S = 1.0
_BUSY_S = 0.1


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What the loop drives."""

    bus: Bus
    source: SourceService
    pipeline: PipelineService
    promotions: PromotionService
    reconcile: ReconcileService
    images: ImageDrift
    delivery: DeliveryReader
    pusher_of: Callable[[str, str], str]
    """(repository, commit) -> who pushed this head, or empty"""


class ControlLoop:
    """Runs until it is cancelled."""

    def __init__(self, parts: LoopParts) -> None:
        self._parts = parts
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Drive everything; cancel to stop. Runs are left open for the next start."""
        self._parts.bus.attach(asyncio.get_running_loop())
        reconcilers: dict[str, asyncio.Task[None]] = {}
        loops = [asyncio.create_task(self._every("sources", self._sources)), asyncio.create_task(self._every("promotions", self._promote))]
        loops.append(asyncio.create_task(self._images()))
        try:
            while True:
                for environment in await asyncio.to_thread(self._environments):
                    if environment not in reconcilers or reconcilers[environment].done():
                        reconcilers[environment] = asyncio.create_task(self._reconcile(environment))
                await asyncio.sleep(_IDLE_S)
        finally:
            for task in [*loops, *reconcilers.values()]:
                task.cancel()
            await asyncio.gather(*loops, *reconcilers.values(), return_exceptions=True)
            await self._parts.pipeline.stop()

    async def _every(self, name: str, work: Callable[[], object]) -> None:
        """Do work at every wake, and at least every second."""
        while True:
            seen = self._parts.bus.version
            await self._guarded(name, work)
            if name == "sources":
                self._resume()
            await self._parts.bus.wait(seen, _IDLE_S)

    async def _images(self) -> None:
        """Look at unpacked images, at their own pace: no entry of the journal says that a file was changed."""
        while True:
            await self._guarded("images", self._parts.images.advance)
            await asyncio.sleep(LOOK_S)

    def _resume(self) -> None:
        """Take up open runs, in the loop's own thread; a fault must not end the loop."""
        try:
            self._parts.pipeline.resume()
        except Exception:
            log.exception("runs cannot be taken up; trying again")

    async def _reconcile(self, environment: str) -> None:
        while True:
            seen = self._parts.bus.version
            settled = await self._guarded(f"reconcile {environment}", lambda: self._parts.reconcile.advance(environment))
            if settled:
                await self._parts.bus.wait(seen, _IDLE_S)
            else:
                await asyncio.sleep(_BUSY_S)

    async def _guarded(self, name: str, work: Callable[[], object]) -> object:
        """Run blocking work in a thread; log what goes wrong when it is news, and go on."""
        try:
            result = await asyncio.to_thread(work)
        except SetpointError as error:
            if self._said.get(name) != error.what:
                self._said[name] = error.what
                log.log(logging.WARNING if isinstance(error, WorldError) else logging.ERROR, "%s: %s", name, error.render())
            await asyncio.sleep(_IDLE_S)
            return True
        except Exception:
            log.exception("%s failed; trying again", name)
            await asyncio.sleep(_IDLE_S)
            return True
        self._said.pop(name, None)
        return result

    def _sources(self) -> None:
        """Begin a run for every head that moved; a fault with one keeps none of the others waiting."""
        faults: list[Exception] = []
        for branch, revision in self._parts.source.moved_heads():
            try:
                pusher = self._parts.pusher_of(revision.repository, revision.commit)
                self._parts.pipeline.begin(branch, revision, pusher)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other heads are not to be lost with it
                faults.append(error)
                if not isinstance(error, SetpointError) or isinstance(error, WorldError):
                    self._parts.source.forget(revision.repository, branch)
        if faults:
            raise faults[0]

    def _promote(self) -> None:
        self._parts.promotions.advance()

    def _environments(self) -> list[str]:
        try:
            delivery = self._parts.delivery.load()
        except SetpointError:
            return []
        return delivery.ordered() if delivery is not None else []
