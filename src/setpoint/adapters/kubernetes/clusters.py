"""All clusters of a home, for who does not live in an event loop: one loop in a thread of its own, and calls into it with a deadline.

Built by wiring; fills `reconcile.cluster.ports`. A cluster that did not answer is not asked again before a probe was answered (`contact`):
a dead one costs its environments a moment, and others nothing. Of many objects at once the first that finds nobody there ends the rest.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.contact import PROBE_S, Contact
from setpoint.adapters.kubernetes.kubeconfig import Access, in_cluster, parse
from setpoint.adapters.kubernetes.last_words import last_words
from setpoint.adapters.kubernetes.live import Live, LiveParts
from setpoint.adapters.kubernetes.pod_picture import PodPicture
from setpoint.adapters.kubernetes.transport import Transport
from setpoint.core import clock
from setpoint.core.errors import NotFoundError, SetpointError, UnreachableError
from setpoint.ground.clusters.model import ClusterContact, ClusterFacts
from setpoint.ground.clusters.service import IN_CLUSTER
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.owner import MANAGER
from setpoint.reconcile.cluster.ports import Deletion
from setpoint.reconcile.pods.model import Pod, PodsLook

T = TypeVar("T")
Item = TypeVar("Item")
log = logging.getLogger(__name__)

_SHORT_S: Final = 12.0
"""For what is one call or two."""
_LONG_S: Final = 600.0
"""For many objects at once, while answers come."""
_SILENT_S: Final = 40.0
"""For many objects at once, while none comes: an admission webhook may take 30 s."""
_GLANCE_S: Final = 1.0


def facts(kubeconfig: str, context: str) -> ClusterFacts:
    """Return what may be told of a kubeconfig (see `KubeconfigReading`)."""
    access = parse(kubeconfig.encode(), Path("kubeconfig"), context, alone=True)
    plugin, file = access.credential.plugin, access.credential.token_file
    return ClusterFacts(access.server, plugin.command if plugin is not None else "", str(file or ""))


def access_of(name: str, content: str, context: str) -> Access:
    """Return how a registered cluster is reached; its kubeconfig is in one piece."""
    return parse(content.encode(), Path("/") / name, context, alone=True)


class KubernetesCluster:
    """One cluster (see the port); safe to call from any thread but the loop's."""

    def __init__(self, name: str, access: Access, loop: asyncio.AbstractEventLoop, wake: Callable[[], None], time_: clock.Clock) -> None:
        self.access = access
        self._name = name
        self._loop = loop
        self._contact = Contact(name, time_, wake)
        self._transport = Transport(access, heard=self._contact.heard)
        self._client = Client(self._transport)
        self._live = Live(LiveParts(self._client, wake, time_, lost=self._contact.lost))
        self._pods = PodPicture(self._client, wake, time_)
        self._watched: frozenset[str] = frozenset()
        self._followed: dict[str, Mapping[ObjectKey, str]] = {}
        self._lock = threading.Lock()

    @property
    def contact(self) -> ClusterContact:
        """How we stand with it."""
        return self._contact.state

    @property
    def sent(self) -> Mapping[str, int]:
        """How many calls were made to it: `read`, `dry-run`, `write`."""
        return self._transport.sent

    def reach(self) -> None:
        """Raise why the cluster cannot be asked; costs no call while it answers, and one probe when that is due."""
        error = self._contact.error()
        if error is not None and self._contact.probes():
            self._call(self._client.version(), PROBE_S, probe=True)
        elif error is not None:
            raise error

    def is_namespaced(self, api_version: str, kind: str) -> bool:
        """Say whether objects of a kind lie in namespaces."""
        known = self._client.kinds.known(api_version, kind)
        if known is not None:
            return known.namespaced

        async def ask() -> bool:
            return (await self._client.kinds.of(api_version, kind)).namespaced

        return self._call(ask(), _SHORT_S)

    def follow(self, place: str, objects: Mapping[ObjectKey, str]) -> None:
        """Keep a picture of some objects for a place."""
        with self._lock:
            if self._followed.get(place) == objects:
                return
            self._followed[place] = dict(objects)
            every = {key: version for one in self._followed.values() for key, version in one.items()}
            self._loop.call_soon_threadsafe(self._live.follow, every)

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return what the picture shows."""
        found = {}
        for key in keys:
            look = self._live.get(key)
            since, reason = (look.stale.since, look.stale.reason) if look.stale is not None else ("", "")
            found[key] = Seen(look.object, look.known, since, reason, look.digest)
        return found

    def marks(self, keys: Sequence[ObjectKey]) -> tuple[object, ...] | None:
        """Return what changes with anything of some objects (see the port)."""
        return self._live.marks(keys)

    def look(self, objects: Mapping[ObjectKey, str]) -> dict[ObjectKey, Object | SetpointError | None]:
        """Read objects now."""

        async def one(item: tuple[ObjectKey, str]) -> Object | SetpointError | None:
            key, version = item
            try:
                kind = await self._client.kinds.of(version, key.kind)
                return await self._client.get(kind, key.namespace or None, key.name)
            except UnreachableError:
                raise
            except SetpointError as error:
                return error

        items = list(objects.items())
        return dict(zip((key for key, _version in items), self._call(self._every(one, items), _LONG_S), strict=True))

    def apply(self, manifests: Sequence[Object], *, dry_run: bool = False) -> dict[ObjectKey, Object | SetpointError]:
        """Apply objects server-side, many at a time."""

        async def one(manifest: Object) -> Object | SetpointError:
            try:
                kind = await self._client.kinds.of(str(manifest["apiVersion"]), str(manifest["kind"]))
                made = await self._client.apply(kind, dict(manifest), MANAGER, dry_run=dry_run, force=True)
            except UnreachableError:
                raise
            except SetpointError as error:
                return error
            if not dry_run:
                self._live.learn(made)
            return made

        done = self._call(self._every(one, manifests), _LONG_S)
        return {ObjectKey.of(manifest): result for manifest, result in zip(manifests, done, strict=True)}

    def take_over(self, key: ObjectKey, api_version: str, patch: Mapping[str, Any]) -> Object:
        """Patch the field owners of an object and return it."""

        async def work() -> Object:
            kind = await self._client.kinds.of(api_version, key.kind)
            made = await self._client.patch(kind, key.namespace or None, key.name, patch)
            self._live.learn(made)
            return made

        return self._call(work(), _SHORT_S)

    def said(self, key: ObjectKey) -> str:
        """Return the last lines of a Job's newest pod."""
        try:
            return self._call(last_words(self._client, key), _SHORT_S)
        except SetpointError:
            return ""

    def delete(self, deletions: Sequence[Deletion]) -> dict[ObjectKey, SetpointError | None]:
        """Begin to delete objects."""

        async def one(what: Deletion) -> SetpointError | None:
            try:
                kind = await self._client.kinds.of(what.api_version, what.key.kind)
                await self._client.delete(kind, what.key.namespace or None, what.key.name, uid=what.uid)
            except UnreachableError:
                raise
            except SetpointError as error:
                return error
            return None

        done = self._call(self._every(one, deletions), _LONG_S)
        return {what.key: result for what, result in zip(deletions, done, strict=True)}

    def watch_pods(self, namespaces: Collection[str]) -> None:
        """Keep a picture of the pods in exactly these namespaces."""
        with self._lock:
            if self._watched != frozenset(namespaces):
                self._watched = frozenset(namespaces)
                self._loop.call_soon_threadsafe(self._pods.watch, self._watched)

    def pods(self, namespace: str) -> PodsLook:
        """Return the pods of a namespace, as the picture shows them."""
        return self._pods.look(namespace)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Return a pod, read now."""
        return self._call(self._pods.read(namespace, name), _SHORT_S)

    def ask(self, work: Callable[[Client, Transport], Coroutine[Any, Any, T]]) -> T:
        """Return what one short piece of work with the connection brings; an error that it raises is the cluster's."""
        return self._call(work(self._client, self._transport), _SHORT_S)

    async def close(self) -> None:
        """End all streams and connections."""
        await self._live.close()
        await self._pods.close()
        await self._transport.close()

    async def _every(self, work: Callable[[Item], Coroutine[Any, Any, T]], items: Sequence[Item]) -> list[T]:
        """Do many things at once; the first that finds nobody there ends the others, and so does a long silence.

        Raises:
            UnreachableError: nobody answers there any more.
        """
        tasks = [asyncio.create_task(work(item)) for item in items]
        left, began = set(tasks), time.monotonic()
        try:
            while left:
                done, left = await asyncio.wait(left, timeout=_GLANCE_S, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                if left and time.monotonic() - max(began, self._contact.heard_at) > _SILENT_S:
                    raise _silent(_SILENT_S)
        finally:
            for task in left:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    def _call(self, work: Coroutine[Any, Any, T], limit_s: float, *, probe: bool = False) -> T:
        """Run work in the loop and wait for it, at most so long.

        Raises:
            UnreachableError: nobody answers there, or did a moment ago (SP682), or we are not known there (SP681, SP689).
        """
        error = self._contact.error()
        if error is not None and not probe:
            work.close()
            raise error
        waiting = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, limit_s), self._loop)
        try:
            return waiting.result(limit_s + 5.0)
        except TimeoutError:
            waiting.cancel()
            raise self._contact.lost(_silent(limit_s)) from None
        except UnreachableError as lost:
            raise self._contact.lost(lost) from lost


