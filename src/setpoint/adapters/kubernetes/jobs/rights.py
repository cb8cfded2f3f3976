"""Whether an account may do in a namespace what tasks there need: asked of the cluster itself, which changes nothing.

Called by the executor for `doctor`. Source: Kubernetes API, SelfSubjectAccessReview (authorization.k8s.io/v1).
"""

import asyncio
import json
from typing import Final

from setpoint.adapters.kubernetes.transport import Call, Transport, decoded

NEEDED: Final = (
    *(("batch", "jobs", verb) for verb in ("create", "get", "list", "delete")),
    *(("", "pods", verb) for verb in ("list", "watch", "delete")),
    *(("", "secrets", verb) for verb in ("create", "patch", "delete")),
    ("", "events", "list"),
)
"""(API group, resource, verb)"""
_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def lacking(transport: Transport, namespace: str) -> list[str]:
    """Return what the account may not do there, such as `create jobs`.

    Raises:
        SetpointError: the cluster does not say.
    """

    async def allowed(group: str, resource: str, verb: str) -> bool:
        wanted = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": wanted}}
        answer = decoded(await transport.send(Call("POST", _PATH, {}, json.dumps(review).encode())), _PATH)
        return bool((answer.get("status") or {}).get("allowed"))

    answers = await asyncio.gather(*(allowed(*right) for right in NEEDED))
    return [f"{verb} {resource}" for (_, resource, verb), may in zip(NEEDED, answers, strict=True) if not may]
