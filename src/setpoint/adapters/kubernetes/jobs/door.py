"""Where pods of tasks come in: `/tasks/` leads to the exchange, `/v2/tasks/JOB/` to their own part of the registry, and nowhere else.

Built by wiring, mounted by `api.asgi` at the address that images are pulled from. It looks at who asks before anything is read.
"""

import re
from typing import Final

from setpoint.adapters.kubernetes.jobs.exchange import JOB_NAME, TaskExchange
from setpoint.adapters.oci.registry import Registry
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.oci.wire import Exchange, OciError, Receive, Scope, Send
from setpoint.ground.identity.model import Principal

_OURS: Final = re.compile(rf"/tasks/|/v2/tasks/{JOB_NAME}/")
_POD = Principal("person", "", "pod")
"""May read and add, never delete; only whom the exchange let in gets as far."""


class TaskDoor:
    """The ASGI application of these two paths."""

    def __init__(self, exchange: TaskExchange, store: OciStoreFolder) -> None:
        self._exchange = exchange
        self._blobs = Registry(store, lambda _authorization: _POD)

    @staticmethod
    def leads(path: str) -> bool:
        """Say whether a path is one of ours; images of a source repository called `tasks` are not."""
        return _OURS.match(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a pod."""
        if scope["path"].startswith("/tasks/"):
            await self._exchange(scope, receive, send)
            return
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        query = scope.get("query_string", b"").decode("latin-1")
        status = self._exchange.refusal(authorization or None, scope["path"], scope["method"], query)
        if status:
            refused = OciError(status, "DENIED", "only the pod of a task has anything to do here, while it runs")
            await Exchange(scope, receive, send).refuse(refused)
        else:
            await self._blobs(scope, receive, send)
