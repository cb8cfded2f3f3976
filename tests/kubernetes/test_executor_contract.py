"""The contract of `pipeline.ports.Executor` in pods of a real cluster: all stories at once, each waited for by a test of its own."""

import asyncio
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from executor_contract import STORIES, Bench
from kubernetes_world import Machine
from setpoint.adapters.clock import SystemClock
from setpoint.adapters.kubernetes import kubeconfig
from setpoint.adapters.kubernetes.jobs.door import TaskDoor
from setpoint.adapters.kubernetes.jobs.exchange import TaskExchange
from setpoint.adapters.kubernetes.jobs.executor import JobParts, KubernetesExecutor, authorities_of
from setpoint.adapters.kubernetes.jobs.inputs import Inputs
from setpoint.adapters.kubernetes.jobs.objects import GRACE_S
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.pipeline.model import LogRecord, TaskCommand, TaskExit
from setpoint.pipeline.offers import Offer, Resources

WAIT_S = 180.0


@dataclass
class Pods:
    """The executor of pods with workspaces, and the logs of what it ran (see `executor_contract.Bench`)."""

    executor: KubernetesExecutor
    workspaces: WorkspaceFolder
    offer: Offer
    kubeconfig: Path
    logs: dict[str, list[LogRecord]] = field(default_factory=dict)
    grace_s: float = GRACE_S

    async def run(self, script: str, task: str = "t", **options: Any) -> TaskExit:
        """Run a shell script in a pod with a fresh workspace."""
        files, on_log = options.pop("files", []), options.pop("on_log", self.logs.setdefault(task, []).extend)
        await asyncio.to_thread(self.workspaces.create, task, files, [])
        settings: dict[str, Any] = {"environment": {}, "timeout_s": 120.0, **options}
        command = TaskCommand(task, ("/bin/sh", "-euc", script), network=True, offer=self.offer, keeps=("**",), **settings)
        try:
            return await self.executor.execute(command, on_log)
        finally:
            self.executor.release(command)

    def seen(self, task: str = "t") -> list[LogRecord]:
        """Return a task's log without what says where it runs and what it waited for."""
        own = ("pod ", "the pod does not start yet")
        return [record for record in self.logs.get(task, []) if record.stream != "note" or not record.text.startswith(own)]

    def left(self, path: str, task: str = "t") -> bytes | None:
        """Return a file that a task left."""
        return self.workspaces.read(task, path, 1000)

    def touch(self, name: str, task: str = "t") -> None:
        """Make an empty file in the workspace of a task that runs, as an administrator can."""
        pod = self.executor.glance(task).split()[1].partition("/")[2]
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", "-n", self.offer.namespace, "exec", pod, "-c", "task", "--"]
        done = subprocess.run([*command, "/bin/touch", f"/work/{name}"], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (0, 137), done.stderr  # 137: the task saw the file and ended, and `touch` with it


@pytest.fixture(scope="module")
def played(node: Machine, registry: str, task_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[None]]]:
    """Play all stories in pods at once; returns name -> its end."""
    folder = tmp_path_factory.mktemp("executor")
    address = registry.rpartition(":")[0]
    subject = ["-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*command, "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem")], check=True, capture_output=True)
    listening = socket.create_server((address, 0))
    namespace = f"contract-{secrets.token_hex(3)}"
    kubectl = ["kubectl", f"--kubeconfig={node.kubeconfig}"]
    subprocess.run([*kubectl, "create", "namespace", namespace], check=True, capture_output=True)
    offer = Offer("pods", "real", namespace, task_image, task_image, "amd64", Resources("100m", "256Mi"), start_s=WAIT_S)
    (folder / "work").mkdir()
    store, workspaces, exchange = OciStoreFolder(folder / "registry"), WorkspaceFolder(folder / "work", None), TaskExchange(b"k" * 32)
    executor = KubernetesExecutor(
        JobParts(
            home=f"h-{secrets.token_hex(4)}",
            access=lambda _name: kubeconfig.read(node.kubeconfig),
            inputs=Inputs(store, workspaces),
            exchange=exchange,
            clock=SystemClock(),
            url=f"https://{address}:{listening.getsockname()[1]}",
            authorities=lambda: authorities_of(folder / "tls.pem"),
        )
    )
    door = TaskDoor(exchange, store)
    config = uvicorn.Config(
        door, interface="asgi3", log_level="warning", lifespan="off", ssl_certfile=folder / "tls.pem", ssl_keyfile=folder / "tls.key"
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = uvicorn.Server(config)
    serving = asyncio.run_coroutine_threadsafe(server._serve([listening]), loop)
    bench: Bench = Pods(executor, workspaces, offer, node.kubeconfig)

    async def story(name: str) -> None:
        await STORIES[name](bench)

    yield {name: asyncio.run_coroutine_threadsafe(story(name), loop) for name in STORIES}
    asyncio.run_coroutine_threadsafe(executor.close(), loop).result(30)
    server.should_exit = True
    serving.result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()
    subprocess.run([*kubectl, "delete", "namespace", namespace, "--wait=false"], check=True, capture_output=True)


@pytest.mark.parametrize("name", STORIES)
def test_executor_of_pods_keeps_the_contract(played: dict[str, Future[None]], name: str) -> None:
    """Every story of the contract is played in pods."""
    played[name].result(WAIT_S)
