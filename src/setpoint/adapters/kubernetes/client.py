"""The calls to a cluster's API that a GitOps controller makes: read, list in pages, apply server-side, delete, watch, read logs.

Built by wiring for each Kubernetes target. Objects are plain dictionaries as the server gives them. It decides nothing: what to apply or
delete is the stages' business.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp

from setpoint.adapters.kubernetes.kinds import Kind, Kinds
from setpoint.adapters.kubernetes.transport import Call, Transport, decoded
from setpoint.core.errors import ConflictError, NotAllowedError, NotFoundError, UserError, WorldError

PAGE: Final = 500
_WATCH_S: Final = 300
_LINE_BYTES: Final = 64 << 20
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """Every object of a list, and the version of the world it shows."""

    objects: list[Manifest]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch."""

    what: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Manifest


class ExpiredError(WorldError):
    """A watch cannot go on from where it was (410): the collection has to be listed anew."""


class Client:
    """One cluster."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.kinds = Kinds(transport)

    async def version(self) -> str:
        """Return the server's version: `v1.34.4`."""
        return str(json.loads(await self._transport.send(Call("GET", "/version", {})))["gitVersion"])

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Return an object; None when there is none."""
        try:
            data = await self._transport.send(Call("GET", kind.path(namespace, name), {}))
        except NotFoundError:
            return None
        return decoded(data, kind.path(namespace, name))

    async def metadata(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return the metadata of an object that another one names; None when it is gone, and its kind perhaps too.

        Raises:
            NotAllowedError: this user may not read it (SP683).
            WorldError: the cluster does not answer (SP682).
        """
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        try:
            path = (await self.kinds.of(api_version, kind)).path(namespace, name)
            return decoded(await self._transport.send(Call("GET", path, {}, accept=accept)), path)
        except UserError as error:
            if isinstance(error, NotAllowedError):
                raise
            return None

    async def list(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Listed:
        """Return all objects of a kind, of one namespace or all.

        Raises:
            ConflictError: the list was too old to go on in the middle (SP685); list again.
        """
        objects: list[Manifest] = []
        version = ""
        async for page in self.pages(kind, namespace, selector):
            objects += page.objects
            version = page.resource_version
        return Listed(objects, version)

    async def pages(self, kind: Kind, namespace: str | None = None, selector: str = "") -> AsyncIterator[Listed]:
        """Yield all objects of a kind page by page, so that only one page has to be held; every page has the version of the whole list.

        Raises:
            ConflictError: the list was too old to go on in the middle (SP685); list again.
        """
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = decoded(await self._transport.send(Call("GET", kind.path(namespace), query)), kind.path(namespace))
            meta = page.get("metadata") or {}
            # Items of a list carry neither; whoever reads one alone wants both.
            objects = [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page.get("items") or ()]
            yield Listed(objects, str(meta.get("resourceVersion", "")))
            if not meta.get("continue"):
                return
            query = {**query, "continue": str(meta["continue"])}

    async def apply(self, kind: Kind, manifest: Manifest, manager: str, *, dry_run: bool = False, force: bool = False) -> Manifest:
        """Apply an object server-side under a field manager and return what came of it; a dry run changes nothing.

        Raises:
            ConflictError: another manager owns a field (SP685), unless force.
            UserError: the server refuses the object (SP686).
        """
        meta = manifest["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        query |= {"dryRun": "All"} if dry_run else {}
        path = kind.path(meta.get("namespace"), meta["name"])
        body = json.dumps(manifest, separators=(",", ":")).encode()
        return decoded(await self._transport.send(Call("PATCH", path, query, body, "application/apply-patch+yaml")), path)

    async def patch(self, kind: Kind, namespace: str | None, name: str, merge: Mapping[str, Any]) -> Manifest:
        """Merge fields into an object (RFC 7386) and return it."""
        body = json.dumps(merge).encode()
        path = kind.path(namespace, name)
        return decoded(await self._transport.send(Call("PATCH", path, {}, body, "application/merge-patch+json")), path)

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str = "", orphan: bool = False) -> bool:
        """Delete an object, with its dependants in the background, or leaving them; uid makes sure that it is the one that was meant.

        Returns whether there was one. A finalizer may keep it for a while.

        Raises:
            ConflictError: another object has that name by now (SP685).
        """
        options: Manifest = {"propagationPolicy": "Orphan" if orphan else "Background"}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._transport.send(Call("DELETE", kind.path(namespace, name), {}, json.dumps(options).encode()))
        except NotFoundError:
            return False
        return True

    async def watch(
        self, kind: Kind, resource_version: str, namespace: str | None = None, selector: str = "", opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Change, None]:
        """Yield changes after a version until the server ends the watch (minutes); bookmarks keep the version young.

        Once the server has begun to answer, `opened` is called: a quiet stream yields nothing for long.

        Raises:
            ExpiredError: that version is too old (SP688): list anew.
            WorldError: the connection broke (SP682): go on from the last version.
        """
        query = {"watch": "true", "resourceVersion": resource_version, "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S)}
        query |= {"labelSelector": selector} if selector else {}
        call = Call("GET", kind.path(namespace), query)
        try:
            async with self._transport.open(call, endless=True) as response:
                if opened is not None:
                    opened()
                async for line in _lines(response):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _ended(event["object"], call.path)
                    yield Change(event["type"], event["object"])
        except ConflictError as error:
            raise ExpiredError("SP688", "the watch began too far back", where=call.path, fix="it lists anew", retry_after_s=0) from error

    async def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 200) -> str:
        """Return the last lines of a container's log, or of the one before it."""
        query = {"container": container, "previous": "true" if previous else "false", "tailLines": str(tail), "limitBytes": str(1 << 20)}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return (await self._transport.send(Call("GET", path, query, accept="*/*"))).decode(errors="replace")

    async def follow(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes]:
        """Yield a container's output as it comes, from its start to its end."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        call = Call("GET", path, {"container": container, "follow": "true"}, accept="*/*")
        async with self._transport.open(call, endless=True) as response:
            async for chunk in response.content.iter_any():
                yield chunk


def _ended(status: Manifest, path: str) -> WorldError:
    if status.get("code") == 410:
        return ExpiredError("SP688", "the watch began too far back", where=path, fix="it lists anew", retry_after_s=0)
    return WorldError(
        "SP682", f"the watch ended: {status.get('message', 'no reason given')}", where=path, fix="it goes on", retry_after_s=1
    )


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of an endless answer; an object may be larger than what the library takes for a line."""
    kept = bytearray()
    async for chunk in response.content.iter_any():
        kept += chunk
        while (end := kept.find(b"\n")) >= 0:
            line = bytes(kept[:end])
            del kept[: end + 1]
            if line:
                yield line
        if len(kept) > _LINE_BYTES:
            raise WorldError("SP682", f"an event is larger than {_LINE_BYTES >> 20} MiB", where=str(response.url.path), fix="report this")
