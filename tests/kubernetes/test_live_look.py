"""The picture of live objects against a real API server: it follows what happens, and begins anew when it has to."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.live import Live, LiveParts
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.normalise import is_built_in


class Now:
    """The real time."""

    def now(self) -> datetime:
        """Return it."""
        return datetime.now(UTC)


def config(world: World, name: str, **data: str) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": world.namespace}, "data": data}


class Watcher:
    """A picture with something to wait on."""

    def __init__(self, client: Client) -> None:
        self.woken = asyncio.Event()
        self.live = Live(LiveParts(client, self.woken.set, Now()))

    async def until(self, key: ObjectKey, data: dict[str, str] | None) -> None:
        """Wait until an object is seen with some data, or gone."""
        while (self.live.get(key).object or {}).get("data") != data:
            self.woken.clear()
            await self.woken.wait()


def test_the_picture_follows_what_happens(world: World) -> None:
    """Created, changed and deleted objects are seen through the watch, and only those of the inventory are kept."""
    a, b = (ObjectKey("", "ConfigMap", world.namespace, name) for name in "ab")

    async def work(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        await client.apply(kind, config(world, "a", x="1"), "setpoint")
        watcher = Watcher(client)
        watcher.live.follow({a: "v1", b: "v1"})
        await watcher.live.fresh()
        assert watcher.live.get(b).known
        await watcher.until(a, {"x": "1"})
        await client.apply(kind, config(world, "b", x="1"), "setpoint")
        await client.apply(kind, config(world, "a", x="2"), "setpoint")
        await client.apply(kind, config(world, "other", x="2"), "setpoint")
        await watcher.until(b, {"x": "1"})
        await watcher.until(a, {"x": "2"})
        await client.delete(kind, world.namespace, "a")
        await watcher.until(a, None)
        assert watcher.live.changes() == {a, b}
        assert watcher.live.get(ObjectKey("", "ConfigMap", world.namespace, "other")).known is False
        await watcher.live.close()

    world.run(work)


def test_more_streams_than_calls_do_not_hold_calls_up(world: World) -> None:
    """Each stream has a connection of its own: with forty kinds watched an apply still goes through, and each of them is listed."""

    async def work(client: Client) -> None:
        await client.kinds.refresh()
        # Definitions of other tests come and go.
        served = [kind for kind in client.kinds._known.values() if is_built_in(kind.api_version)]
        kinds = [kind for kind in served if {"list", "watch"} <= kind.verbs][:40]
        assert len(kinds) == 40
        watcher = Watcher(client)
        keys = {}
        for kind in kinds:
            group = kind.api_version.rpartition("/")[0]
            keys[ObjectKey(group, kind.name, world.namespace if kind.namespaced else "", "x")] = kind.api_version
        watcher.live.follow(keys)
        await watcher.live.fresh()
        assert all(watcher.live.get(key).known for key in keys)
        kind = await client.kinds.of("v1", "ConfigMap")
        await client.apply(kind, config(world, "x", y="1"), "setpoint")
        await watcher.until(ObjectKey("", "ConfigMap", world.namespace, "x"), {"y": "1"})
        await watcher.live.close()

    world.run(work)


def test_a_version_that_the_server_no_longer_has_is_listed_anew(world: World) -> None:
    """A stream that would go on from the beginning of time (410) lists, and nothing is lost."""
    key = ObjectKey("", "ConfigMap", world.namespace, "a")

    async def work(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        await client.apply(kind, config(world, "a", x="1"), "setpoint")
        watcher = Watcher(client)
        watcher.live.follow({key: "v1"})
        await watcher.live.fresh()
        (scope,) = watcher.live._streams
        stream = watcher.live._streams[scope]
        assert stream.task is not None
        stream.task.cancel()
        stream.version = "1"
        await client.apply(kind, config(world, "a", x="2"), "setpoint")
        stream.task = asyncio.get_running_loop().create_task(watcher.live._run(scope, stream))
        await watcher.until(key, {"x": "2"})
        assert int(stream.version) > 1
        await watcher.live.close()

    world.run(work)
