"""Reads the pages on which a data plane tells its counters: of every pod behind a Service, through the API server, or at an address.

Fills the rollout's `CounterPages`; built by wiring. All pages or none, each bounded in time and size; a place that did not answer is not
asked again for some seconds, so that one which hangs costs its environment a moment, and others nothing.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.clusters import KubernetesClusters
from setpoint.adapters.kubernetes.transport import Call, Transport
from setpoint.core.errors import SetpointError, WorldError
from setpoint.promotion.targets import KubernetesTarget, Metrics

_LIMIT_S: Final = 3.0
_LARGEST: Final = 16 << 20
_MOST: Final = 50
"""Pods behind a Service."""
_AGAIN_S: Final = 5.0


class MetricsPages:
    """The counters of every target's data plane."""

    def __init__(self, clusters: KubernetesClusters) -> None:
        self._clusters = clusters
        self._failed: dict[str, tuple[float, WorldError]] = {}
        """place -> (when it may be asked again, why it is not asked now)"""

    def read(self, target: KubernetesTarget) -> Mapping[str, str]:
        """Return {who: text} (see the port)."""
        metrics = target.metrics
        if metrics is None:
            return {}
        place = metrics.url or f"{target.cluster}/{metrics.service}"
        failed = self._failed.get(place)
        if failed is not None and time.monotonic() < failed[0]:
            raise failed[1]
        try:
            found = {metrics.url: page(metrics.url)} if metrics.url is not None else self._of_service(target.cluster, metrics)
        except SetpointError as error:
            told = WorldError("SP652", f"the counters cannot be read: {error.what}", where=place, fix=error.fix)
            self._failed[place] = (time.monotonic() + _AGAIN_S, told)
            raise told from error
        self._failed.pop(place, None)
        return found

    def _of_service(self, cluster: str, metrics: Metrics) -> dict[str, str]:
        service, _, port = (metrics.service or "").partition(":")
        namespace, _, name = service.partition("/")

        async def ask(client: Client, transport: Transport) -> dict[str, str] | SetpointError:
            try:
                async with asyncio.timeout(_LIMIT_S):
                    return await pages(client, transport, (namespace, name, int(port)), metrics.path)
            except TimeoutError:
                return WorldError("SP652", f"no answer in {_LIMIT_S:.0f} s")
            except SetpointError as error:
                return error  # of the data plane, and not the cluster's

        found = self._clusters.of(cluster).ask(ask)
        if isinstance(found, SetpointError):
            raise found
        return found


async def pages(client: Client, transport: Transport, service: tuple[str, str, int], path: str) -> dict[str, str]:
    """Return {pod: page} of every ready pod behind a port of a Service.

    Raises:
        SetpointError: one of them cannot be read, or there is none.
    """
    namespace, name, port = service
    fix = "is `target.kubernetes.metrics` right?"
    found = await client.get(await client.kinds.of("v1", "Service"), namespace, name)
    named = [str(one.get("name") or "") for one in ((found or {}).get("spec") or {}).get("ports") or () if one.get("port") == port]
    if not named:
        raise WorldError("SP652", f"there is no port {port} of Service {namespace}/{name}", fix=fix)
    kind = await client.kinds.of("discovery.k8s.io/v1", "EndpointSlice")
    slices = (await client.list(kind, namespace, f"kubernetes.io/service-name={name}")).objects
    pods = sorted({found for one in slices for found in _pods(one, named[0])})
    if not pods:
        raise WorldError("SP652", f"no pod is ready behind Service {namespace}/{name}", fix=fix)
    if len(pods) > _MOST:
        raise WorldError("SP652", f"{len(pods)} pods are behind Service {namespace}/{name}, at most {_MOST} are asked")
    texts = await asyncio.gather(*(_page_of(transport, namespace, pod, path) for pod in pods))
    return {pod: text for (pod, _number), text in zip(pods, texts, strict=True)}


def _pods(one: Mapping[str, Any], port: str) -> Iterator[tuple[str, int]]:
    """Yield (pod, port) of the endpoints in a slice that take requests."""
    numbers = [
        entry["port"] for entry in one.get("ports") or () if (entry.get("name") or "") == port and isinstance(entry.get("port"), int)
    ]
    for endpoint in one.get("endpoints") or ():
        target, conditions = endpoint.get("targetRef") or {}, endpoint.get("conditions") or {}
        if numbers and target.get("kind") == "Pod" and conditions.get("ready") is not False:
            yield str(target["name"]), numbers[0]


async def _page_of(transport: Transport, namespace: str, pod: tuple[str, int], path: str) -> str:
    name, number = pod
    call = Call("GET", f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}:{number}/proxy{path}", {}, accept="text/plain")
    data = bytearray()
    async with transport.open(call) as response:
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > _LARGEST:
                raise WorldError("SP652", f"the page of pod {name} is larger than {_LARGEST >> 20} MiB")
    return data.decode("utf-8", "replace")


def page(url: str) -> str:
    """Return a page at an address: no redirect is followed, and it takes no longer than a moment, however slowly it drips.

    Raises:
        WorldError: nothing answers, or not with a page of a reasonable size (SP652).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port or 443, timeout=_LIMIT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port or 80, timeout=_LIMIT_S)
    )
    over, held = threading.Event(), list[socket.socket]()
    limit = threading.Timer(_LIMIT_S, _cut, (held, over))
    limit.daemon = True
    limit.start()
    try:
        connection.connect()
        held.append(connection.sock)  # the connection forgets it while the answer is read
        connection.request("GET", parts.path or "/", headers={"User-Agent": "setpoint", "Accept": "text/plain", "Connection": "close"})
        with connection.getresponse() as response:
            data = response.read(_LARGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        why = f"no answer in {_LIMIT_S:.0f} s" if over.is_set() else f"no answer: {error}"
        raise WorldError("SP652", why, where=url, fix="is the data plane up, and `target.kubernetes.metrics` right?") from error
    finally:
        limit.cancel()
        connection.close()
    if over.is_set() or response.status != 200 or len(data) > _LARGEST:
        why = (
            f"no answer in {_LIMIT_S:.0f} s"
            if over.is_set()
            else f"status {response.status}"
            if response.status != 200
            else "the page is too large"
        )
        raise WorldError("SP652", why, where=url, fix="is `target.kubernetes.metrics` right?")
    return data.decode("utf-8", "replace")


def _cut(held: list[socket.socket], over: threading.Event) -> None:
    """End a connection under whoever reads it: a socket's own timeout begins anew with every byte."""
    over.set()
    for one in held:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
