"""A picture of the live objects of a cluster, kept by watches: reading one costs no call, and whoever waits is woken when one changed.

Built by wiring for each Kubernetes target. Only the kinds and namespaces of the inventory are watched, and only its objects are kept,
compressed: an object is read far less often than it lies there. When a stream is down the picture stays and says since when it is stale:
what is not known is never taken for gone. It decides nothing.

Runs in one event loop; `get`, `changes` and `stale` may be called from any thread. The protocol is that of the Kubernetes API concepts,
"Efficient detection of changes": list in pages, watch from the list's version, bookmarks, list anew after 410.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from threading import Lock
from typing import Final

from setpoint.adapters.kubernetes.client import Change, Client, ExpiredError, Manifest
from setpoint.adapters.kubernetes.kinds import Kind
from setpoint.adapters.kubernetes.live_store import Store
from setpoint.core import clock
from setpoint.core.errors import ConflictError, SetpointError, UnreachableError, WorldError
from setpoint.reconcile.cluster.model import ObjectKey

SILENCE_S: Final = 100.0
"""Bookmarks come about once a minute: a stream that says nothing for longer is opened anew, for its connection may be dead."""
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0
STEADY_S: Final = 5.0
"""A stream that ends sooner counts as a failure."""
_POLL_S: Final = 30.0
"""How often a kind is listed that the server cannot watch."""
_NAMESPACES: Final = 8
"""In more namespaces than this a kind is watched in all of them by one stream."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What one stream watches."""

    api_version: str
    kind: str
    namespace: str = ""
    """Empty for all."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Since when a part of the picture may be old, and why."""

    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """What the picture shows of an object."""

    object: Manifest | None
    """None when it is not there, if it is known."""
    known: bool
    """Whether anything is known of it: it was listed, or asked for."""
    stale: Stale | None = None
    digest: str = ""
    """What stays while only the status, times and versions change: with it a verdict holds that was made before."""


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What a picture is made with."""

    client: Client
    wake: Callable[[], None]
    """Called after a change and when a stream breaks or is back, from the event loop; it must not block."""
    clock: clock.Clock
    chance: Callable[[], float] = random.random
    silence_s: float = SILENCE_S
    lost: Callable[[UnreachableError], object] = lambda _error: None
    """Called when a stream found nobody there twice in a row: one broken connection is nothing."""


@dataclass(slots=True)
class _Stream:
    """How a scope stands."""

    stale: Stale | None
    version: str = ""
    """Where the watch goes on; empty: it has to be listed."""
    listed: bool = False
    task: asyncio.Task[None] | None = None


def scopes_of(objects: Mapping[ObjectKey, str]) -> frozenset[Scope]:
    """Return the streams that show some objects, given with the version each is read in: by namespace, or one for very many."""
    spaces: dict[tuple[str, str], set[str]] = {}
    for key, api_version in objects.items():
        spaces.setdefault((api_version, key.kind), set()).add(key.namespace)
    found = set()
    for (api_version, kind), names in spaces.items():
        found |= {Scope(api_version, kind, name) for name in (names if len(names) <= _NAMESPACES else {""})}
    return frozenset(found)


def backoff_s(failures: int, chance: float) -> float:
    """Return how long the next try waits after so many failures in a row: doubling, with jitter (chance in 0..1) of one half each way."""
    return float(min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 16)) * (0.5 + chance))


class Live:
    """The picture of one cluster."""

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts
        self._store = Store()
        self._wanted: dict[ObjectKey, str] = {}
        self._streams: dict[Scope, _Stream] = {}
        self._asking: dict[ObjectKey, asyncio.Task[None]] = {}
        self._new: AbstractSet[ObjectKey] = frozenset()
        self._changed: set[ObjectKey] = set()
        self._lock = Lock()
        self._moved = asyncio.Event()

    def follow(self, objects: Mapping[ObjectKey, str]) -> None:
        """Show exactly these objects from now on, given with the version to read each in; called in the event loop, when they change."""
        # Before anybody can ask for them: what is new is not known until it was asked for, whatever its stream has listed.
        self._new = objects.keys() - self._wanted.keys()
        before, self._wanted = self._wanted, dict(objects)
        scopes = scopes_of(objects)
        for key in before.keys() - objects.keys():
            self._store.drop(key)
        for scope in self._streams.keys() - scopes:
            task = self._streams.pop(scope).task
            if task is not None:
                task.cancel()
        new = scopes - self._streams.keys()
        for scope in sorted(new):
            self._streams[scope] = _Stream(Stale(clock.to_text(self._parts.clock.now()), "it was not listed yet"))
            self._begin(scope)
        for key in objects.keys() - before.keys():
            if self._scope_of(key) not in new and self._store.version(key) == "":
                self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key, objects[key]))
        self._new = frozenset()

    async def close(self) -> None:
        """End all streams; the picture stays readable and is not kept up any more."""
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None] + list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in self._streams.values():
            stream.stale = stream.stale or Stale(clock.to_text(self._parts.clock.now()), "nobody watches any more")

    def get(self, key: ObjectKey) -> Look:
        """Return what is known of an object."""
        stream = self._stream_of(key)
        if stream is None:
            return Look(None, known=False)
        found = self._store.get(key)
        known = found is not None or (stream.listed and key not in self._asking and key not in self._new)
        return Look(found, known, stream.stale, self._store.digest(key))

    def marks(self, keys: Sequence[ObjectKey]) -> tuple[bytes, ...] | None:
        """Return a digest of everything of each object; None when one is not known, or its part of the picture may be old."""
        found, fresh = [], dict[tuple[str, str, str], bool]()
        for key in keys:
            if key in self._asking or key in self._new:
                return None
            place = (key.group, key.kind, key.namespace)
            if place not in fresh:
                stream = self._stream_of(key)
                fresh[place] = stream is not None and stream.listed and stream.stale is None
            if not fresh[place]:
                return None
            found.append(self._store.whole(key))
        return tuple(found)

    def digest(self, key: ObjectKey) -> str:
        """Return the digest of a look without unpacking the object; empty when it is not there or not known."""
        return self._store.digest(key)

    def learn(self, value: Manifest) -> None:
        """Take in what a call of our own returned, so that the next look sees it; what is older than the picture is left out."""
        key = ObjectKey.of(value)
        if key in self._wanted:
            self._store.keep(key, value)

    def changes(self) -> frozenset[ObjectKey]:
        """Return the objects that came, went or changed since the last call; a write that changed nothing is none."""
        with self._lock:
            found, self._changed = frozenset(self._changed), set()
        return found

    def stale(self) -> dict[Scope, Stale]:
        """Return the parts of the picture that may be old."""
        return {scope: stream.stale for scope, stream in list(self._streams.items()) if stream.stale is not None}

    async def fresh(self) -> None:
        """Wait until everything that is followed is known and every stream is up."""
        while self.stale() or self._asking:
            self._moved.clear()
            await self._moved.wait()

    def _scope_of(self, key: ObjectKey) -> Scope:
        """Return the scope that shows an object which is followed."""
        near = Scope(self._wanted[key], key.kind, key.namespace)
        return near if near in self._streams else Scope(self._wanted[key], key.kind)

    def _stream_of(self, key: ObjectKey) -> _Stream | None:
        try:
            return self._streams.get(self._scope_of(key))
        except KeyError:
            return None

    def _begin(self, scope: Scope) -> None:
        """Begin a stream, or begin it anew from a list."""
        stream = self._streams[scope]
        if stream.task is not None:
            stream.task.cancel()
        stream.version, stream.listed = "", False
        if stream.stale is None:
            stream.stale = Stale(clock.to_text(self._parts.clock.now()), "it was not listed again yet")
        stream.task = asyncio.get_running_loop().create_task(self._run(scope, stream))

    async def _run(self, scope: Scope, stream: _Stream) -> None:
        """Keep one stream up for ever."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            started = loop.time()
            try:
                kind = await self._parts.client.kinds.of(scope.api_version, scope.kind)
                stream.version = stream.version or await self._list(scope, stream, kind)
                await self._watch(scope, stream, kind)
                failures = 0 if loop.time() - started >= STEADY_S else failures + 1
            except (ExpiredError, ConflictError):
                # A list that was too old in its middle, or a watch that was: from the beginning.
                # Until then, what was made meanwhile is not known, and so not gone.
                stream.version, stream.listed, failures = "", False, failures + 1
            except SetpointError as error:
                # What held for a while and breaks once is opened again soon.
                failures = 1 if loop.time() - started >= _LONGEST_S else failures + 1
                self._down(stream, error.what if isinstance(error, WorldError) else f"{error.code}: {error.what}")
                if isinstance(error, UnreachableError) and failures > 1:
                    self._parts.lost(error)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                stream.version, failures = "", failures + 1
                self._down(stream, f"the server's answer cannot be understood: {error!r}")
            if failures:
                await asyncio.sleep(backoff_s(failures, self._parts.chance()))

    async def _list(self, scope: Scope, stream: _Stream, kind: Kind) -> str:
        """Take in everything that is there, page by page; what is not there any more is gone."""
        seen: set[ObjectKey] = set()
        version = ""
        async for page in self._parts.client.pages(kind, scope.namespace or None):
            version = page.resource_version
            for item in page.objects:
                key = ObjectKey.of(item)
                if key in self._wanted:
                    seen.add(key)
                    self._tell(key, changed=self._store.keep(key, item))
        for key in [key for key in self._wanted if key not in seen and self._scope_of(key) == scope]:
            self._tell(key, changed=self._store.forget(key, version))
        stream.listed = True
        return version

    async def _watch(self, scope: Scope, stream: _Stream, kind: Kind) -> None:
        """Take in changes as they come, until the server ends the stream or it falls silent."""
        if "watch" not in kind.verbs:
            self._up(stream)
            stream.version = ""
            await asyncio.sleep(_POLL_S)
            return
        changes = self._parts.client.watch(kind, stream.version, scope.namespace or None, opened=lambda: self._up(stream))
        async with aclosing(changes):
            while True:
                try:
                    async with asyncio.timeout(self._parts.silence_s):
                        change = await anext(changes)
                except (StopAsyncIteration, TimeoutError):
                    return
                self._take(change)
                stream.version = str(change.object["metadata"]["resourceVersion"])

    def _take(self, change: Change) -> None:
        if change.what == "BOOKMARK":
            return
        key = ObjectKey.of(change.object)
        if change.what == "DELETED":
            self._tell(key, changed=self._store.forget(key, str(change.object["metadata"]["resourceVersion"])))
        elif key in self._wanted:
            self._tell(key, changed=self._store.keep(key, change.object))

    async def _ask(self, key: ObjectKey, api_version: str) -> None:
        """Read one object that its stream passed over before anybody wanted it."""
        try:
            kind = await self._parts.client.kinds.of(api_version, key.kind)
            found = await self._parts.client.get(kind, key.namespace or None, key.name)
            if found is not None:
                self.learn(found)
        except SetpointError:
            # Its stream begins anew, and the list brings it.
            if self._stream_of(key) is not None:
                self._begin(self._scope_of(key))
        finally:
            del self._asking[key]
            self._tell(key, changed=True)

    def _up(self, stream: _Stream) -> None:
        if stream.stale is not None:
            stream.stale = None
            self._parts.wake()
        self._moved.set()

    def _down(self, stream: _Stream, reason: str) -> None:
        """Mark a part as old; while it stays down the first moment counts."""
        since = stream.stale.since if stream.stale is not None else clock.to_text(self._parts.clock.now())
        stream.stale = Stale(since, reason)
        self._parts.wake()

    def _tell(self, key: ObjectKey, *, changed: bool) -> None:
        self._moved.set()
        if changed:
            with self._lock:
                self._changed.add(key)
            self._parts.wake()
