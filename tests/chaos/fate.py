"""Where a process may die: before and after every port call that writes; used by the crash road of tests/chaos.

Nobody lists those calls: on a first road every call of every adapter is watched, and what was seen to write is a point of death.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from chaos.writes import Writes

T = TypeVar("T")
When = Literal["before", "after", "torn"]


class CrashError(BaseException):
    """The process is gone; no `except Exception` of the product may see it."""


@dataclass
class Fate:
    """Counts the calls that write, and ends the process at the chosen ones."""

    deaths: Sequence[tuple[int, When]] = ()
    """(number of the call, counted in the life that this death ends; before it, after it, or in its middle), one per life"""
    writers: frozenset[str] = frozenset()
    """The port calls that may write; all others pass."""
    watch: Writes | None = None
    """On the first road: finds the writers."""
    lives: int = 0
    dead: bool = False
    names: list[list[str]] = field(default_factory=lambda: [[]])
    """The calls of each life."""
    look: Callable[[], object] | None = None
    """When there, looks at everything that outlives the process, before and after every call."""
    news: list[list[bool]] = field(default_factory=lambda: [[]])
    """With `look`: whether something had changed before a call since the call before it was done; true for the first of a life."""
    _seen: object = None

    def pass_through(self, name: str, call: Callable[[], T], torn: Callable[[], object] | None = None) -> T:
        """Do the call, unless the process dies at it; whoever died does nothing any more, whatever `finally` asks for."""
        if self.dead:
            raise CrashError(name)
        if self.watch is not None:
            return self.watch.during(name, call)
        if name not in self.writers:
            return call()
        calls = self.names[-1]
        calls.append(name)
        if self.look is not None:
            self.news[-1].append(self.look() != self._seen)
        when = self._death(len(calls) - 1)
        if when == "torn" and torn is not None:
            torn()
        if when in {"before", "torn"}:
            self._die(name)
        result = call()
        if self.look is not None:
            self._seen = self.look()
        if when == "after":
            self._die(name)
        return result

    def _death(self, number: int) -> When | None:
        if self.lives < len(self.deaths) and self.deaths[self.lives][0] == number:
            return self.deaths[self.lives][1]
        return None

    def _die(self, name: str) -> None:
        self.dead = True
        raise CrashError(name)

    def reborn(self) -> None:
        """Begin the next life."""
        self.lives, self.dead = self.lives + 1, False
        self.names.append([])
        self.news.append([])
        self._seen = None


class _Mortal:
    """An adapter whose calls are points where the process may die; what is no plain method passes through."""

    def __init__(self, inner: Any, fate: Fate, name: str) -> None:
        self._inner, self._fate, self._name = inner, fate, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        label = f"{self._name}.{name}"
        if not inspect.ismethod(found) or inspect.iscoroutinefunction(found):
            return found
        if self._fate.watch is None and label not in self._fate.writers and not self._fate.dead:
            return found
        return lambda *args, **named: self._fate.pass_through(label, lambda: found(*args, **named))


def mortal(inner: T, fate: Fate, name: str = "") -> T:
    """Return inner with its methods as points of death."""
    return cast(T, _Mortal(inner, fate, name or type(inner).__name__))
