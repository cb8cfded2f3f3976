"""The runner's event loop: file descriptors and deadlines, nothing else; asyncio would bring TLS and 10 MB that the runner does not need.

Called by the runner process and its tasks; single-threaded on purpose, for bubblewrap dies with the *thread* that started it.
"""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

Callback = Callable[[], None]


class EventLoop:
    """Calls back when a descriptor is readable or a time has come."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._deadlines: list[tuple[float, int, Callback]] = []
        self._cancelled: set[int] = set()
        self._tickets = itertools.count()

    def watch(self, descriptor: int, callback: Callback) -> None:
        """Call back whenever descriptor is readable, until `unwatch`."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; unknown descriptors are fine."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def watching(self, descriptor: int) -> bool:
        """Whether descriptor is being watched."""
        return descriptor in self._selector.get_map()

    def after(self, delay_s: float, callback: Callback) -> int:
        """Call back once in delay_s seconds; returns a ticket for `forget`."""
        ticket = next(self._tickets)
        heapq.heappush(self._deadlines, (time.monotonic() + delay_s, ticket, callback))
        return ticket

    def forget(self, ticket: int | None) -> None:
        """Cancel a deadline; one that has passed is fine."""
        if ticket is not None and any(ticket == known for _, known, _ in self._deadlines):
            self._cancelled.add(ticket)

    def step(self) -> None:
        """Wait for the next thing and handle what is due."""
        wait_s = max(0.0, self._deadlines[0][0] - time.monotonic()) if self._deadlines else None
        for key, _ in self._selector.select(wait_s):
            if key.fd in self._selector.get_map():
                key.data()
        while self._deadlines and self._deadlines[0][0] <= time.monotonic():
            _, ticket, callback = heapq.heappop(self._deadlines)
            if ticket in self._cancelled:
                self._cancelled.discard(ticket)
            else:
                callback()
