"""Customers of production: they ask all the time, each request over a new connection, and count answers by the revision that gave them.

Started by the demo before the second release; nobody should notice a good release, a rollback or a drift.
"""

import http.client
import threading
from collections import Counter

PEOPLE = 3
PAUSE_S = 0.02


class Traffic:
    """A few customers, each in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._done = threading.Event()
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._shop, args=(number,), daemon=True) for number in range(PEOPLE)]
        self.answered: Counter[str] = Counter()
        """Good answers by revision."""
        self.failed: Counter[str] = Counter()
        """Failures by revision; without one when nobody answered."""

    def start(self) -> None:
        """Send them in."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send them home."""
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _shop(self, number: int) -> None:
        customer = number
        while not self._done.wait(PAUSE_S):
            customer += PEOPLE
            good, revision = self._ask(customer)
            with self._guard:
                (self.answered if good else self.failed)[revision] += 1

    def _ask(self, customer: int) -> tuple[bool, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/status/200", headers={"X-Customer": str(customer)})
            answer = connection.getresponse()
            return answer.status == 200, answer.getheader("Setpoint-Revision", "")
        except (OSError, http.client.HTTPException):
            return False, ""
        finally:
            connection.close()
