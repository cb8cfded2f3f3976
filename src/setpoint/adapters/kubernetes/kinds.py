"""Which kinds a cluster serves and under which paths: discovery, asked once and again when a kind is unknown. Called by the client."""

import asyncio
from dataclasses import dataclass
from typing import Any

from setpoint.adapters.kubernetes.transport import Call, Transport, decoded
from setpoint.core import suggest
from setpoint.core.errors import UserError, WorldError

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object as a cluster serves it."""

    api_version: str
    """`v1`, `apps/v1`"""
    name: str
    """`Deployment`"""
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of the collection, or of one object; a namespace of None is every one, or none for what has no namespace."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


class Kinds:
    """The kinds of one cluster."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[tuple[str, str], Kind] = {}
        self._asking = asyncio.Lock()

    def known(self, api_version: str, name: str) -> Kind | None:
        """Return a kind if it is known already; may be called from any thread."""
        return self._known.get((api_version, name))

    async def of(self, api_version: str, name: str) -> Kind:
        """Return a kind; the cluster is asked again when it is not known yet, for a CRD may have come.

        Raises:
            UserError: the cluster does not serve it (SP687).
            WorldError: the cluster does not answer (SP682).
        """
        key = (api_version, name)
        if key not in self._known:
            known = self._known
            async with self._asking:
                # Many begin at once, with the same question: one asks, and the others wait for its answer.
                if self._known is known:
                    await self.refresh()
        if key not in self._known:
            versions = sorted(version for version, kind in self._known if kind == name)
            fix = (
                f"it serves {name} as {', '.join(versions)}"
                if versions
                else suggest.help_text(name, {kind for _, kind in self._known}, "kinds")
            )
            raise UserError("SP687", f"the cluster serves no {name} of {api_version}", where=f"{api_version} {name}", fix=fix)
        return self._known[key]

    async def refresh(self) -> None:
        """Ask the cluster what it serves: two calls (aggregated discovery, Kubernetes 1.30 and later)."""
        found: dict[tuple[str, str], Kind] = {}
        for path in ("/api", "/apis"):
            answer = decoded(await self._transport.send(Call("GET", path, {}, accept=_AGGREGATED)), path)
            if answer.get("kind") != "APIGroupDiscoveryList":
                raise WorldError(
                    "SP682", "the API server is older than Kubernetes 1.30", where=path, fix="upgrade the cluster", retry_after_s=300
                )
            for group in answer.get("items") or ():
                _collect(group, found)
        self._known = found


def _collect(group: dict[str, Any], found: dict[tuple[str, str], Kind]) -> None:
    name = (group.get("metadata") or {}).get("name", "")
    for version in group.get("versions") or ():
        api_version = f"{name}/{version['version']}" if name else str(version["version"])
        for resource in version.get("resources") or ():
            kind = (resource.get("responseKind") or {}).get("kind")
            if kind:
                verbs = frozenset(resource.get("verbs") or ())
                found[api_version, kind] = Kind(api_version, kind, resource["resource"], resource.get("scope") == "Namespaced", verbs)
