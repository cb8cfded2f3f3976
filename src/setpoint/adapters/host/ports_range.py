"""Which loopback port a new replica listens on: one nobody uses and nobody was promised.

Called by the runtime; thread-safe; never opens a listening socket for longer than the look.
"""

import socket
import threading
import time
from collections.abc import Callable

from setpoint.core.errors import WorldError

_PROMISE_S = 600.0


class PortRange:
    """Hands out ports of a range in turn, so that a port rests before it is used again."""

    def __init__(self, first: int, last: int, start: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start says where in the range to begin: two homes on one machine should not begin at the same port."""
        self._first = first
        self._count = last - first + 1
        self._next = start % self._count
        self._monotonic = monotonic
        self._promised: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self, used: set[int]) -> int:
        """Return a port that is not in used, not promised in the last ten minutes, and that nothing listens on.

        Raises:
            WorldError: the whole range is taken (SP635).
        """
        with self._lock:
            now = self._monotonic()
            self._promised = {port: until for port, until in self._promised.items() if until > now}
            for _ in range(self._count):
                port = self._first + self._next
                self._next = (self._next + 1) % self._count
                if port not in used and port not in self._promised and _is_free(port):
                    self._promised[port] = now + _PROMISE_S
                    return port
        what = f"no port is free between {self._first} and {self._first + self._count - 1}"
        raise WorldError("SP635", what, fix="stop what listens there, or remove replicas")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free, one that is listened on is not
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
