"""A namespace of a real cluster, as a test uses it; made by the fixtures of tests/kubernetes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.transport import Transport

T = TypeVar("T")


class World:
    """A namespace of the cluster, and a loop to call it in."""

    def __init__(self, access: Access, namespace: str) -> None:
        self.access = access
        self.namespace = namespace

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Call `work(client)` in a loop and connection of its own, and return what it returns."""

        async def inside() -> T:
            async with Transport(self.access) as transport:
                return await work(Client(transport))

        return within(inside())


def within(work: Coroutine[Any, Any, T], limit_s: float = 90) -> T:
    """Run a coroutine to its end, which has to come in time."""
    return asyncio.run(asyncio.wait_for(work, limit_s))
