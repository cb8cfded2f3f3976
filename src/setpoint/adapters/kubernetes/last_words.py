"""What a Job said last: the end of the log of its newest pod. Called by `clusters`; bounded, for it is shown as a reason."""

from typing import Final

from setpoint.adapters.kubernetes.client import Client, Manifest
from setpoint.reconcile.cluster.model import ObjectKey

_LINES: Final = 8
_CHARACTERS: Final = 800


async def last_words(client: Client, key: ObjectKey) -> str:
    """Return the last lines of a Pod, or of a Job's newest one; empty when there is none.

    Raises:
        SetpointError: the cluster does not give them.
    """
    kind = await client.kinds.of("v1", "Pod")
    if key.kind == "Pod":
        one = await client.get(kind, key.namespace, key.name)
        pods = [one] if one is not None else []
    else:
        pods = (await client.list(kind, key.namespace, f"batch.kubernetes.io/job-name={key.name}")).objects
    if not pods:
        return ""
    newest = max(pods, key=_made)
    containers = [str(one["name"]) for one in (newest.get("spec") or {}).get("containers") or ()]
    text = await client.logs(key.namespace, str(newest["metadata"]["name"]), containers[0], tail=_LINES) if containers else ""
    return " | ".join(line for line in text.splitlines() if line.strip())[-_CHARACTERS:]


def _made(pod: Manifest) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp", ""))
