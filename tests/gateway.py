"""A data plane for the Gateway API in tests: HAProxy on this machine, told by a small controller what the HTTPRoutes of a namespace say.

Pod addresses of the test cluster are routed to the machine, so HAProxy splits real requests among real pods. Every Service is a backend of
its own, as with the controllers that people run, and HAProxy's own exporter tells the counters.
"""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from live_home import free_port
from setpoint.adapters.host.proxy import find_haproxy
from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.transport import Call, Transport

CONTROLLER = "setpoint.dev/test-gateway"
_ROUTE = "/apis/gateway.networking.k8s.io/v1"
_HEAD = """
global
    hard-stop-after 20s
defaults
    mode http
    balance roundrobin
    retries 3
    retry-on conn-failure
    option redispatch 1
    option http-keep-alive
    option idle-close-on-response
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend metrics
    bind 127.0.0.1:{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend web
    bind 127.0.0.1:{web}
    http-request set-var(txn.share) rand(10000)
"""
Rows = Sequence[Mapping[str, Any]]


class Gateway:
    """HAProxy and its controller for one namespace; used as `with`."""

    def __init__(self, access: Access, namespace: str, folder: Path) -> None:
        self.port, self.metrics = free_port(), free_port()
        self.weights: list[dict[str, int]] = []
        """Every set of weights that it followed, in order."""
        self.faults: list[str] = []
        self._access = access
        self._namespace = namespace
        self._config, self._pid = folder / "gateway.cfg", folder / "gateway.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._follow()), daemon=True)

    def __enter__(self) -> Self:
        self._config.write_text(_HEAD.format(web=self.port, metrics=self.metrics))
        argv = [find_haproxy(), "-W", "-f", str(self._config), "-p", str(self._pid)]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._thread.start()
        return self

    def __exit__(self, *_exit: object) -> None:
        self._over.set()
        self._thread.join(20)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)

    async def _follow(self) -> None:
        while not self._over.is_set():
            try:
                async with Transport(self._access) as transport:
                    client = Client(transport)
                    while not self._over.is_set():
                        await self._once(client, transport)
                        await asyncio.sleep(0.2)
            except Exception as error:  # noqa: BLE001 - a controller goes on; the test sees what it could not do
                self.faults.append(repr(error))
                await asyncio.sleep(0.2)

    async def _once(self, client: Client, transport: Transport) -> None:
        routes = (await client.list(await client.kinds.of("gateway.networking.k8s.io/v1", "HTTPRoute"), self._namespace)).objects
        services = (await client.list(await client.kinds.of("v1", "Service"), self._namespace)).objects
        slices = (await client.list(await client.kinds.of("discovery.k8s.io/v1", "EndpointSlice"), self._namespace)).objects
        text = _HEAD.format(web=self.port, metrics=self.metrics) + "\n".join(_lines(routes, services, slices, self._namespace)) + "\n"
        if text != self._config.read_text():
            self._config.write_text(text)
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGUSR2)
            weights = {name: weight for route in routes for name, _port, weight in _backends(route)}
            if not self.weights or weights != self.weights[-1]:
                self.weights.append(weights)
        for route in routes:
            await self._tell(transport, route)

    async def _tell(self, transport: Transport, route: Mapping[str, Any]) -> None:
        """Write the status that a controller owes its route."""
        meta = route["metadata"]
        told = [c for parent in (route.get("status") or {}).get("parents") or () for c in parent["conditions"]]
        if told and all(one["observedGeneration"] == meta["generation"] for one in told):
            return
        made = {"status": "True", "message": "", "lastTransitionTime": "2026-11-25T00:00:00Z", "observedGeneration": meta["generation"]}
        conditions = [{"type": "Accepted", "reason": "Accepted", **made}, {"type": "ResolvedRefs", "reason": "ResolvedRefs", **made}]
        parents = [{"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions} for parent in route["spec"]["parentRefs"]]
        body = json.dumps({"status": {"parents": parents}}).encode()
        path = f"{_ROUTE}/namespaces/{self._namespace}/httproutes/{meta['name']}/status"
        await transport.send(Call("PATCH", path, {}, body, "application/merge-patch+json"))


def _backends(route: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    for rule in route["spec"].get("rules") or ():
        for one in rule.get("backendRefs") or ():
            yield one["name"], one.get("port", 80), one.get("weight", 1)


def _lines(routes: Rows, services: Rows, slices: Rows, namespace: str) -> Iterator[str]:
    """Yield the rules of the frontend and a backend for every Service that a route names."""
    named = [one for route in routes for one in _backends(route)]
    total, below = sum(weight for _name, _port, weight in named), 0
    for name, port, weight in named:
        below += weight
        if weight:
            yield f"    use_backend {namespace}_{name}_{port} if {{ var(txn.share) -m int lt {below * 10000 // total} }}"
    for name, port in sorted({(name, port) for name, port, _weight in named}):
        yield f"backend {namespace}_{name}_{port}"
        for address, number in sorted(_endpoints(name, port, services, slices)):
            yield f"    server {address.replace('.', '-')} {address}:{number}"


def _endpoints(name: str, port: int, services: Rows, slices: Rows) -> Iterator[tuple[str, int]]:
    ports = {one["port"]: one.get("name") or "" for s in services if s["metadata"]["name"] == name for one in s["spec"]["ports"]}
    for one in slices:
        if one["metadata"]["labels"].get("kubernetes.io/service-name") != name:
            continue
        numbers = [entry["port"] for entry in one.get("ports") or () if (entry.get("name") or "") == ports.get(port)]
        for endpoint in one.get("endpoints") or ():
            if numbers and (endpoint.get("conditions") or {}).get("ready") is not False:
                yield endpoint["addresses"][0], numbers[0]
