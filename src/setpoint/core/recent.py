"""What was worked out and may be asked for again, bounded by weight: the least recently used goes first.

Used by stages and adapters from several threads, under keys that name immutable things (commits, trees, digests) or versions, so that
nothing here goes out of date by itself. A miss costs time only, so nothing is ever written anywhere.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that forgets."""

    def __init__(self, weight: int) -> None:
        """Keep entries until their weights together are more than `weight`."""
        self._most = weight
        self._weight = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return what is kept, if it is; it is the most recently used from now on."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> V:
        """Keep a value and return it; older ones make room for it."""
        with self._lock:
            replaced = self._entries.pop(key, None)
            self._weight += weight - (replaced[1] if replaced is not None else 0)
            self._entries[key] = (value, weight)
            while self._weight > self._most and len(self._entries) > 1:
                _, (_, lost) = self._entries.popitem(last=False)
                self._weight -= lost
        return value

    def of(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept, made when it is not; what fails is not kept, and two threads may make the same at once."""
        found = self.get(key)
        return found if found is not None else self.put(key, make())

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._entries)