class KubernetesClusters:
    """The clusters of a home by name; connections are made when one is asked for the first time."""

    def __init__(self, kubeconfig: Callable[[str], tuple[str, str]], wake: Callable[[], None], time_: clock.Clock) -> None:
        self._kubeconfig = kubeconfig
        """name -> (content, context)"""
        self._wake = wake
        self._clock = time_
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: dict[str, KubernetesCluster] = {}
        self._parsed: dict[str, tuple[tuple[str, str], Access]] = {}
        """What a kubeconfig was read as, with what was read."""

    def of(self, name: str) -> KubernetesCluster:
        """Return a cluster (see the port); a new kubeconfig of its name makes a new connection."""
        try:
            access = in_cluster(os.environ) if name == IN_CLUSTER else self._access(name)
        except NotFoundError:
            self._drop(name)
            raise
        with self._lock:
            loop = self._running()
            found = self._open.get(name)
            if found is not None and found.access != access:
                asyncio.run_coroutine_threadsafe(found.close(), loop)
                found = None
            if found is None:
                found = self._open[name] = KubernetesCluster(name, access, loop, self._wake, self._clock)
            return found

    def contact(self, name: str) -> ClusterContact:
        """Return how we stand with a cluster since the server began; asks nobody."""
        with self._lock:
            found = self._open.get(name)
        return found.contact if found is not None else ClusterContact()

    def sent(self) -> dict[str, Mapping[str, int]]:
        """Return how many calls were made to each cluster since its connection was made: `read`, `dry-run`, `write`."""
        with self._lock:
            return {name: one.sent for name, one in self._open.items()}

    def _drop(self, name: str) -> None:
        """Close the connection to a cluster that is not ours to work on any more."""
        with self._lock:
            found = self._open.pop(name, None)
            if found is not None and self._loop is not None:
                asyncio.run_coroutine_threadsafe(found.close(), self._loop)

    def close(self) -> None:
        """End everything; called once, when the server ends. Whatever goes wrong is only noted: others have to be ended after it."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = None
            if loop is None or thread is None:
                return
            closing = asyncio.run_coroutine_threadsafe(_close_all(list(self._open.values())), loop)
            try:
                closing.result(10)
            except Exception:
                log.warning("a connection to a cluster did not end in order", exc_info=True)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)

    def _access(self, name: str) -> Access:
        content, context = self._kubeconfig(name)
        kept = self._parsed.get(name)
        if kept is None or kept[0] != (content, context):
            kept = self._parsed[name] = ((content, context), access_of(name, content, context))
        return kept[1]

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name="kubernetes", daemon=True)
            self._thread.start()
        return self._loop


def _silent(waited_s: float) -> UnreachableError:
    return UnreachableError("SP682", f"no answer in {waited_s:.0f} s", fix="is the cluster up, and its address right?")


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _close_all(clusters: Sequence[KubernetesCluster]) -> None:
    for cluster in clusters:
        await cluster.close()
