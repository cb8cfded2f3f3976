"""Whether a cluster answers: since when it does not, why, and when it is tried again. Called by `clusters`, from its loop and from passes.

One failure to reach it stands for all that would follow: nobody asks again until one probe was answered. Probes come with a doubling pause
and jitter; any answer of the server, on whatever call, ends it. What a single object is refused for is none of its business.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from setpoint.core import clock
from setpoint.core.errors import CredentialError, UnreachableError
from setpoint.ground.clusters.model import ClusterContact

PROBE_S: Final = 5.0
"""How long one probe may take; meanwhile nobody else makes one."""
_FIRST_S: Final = 1.0
_LONGEST_S: Final = 30.0
_Lost = Literal["unreachable", "credential refused"]


class Contact:
    """How we stand with one cluster; safe to call from any thread."""

    def __init__(
        self,
        name: str,
        time_: clock.Clock,
        wake: Callable[[], None],
        elapsed: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._clock = time_
        self._wake = wake
        self._elapsed = elapsed
        self._chance = chance
        self._lock = threading.Lock()
        self._error: UnreachableError | None = None
        self._failures = 0
        self._probing = False
        self._next = 0.0
        self._state = ClusterContact()
        self.heard_at = 0.0
        """When an answer came last, by the clock of `elapsed`."""

    def heard(self) -> None:
        """Note an answer of the server; after a silence, who waited for it is woken."""
        self.heard_at = self._elapsed()
        if self._state.state == "answers":
            return
        with self._lock:
            back, self._error, self._failures = self._error is not None, None, 0
            self._state = ClusterContact("answers", clock.to_text(self._clock.now()))
        if back:
            self._wake()

    def lost(self, error: UnreachableError) -> UnreachableError:
        """Note that nobody answered, and return what to tell of the cluster as a whole."""
        state: _Lost = "credential refused" if isinstance(error, CredentialError) else "unreachable"
        with self._lock:
            same = self._error is not None
            since = self._state.since if same else clock.to_text(self._clock.now())
            if not same or self._probing:
                self._failures, self._probing = self._failures + 1, False
                pause_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._failures - 1, 16)) * (0.5 + self._chance())
                self._next = self._elapsed() + pause_s
            self._error, self._state = error, ClusterContact(state, since, error.what)
            return self._told(error)

    def error(self) -> UnreachableError | None:
        """Return why nothing is asked now; None while it answers, or was never asked."""
        with self._lock:
            return self._told(self._error) if self._error is not None else None

    def _told(self, error: UnreachableError) -> UnreachableError:
        """Return a new error of the same words: one that is raised many times would keep every way it took."""
        wait_s = max(0.0, self._next - self._elapsed())
        told = type(error)(error.code, error.what, where=f"cluster {self._name}", fix=error.fix, retry_after_s=wait_s)
        told.since = self._state.since
        return told

    def probes(self) -> bool:
        """Say whether the caller is to try it now; who is told so is the only one for a while."""
        with self._lock:
            if self._error is None or self._elapsed() < self._next:
                return False
            self._next, self._probing = self._elapsed() + PROBE_S, True
            return True

    @property
    def state(self) -> ClusterContact:
        """How we stand with it."""
        return self._state
