"""Says that something changed: wakes the control loop and whoever follows events or logs; a hint only, everything is found by looking too.

Used inside the server process; `notify` may be called from any thread. It carries no content: nothing depends on a message arriving.
"""

import asyncio
from contextlib import suppress


class Bus:
    """A counter that grows with every change, and a way to wait for it to grow; `onward` are told whatever this one is told."""

    def __init__(self, *onward: "Bus") -> None:
        self._onward = onward
        self._version = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def version(self) -> int:
        """How many changes there have been."""
        return self._version

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the event loop that waits."""
        self._loop = loop
        for bus in self._onward:
            bus.attach(loop)

    def notify(self) -> None:
        """Something changed."""
        self._version += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # the event loop was closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)
        for bus in self._onward:
            bus.notify()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, seen: int, timeout_s: float) -> int:
        """Return the version once it is past `seen`, or after the timeout."""
        if self._version == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                # Not wait_for, which before Python 3.12 loses a cancellation that comes together with the wake.
                await asyncio.wait({waiter}, timeout=timeout_s)
            finally:
                self._waiters.discard(waiter)
        return self._version
