"""A picture of the pods in some namespaces of a cluster, kept by watches: of each pod only what says what it runs and who made it.

Built by the cluster's connection; fills `reconcile.pods.ports`. A stream that breaks is opened anew, and the picture says since when it is
old. Whose a pod is stands in its owners, which are read once each as metadata alone. It decides nothing.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from setpoint.adapters.kubernetes.client import Client, ExpiredError, Manifest
from setpoint.adapters.kubernetes.live import SILENCE_S, STEADY_S, backoff_s
from setpoint.core import clock
from setpoint.core.errors import ConflictError, SetpointError
from setpoint.reconcile.cluster.owner import owner_of
from setpoint.reconcile.pods.model import Pod, PodContainer, PodOwner, PodsLook

MOST: Final = 20_000
"""Pods that are kept of one cluster, about 2 kB each; what is beyond is not looked at, and that is said."""
_DEPTH: Final = 5
_REVISION: Final = "deployment.kubernetes.io/revision"
_LATER_S: Final = 5.0
"""When an owner that could not be read is read again."""
_SORTS: Final = (("containers", "container"), ("initContainers", "init"), ("ephemeralContainers", "ephemeral"))


@dataclass(slots=True)
class _Space:
    """The pods of one namespace."""

    task: asyncio.Task[None] | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    since: str = ""
    reason: str = "its pods were not listed yet"
    version: int = 0


class PodPicture:
    """The pods of one cluster; `look` may be called from any thread, everything else in the event loop."""

    def __init__(self, client: Client, wake: Callable[[], None], time_: clock.Clock) -> None:
        self._client = client
        self._wake = wake
        self._clock = time_
        self._spaces: dict[str, _Space] = {}
        self._owners: dict[str, PodOwner] = {}
        """By uid, with the owner above it in `_above`."""
        self._above: dict[str, dict[str, Any] | None] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def watch(self, namespaces: Collection[str]) -> None:
        """Keep a picture of exactly these namespaces."""
        for name in self._spaces.keys() - set(namespaces):
            space = self._spaces.pop(name)
            if space.task is not None:
                space.task.cancel()
        for name in sorted(set(namespaces) - self._spaces.keys()):
            space = self._spaces[name] = _Space(since=clock.to_text(self._clock.now()))
            space.task = asyncio.get_running_loop().create_task(self._run(name, space))

    def look(self, namespace: str) -> PodsLook:
        """Return what is known of a namespace."""
        space = self._spaces.get(namespace)
        if space is None:
            return PodsLook((), "", "nobody watches its pods")
        return PodsLook(tuple(space.pods.copy().values()), space.since, space.reason if space.since else "", space.version)

    async def read(self, namespace: str, name: str) -> Pod | None:
        """Return one pod with its whole chain, read now."""
        value = await self._client.get(await self._client.kinds.of("v1", "Pod"), namespace, name)
        if value is None:
            return None
        reference, read = _controller(value), 0
        while reference is not None and read < _DEPTH:
            if reference["uid"] not in self._owners:
                await self._read(namespace, reference)
            reference, read = self._above.get(reference["uid"]), read + 1
        return self._chained(trimmed(value), value)

    async def close(self) -> None:
        """End all streams."""
        tasks = [*(space.task for space in self._spaces.values() if space.task is not None), *self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, namespace: str, space: _Space) -> None:
        """Keep one stream up for ever (see `live.Live`, whose protocol this is)."""
        loop, failures, version = asyncio.get_running_loop(), 0, ""
        while True:
            started = loop.time()
            try:
                version = version or await self._list(namespace, space)
                version = await self._watch(namespace, space, version)
                failures = 0 if loop.time() - started >= STEADY_S else failures + 1
            except (ExpiredError, ConflictError):
                version, failures = "", failures + 1
            except SetpointError as error:
                failures += 1
                self._down(space, f"{error.code}: {error.what}")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                version, failures = "", failures + 1
                self._down(space, f"the server's answer cannot be understood: {error!r}")
            if failures:
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - jitter

    async def _list(self, namespace: str, space: _Space) -> str:
        seen, version = set(), ""
        async for page in self._client.pages(await self._client.kinds.of("v1", "Pod"), namespace):
            version = page.resource_version
            for value in page.objects:
                seen.add(str(value["metadata"]["uid"]))
                self._keep(namespace, space, value)
        for uid in space.pods.keys() - seen:
            self._drop(space, uid)
        return version

    async def _watch(self, namespace: str, space: _Space, version: str) -> str:
        """Take in changes until the stream ends; returns where to go on."""
        kind = await self._client.kinds.of("v1", "Pod")
        changes = self._client.watch(kind, version, namespace, opened=lambda: self._up(space))
        async with aclosing(changes):
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        change = await anext(changes)
                except (StopAsyncIteration, TimeoutError):
                    return version
                version = str(change.object["metadata"]["resourceVersion"])
                if change.what == "DELETED":
                    self._drop(space, str(change.object["metadata"]["uid"]))
                elif change.what != "BOOKMARK":
                    self._keep(namespace, space, change.object)

    def _up(self, space: _Space) -> None:
        if space.since and sum(len(one.pods) for one in self._spaces.values()) < MOST:
            space.since, space.reason = "", ""
            self._changed(space)

    def _down(self, space: _Space, reason: str) -> None:
        space.since, space.reason = space.since or clock.to_text(self._clock.now()), reason
        self._changed(space)

    def _changed(self, space: _Space) -> None:
        space.version += 1
        self._wake()

    def _keep(self, namespace: str, space: _Space, value: Manifest) -> None:
        pod = trimmed(value)
        if pod.uid not in space.pods and sum(len(one.pods) for one in self._spaces.values()) >= MOST:
            self._down(space, f"there are more than {MOST} pods, and no more are looked at")
            return
        pod = self._chained(pod, value)
        before = space.pods.get(pod.uid)
        space.pods[pod.uid] = pod
        if not pod.chained:
            self._begin(namespace, space, pod.uid, value)
        if before is None or _judged(before) != _judged(pod):
            self._changed(space)
        elif before != pod:
            space.version += 1  # shown, and of no consequence for anybody's pass

    def _drop(self, space: _Space, uid: str) -> None:
        if space.pods.pop(uid, None) is not None:
            self._changed(space)
        if len(self._owners) > 2 * MOST:  # their pods are long gone; whose are not are read again
            self._owners.clear()
            self._above.clear()

    # Owners

    def _chained(self, pod: Pod, value: Manifest) -> Pod:
        """Return a pod with its chain of owners, as far as it is known."""
        chain: list[PodOwner] = []
        reference = _controller(value)
        while reference is not None and len(chain) < _DEPTH:
            known = self._owners.get(str(reference.get("uid")))
            if known is None:
                return replace(pod, owners=tuple(chain), chained=False)
            chain.append(known)
            reference = self._above.get(known.uid)
        return replace(pod, owners=tuple(chain), chained=True)

    def _begin(self, namespace: str, space: _Space, uid: str, value: Manifest) -> None:
        """Find out the rest of a chain, then take the pod in again."""
        if uid in self._reading:
            return

        async def work() -> None:
            try:
                reference = _controller(value)
                for _ in range(_DEPTH):
                    if reference is None:
                        break
                    if str(reference["uid"]) not in self._owners:
                        await self._read(namespace, reference)
                    reference = self._above.get(str(reference["uid"]))
            except SetpointError as error:  # nothing is said of it until its owners can be read
                self._down(space, f"the owner of pod {value['metadata']['name']} cannot be read: {error.code}: {error.what}")
                await asyncio.sleep(_LATER_S)
            finally:
                del self._reading[uid]
            now = space.pods.get(uid)
            if now is None:
                return
            space.pods[uid] = again = self._chained(now, value)
            if again.chained:
                self._up(space)
                self._changed(space)
            else:
                self._begin(namespace, space, uid, value)

        self._reading[uid] = asyncio.get_running_loop().create_task(work())

    async def _read(self, namespace: str, reference: dict[str, Any]) -> None:
        """Read an owner's metadata; one that is gone ends the chain with its name.

        Raises:
            NotAllowedError: this user may not read it (SP683).
            WorldError: the cluster does not answer (SP682).
        """
        api_version, name, uid = str(reference.get("apiVersion")), str(reference.get("name")), str(reference.get("uid"))
        owner, above = PodOwner(api_version, str(reference.get("kind")), name, uid), None
        found = await self._client.metadata(api_version, owner.kind, namespace, name)
        if found is not None and str((found.get("metadata") or {}).get("uid")) == uid:
            notes = (found["metadata"].get("annotations")) or {}
            owner = replace(owner, revision=str(notes.get(_REVISION, "")), whose=owner_of(found))
            above = _controller(found)
        self._owners[uid], self._above[uid] = owner, above


def trimmed(value: Manifest) -> Pod:
    """Return what is kept of a pod."""
    meta, spec, status = value["metadata"], value.get("spec") or {}, value.get("status") or {}
    said = {(sort, one.get("name")): one for key, sort in _SORTS for one in status.get(f"{key[:-1]}Statuses") or ()}
    containers = [_container(one, sort, said.get((sort, one.get("name"))) or {}) for key, sort in _SORTS for one in spec.get(key) or ()]
    mounted = [
        PodContainer(str(volume.get("name")), "volume", str(volume["image"].get("reference", "")))
        for volume in spec.get("volumes") or ()
        if isinstance(volume.get("image"), dict)
    ]
    return Pod(
        namespace=str(meta.get("namespace")),
        name=str(meta["name"]),
        uid=str(meta["uid"]),
        phase=str(status.get("phase", "")),
        created_at=str(meta.get("creationTimestamp", "")),
        node=str(spec.get("nodeName", "")),
        addresses=tuple(str(one.get("ip")) for one in status.get("podIPs") or ()),
        leaving=bool(meta.get("deletionTimestamp")),
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ()),
        restarts=sum(int(one.get("restartCount") or 0) for one in said.values()),
        containers=(*containers, *mounted),
        promotion=str((meta.get("annotations") or {}).get("setpoint.dev/promotion", "")),
    )


def _container(one: dict[str, Any], sort: Any, status: dict[str, Any]) -> PodContainer:
    ended = "terminated" in (status.get("state") or {})
    return PodContainer(
        str(one.get("name")), sort, str(one.get("image", "")), str(status.get("imageID") or ""), bool(status.get("ready")), ended
    )


def _controller(value: Manifest) -> dict[str, Any] | None:
    """Return the reference to the controller of an object; None when it has none."""
    owners = (value.get("metadata") or {}).get("ownerReferences") or ()
    found = [one for one in owners if one.get("controller")]
    return dict(found[0]) if found else None


def _judged(pod: Pod) -> tuple[object, ...]:
    """Return what a verdict about a pod depends on."""
    images = tuple((one.sort, one.name, one.image, one.image_id, one.ended) for one in pod.containers)
    return (pod.ended, pod.leaving, images, pod.owners, pod.chained)
