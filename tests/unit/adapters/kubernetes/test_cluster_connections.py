"""Clusters for who does not live in an event loop: a name that is removed is let go of, and an end that goes wrong hinders nobody."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from aiohttp import web

from live_home import wait_for
from setpoint.adapters.kubernetes import clusters as connecting
from setpoint.adapters.kubernetes.clusters import KubernetesCluster, KubernetesClusters
from setpoint.adapters.kubernetes.kubeconfig import Access, Credential
from setpoint.core.errors import NotFoundError, UnreachableError, WorldError
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.ports import Deletion


class Noon:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return noon."""
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


def _config(port: int) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "prod",
        }
    )


def test_a_cluster_that_was_removed_is_let_go_of() -> None:
    """Its connection is closed when its name is asked for next; under a new kubeconfig it is another one."""
    known = {"prod": _config(1)}

    def kubeconfig(name: str) -> tuple[str, str]:
        if name not in known:
            raise NotFoundError("SP693", "none")
        return known[name], ""

    clusters = KubernetesClusters(kubeconfig, lambda: None, Noon())
    try:
        first = clusters.of("prod")
        assert clusters.of("prod") is first
        del known["prod"]
        with pytest.raises(NotFoundError):
            clusters.of("prod")
        known["prod"] = _config(1)
        assert clusters.of("prod") is not first
        known["prod"] = _config(2)
        second = clusters.of("prod")
        assert second.access.server == "https://127.0.0.1:2"
        with pytest.raises(WorldError, match="SP682"):
            second.is_namespaced("v1", "ConfigMap")
    finally:
        clusters.close()


def test_an_end_that_goes_wrong_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ended after the clusters has to be ended too."""
    clusters = KubernetesClusters(lambda _name: (_config(1), ""), lambda: None, Noon())
    found = clusters.of("prod")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no")

    monkeypatch.setattr(found, "close", fails)
    clusters.close()


class Server:
    """An API server in a thread of its own that serves ConfigMaps, until it does not."""

    def __init__(self) -> None:
        self.patched: list[str] = []
        self.dies_after = 10**9
        self.hangs = False
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._runner: web.AppRunner | None = None
        self._over: asyncio.Event | None = None
        self._clusters: list[KubernetesCluster] = []
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._up.wait(30)

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._over = asyncio.Event()
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._up.set()
        await self._over.wait()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in ("/api", "/apis"):
            resource = {"resource": "configmaps", "responseKind": {"kind": "ConfigMap"}, "scope": "Namespaced", "verbs": ["list"]}
            group = {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [resource]}]}
            return web.json_response({"kind": "APIGroupDiscoveryList", "items": [group] if request.path == "/api" else []})
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.34.4"})
        self.patched.append(request.path.rpartition("/")[2])
        if self.hangs and self._over is not None:
            await self._over.wait()
        if len(self.patched) > self.dies_after and request.transport is not None:
            request.transport.close()
        return web.json_response(await request.json())

    def cluster(self) -> KubernetesCluster:
        """Return a connection to it."""
        access = Access(f"http://127.0.0.1:{self.port}", b"", Credential(token="t"))
        self._clusters.append(KubernetesCluster("prod", access, self.loop, lambda: None, Noon()))
        return self._clusters[-1]

    def close(self) -> None:
        """End it; connections that are open end too."""
        for one in self._clusters:
            asyncio.run_coroutine_threadsafe(one.close(), self.loop).result(30)
        if self._over is not None:
            self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)
        self.loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """An API server that lives."""
    found = Server()
    yield found
    found.close()


def _reached(cluster: KubernetesCluster) -> bool:
    with suppress(UnreachableError):
        cluster.reach()
    return cluster.contact.state == "answers"


def _maps(count: int) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{n}", "namespace": "n"}} for n in range(count)]


def test_a_server_that_dies_in_the_middle_ends_the_pass_at_once(server: Server) -> None:
    """Of 400 objects no more are tried than were under way; the one error is the cluster's, and nobody asks until a probe is answered."""
    cluster = server.cluster()
    server.dies_after = 50
    with pytest.raises(UnreachableError, match="SP682") as caught:
        cluster.apply(_maps(400))
    assert caught.value.where == "cluster prod"
    assert 50 < len(server.patched) < 150
    tried = len(server.patched)
    with pytest.raises(UnreachableError):
        cluster.apply(_maps(1))
    with pytest.raises(UnreachableError):
        cluster.delete([Deletion(ObjectKey("", "ConfigMap", "n", "m1"), "v1", "u")])
    assert len(server.patched) == tried
    assert cluster.contact.state == "unreachable"
    server.dies_after = 10**9
    wait_for("it to be found again", lambda: _reached(cluster) or None)
    assert {type(one) for one in cluster.apply(_maps(3)).values()} == {dict}


def test_a_server_that_falls_silent_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections stay open and nobody answers: after a while the whole of it is given up."""
    monkeypatch.setattr(connecting, "_SILENT_S", 0.5)
    monkeypatch.setattr(connecting, "_GLANCE_S", 0.1)
    cluster = server.cluster()
    server.hangs = True
    with pytest.raises(UnreachableError, match="no answer"):
        cluster.apply(_maps(40))
    assert cluster.contact.state == "unreachable"
