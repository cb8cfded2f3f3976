"""The control loop: every pass re-reads the world and decides again; a wake only makes the next pass come sooner (law 5).

Loops run side by side so that none waits for another: sources and runs, generators, promotions, commands of gates, unpacked images, and
one reconciler per environment.
A controller looks at every wake and at least every ten seconds; its pass may return after how many seconds it wants to look again.
What changes without a journal entry (a push by path, a replica that dies) is glanced at once a second, and wakes them all.
A pass that fails is logged once and tried again; what runs keeps running.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from setpoint.app.bus import Bus
from setpoint.app.pushes import Pushes
from setpoint.core.errors import SetpointError, WorldError
from setpoint.pipeline.service import PipelineService
from setpoint.promotion.checks.service import CommandChecks
from setpoint.promotion.generators.service import Generators
from setpoint.promotion.repository import DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.reconcile.drift.images import LOOK_S, ImageDrift
from setpoint.reconcile.service import ReconcileService
from setpoint.source.service import SourceService

log = logging.getLogger(__name__)

_LOOK_S = 10.0
"""Every controller looks at least this often, whatever woke it or did not."""
_GLANCE_S = 1.0
_COLLECT_S = 60.0
_RETRY_S = 1.0
_PAUSE_S = 0.1
"""A controller that wants to look again at once waits this long, wakes or not: its own entries wake it too."""


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
    generators: Generators
    pushes: Pushes
    checks: CommandChecks
    glances: tuple[Callable[[], object], ...] = ()
    """Cheap pictures of what changes without an entry; a picture that differs from the last wakes every controller."""
    collect: Callable[[], None] = lambda: None
    """Begins the day's garbage collection when it is due; asked once a minute, and returns at once."""


class ControlLoop:
    """Runs until it is cancelled."""

    def __init__(self, parts: LoopParts) -> None:
        self._parts = parts
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Drive everything; cancel to stop. Runs are left open for the next start."""
        self._parts.bus.attach(asyncio.get_running_loop())
        reconcilers: dict[str, asyncio.Task[None]] = {}
        loops = [
            asyncio.create_task(self._every("sources", self._sources, self._resume)),
            asyncio.create_task(self._every("checks", self._parts.checks.look, self._parts.checks.begin)),
            asyncio.create_task(self._every("generators", self._parts.generators.advance)),
            asyncio.create_task(self._every("promotions", self._parts.promotions.advance)),
            asyncio.create_task(self._glance()),
            asyncio.create_task(self._images()),
            asyncio.create_task(self._collect()),
        ]
        try:
            while True:
                seen = self._parts.bus.version
                for environment in await asyncio.to_thread(self._environments):
                    if environment not in reconcilers or reconcilers[environment].done():
                        reconcilers[environment] = asyncio.create_task(self._reconcile(environment))
                await self._pause(seen, _LOOK_S)
        finally:
            for task in [*loops, *reconcilers.values()]:
                task.cancel()
            await asyncio.gather(*loops, *reconcilers.values(), return_exceptions=True)
            await self._parts.checks.stop()
            await self._parts.pipeline.stop()

    async def _every(self, name: str, work: Callable[[], float | None], then: Callable[[], None] = lambda: None) -> None:
        """Do work at every wake, when it asked to be called again, and at least every ten seconds; `then` follows in the loop's thread."""
        while True:
            seen = self._parts.bus.version
            again_s = await self._guarded(name, work)
            then()
            await self._pause(seen, again_s)

    async def _pause(self, seen: int, again_s: float) -> None:
        """Wait for a wake since `seen`, at most again_s; never so short that a controller's own entries make it spin."""
        if again_s <= _PAUSE_S:
            await asyncio.sleep(_PAUSE_S)
        else:
            await self._parts.bus.wait(seen, min(again_s, _LOOK_S))

    async def _glance(self) -> None:
        """Wake everybody when something changed that no entry tells of; a glance that fails is a change, for a pass says why."""
        last: object = None
        while True:
            try:
                now: object = await asyncio.to_thread(lambda: [look() for look in self._parts.glances])
            except Exception:
                log.debug("a glance failed", exc_info=True)
                now = object()
            if now != last and last is not None:
                self._parts.bus.notify()
            last = now
            await asyncio.sleep(_GLANCE_S)

    async def _images(self) -> None:
        """Look at unpacked images, at their own pace: no entry of the journal says that a file was changed."""
        while True:
            await self._guarded("images", self._parts.images.advance)
            await asyncio.sleep(LOOK_S)

    async def _collect(self) -> None:
        """Ask once a minute whether garbage is to be collected."""
        while True:
            await self._guarded("garbage collection", self._parts.collect)
            await asyncio.sleep(_COLLECT_S)

    def _resume(self) -> None:
        """Take up open runs, in the loop's own thread; a fault must not end the loop."""
        try:
            self._parts.pipeline.resume()
        except Exception:
            log.exception("runs cannot be taken up; trying again")

    async def _reconcile(self, environment: str) -> None:
        await self._every(f"reconcile {environment}", lambda: self._parts.reconcile.advance(environment))

    async def _guarded(self, name: str, work: Callable[[], float | None]) -> float:
        """Run blocking work in a thread and return when to look again; log what goes wrong when it is news, and go on."""
        try:
            result = await asyncio.to_thread(work)
        except SetpointError as error:
            if self._said.get(name) != error.what:
                self._said[name] = error.what
                log.log(logging.WARNING if isinstance(error, WorldError) else logging.ERROR, "%s: %s", name, error.render())
            await asyncio.sleep(_RETRY_S)
            return _PAUSE_S
        except Exception:
            log.exception("%s failed; trying again", name)
            await asyncio.sleep(_RETRY_S)
            return _PAUSE_S
        self._said.pop(name, None)
        return _LOOK_S if result is None else result

    def _sources(self) -> None:
        """Begin a run for every head that moved and whose pusher is known by now; a fault with one keeps none of the others waiting."""
        faults: list[Exception] = []
        self._parts.pushes.mend()
        for branch, revision in self._parts.source.moved_heads():
            try:
                if self._parts.pushes.unsettled(revision.repository, branch, revision.commit):
                    self._parts.source.forget(revision.repository, branch)  # its entry wakes this loop
                    continue
                pusher = self._parts.pushes.pusher_of(revision.repository, revision.commit)
                self._parts.pipeline.begin(branch, revision, pusher)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other heads are not to be lost with it
                faults.append(error)
                if not isinstance(error, SetpointError) or isinstance(error, WorldError):
                    self._parts.source.forget(revision.repository, branch)
        if faults:
            raise faults[0]

    def _environments(self) -> list[str]:
        try:
            delivery = self._parts.delivery.load()
        except SetpointError:
            return []
        return delivery.ordered() if delivery is not None else []
