"""The real clocks: what the machine says, and what runs on whatever anybody sets it to; handed to everything that asks for time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def since_boot_s() -> float:
    """Return the seconds since the machine was started, sleep included (clock_gettime(2), CLOCK_BOOTTIME): nobody can set them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """Reads the machine's wall clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


class SteadyClock:
    """Goes on from an instant at the pace of the seconds since boot: for how long something takes, not for when it was.

    A wall clock that is set back by an hour would have probes, drains and the steps of a canary wait for that hour.
    """

    def __init__(self, start: datetime, elapsed_s: Callable[[], float] = since_boot_s) -> None:
        self._start = start
        self._elapsed_s = elapsed_s
        self._zero_s = elapsed_s()

    def now(self) -> datetime:
        """Return start and what has gone by since."""
        return self._start + timedelta(seconds=self._elapsed_s() - self._zero_s)
