"""The calls to one namespace of a cluster that a task needs: its Job, its Secret, its pod, and what events say of them.

Called by the executor. Only these rights are needed, in that namespace and nowhere else: jobs (get, list, create, delete), pods (list,
watch, delete), secrets (create, patch, delete), events (list).
"""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.jobs.objects import LABEL_TASK, Manifest
from setpoint.adapters.kubernetes.kinds import Kind
from setpoint.adapters.kubernetes.transport import Call, Transport, decoded
from setpoint.core.errors import ConflictError, NotFoundError

_EVENTS: Final = 50
_VERBS: Final = frozenset({"list", "watch", "create", "delete", "patch", "get"})
JOB: Final = Kind("batch/v1", "Job", "jobs", namespaced=True, verbs=_VERBS)
POD: Final = Kind("v1", "Pod", "pods", namespaced=True, verbs=_VERBS)
SECRET: Final = Kind("v1", "Secret", "secrets", namespaced=True, verbs=_VERBS)
_EVENT: Final = Kind("v1", "Event", "events", namespaced=True, verbs=_VERBS)


class JobCalls:
    """One namespace."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._client = Client(transport)
        self._namespace = namespace

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Create an object and return it; what is there under this name already is returned as it is."""
        path = kind.path(self._namespace)
        body = json.dumps(manifest, separators=(",", ":")).encode()
        try:
            return decoded(await self._transport.send(Call("POST", path, {"fieldManager": "setpoint"}, body)), path)
        except ConflictError:
            found = await self._client.get(kind, self._namespace, manifest["metadata"]["name"]) if kind is not SECRET else {}
            if found is None:
                raise
            return found

    async def own(self, name: str, owner: list[Manifest]) -> None:
        """Let the Secret go with its Job."""
        await self._client.patch(SECRET, self._namespace, name, {"metadata": {"ownerReferences": owner}})

    async def jobs(self, task: str) -> list[Manifest]:
        """Return the Jobs of a task."""
        return (await self._client.list(JOB, self._namespace, f"{LABEL_TASK}={task}")).objects

    async def job(self, name: str) -> Manifest | None:
        """Return a Job."""
        return await self._client.get(JOB, self._namespace, name)

    async def pods(self, job: str) -> tuple[list[Manifest], str]:
        """Return the pods of a Job, and the version of the list."""
        found = await self._client.list(POD, self._namespace, f"batch.kubernetes.io/job-name={job}")
        return found.objects, found.resource_version

    async def changes(self, job: str, version: str) -> AsyncIterator[Manifest]:
        """Yield the pods of a Job as they change, without those that are gone."""
        async for change in self._client.watch(POD, version, self._namespace, f"batch.kubernetes.io/job-name={job}"):
            if change.what != "BOOKMARK":
                yield {} if change.what == "DELETED" else change.object

    async def warnings(self, uid: str) -> list[str]:
        """Return what events warn of about an object, oldest first."""
        path = _EVENT.path(self._namespace)
        query = {"fieldSelector": f"involvedObject.uid={uid},type=Warning", "limit": str(_EVENTS)}
        items: list[dict[str, Any]] = decoded(await self._transport.send(Call("GET", path, query)), path).get("items") or []
        items.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
        return [f"{item.get('reason', '')}: {item.get('message', '')}" for item in items]

    async def delete(self, kind: Kind, name: str, grace_s: int | None = None) -> None:
        """Delete an object, what it owns in the background; gone is fine."""
        options: Manifest = {"propagationPolicy": "Background"}
        options |= {"gracePeriodSeconds": grace_s} if grace_s is not None else {}
        try:
            await self._transport.send(Call("DELETE", kind.path(self._namespace, name), {}, json.dumps(options).encode()))
        except NotFoundError:
            return
