"""A namespace of a real cluster, as a test uses it; made by the fixtures of tests/kubernetes."""

import asyncio
import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.transport import Transport

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """A cluster with a node, and where its pods may pull from over plain HTTP when something listens there."""

    kubeconfig: Path
    registry: str


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

    def kubectl(self, *args: str, given: str = "", accepted: tuple[int, ...] = (0,), **environment: str) -> str:
        """Run kubectl in the namespace, as the cluster's administrator, and return what it prints."""
        cluster = {"server": self.access.server, "certificate-authority-data": base64.b64encode(self.access.authority).decode()}
        users = [{"name": "u", "user": {"token": self.access.credential.token}}]
        contexts = [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": self.namespace}}]
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "k", "cluster": cluster}], "users": users}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(config | {"contexts": contexts, "current-context": "c"}, file)
            file.flush()
            command = ["kubectl", "--kubeconfig", file.name, *args]
            ran = subprocess.run(
                command, input=given, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
            )
        assert ran.returncode in accepted, f"{args}: {ran.stdout}{ran.stderr}"
        return ran.stdout


def within(work: Coroutine[Any, Any, T], limit_s: float = 90) -> T:
    """Run a coroutine to its end, which has to come in time."""
    return asyncio.run(asyncio.wait_for(work, limit_s))
