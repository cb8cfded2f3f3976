"""One real Kubernetes for the whole session, a namespace for each test; on a machine that cannot have one the tests say what is missing."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.kubernetes import cluster as machine
from tools.kubernetes.layout import Layout

import debian_image
from kubernetes_world import Machine, World
from live_home import LiveHome, free_port, running_home
from setpoint.adapters.kubernetes import kubeconfig
from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from tls_registry import plain


@pytest.fixture(scope="session")
def node() -> Iterator[Machine]:
    """Start a cluster with a node."""
    lacking = machine.missing()
    if lacking:
        pytest.skip(f"INCOMPLETE: needs {lacking}")
    if shutil.which("kubectl") is None:
        pytest.skip("INCOMPLETE: needs kubectl")
    built = subprocess.run([machine.ROOT / "tools" / "kubernetes" / "build"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        pytest.skip("INCOMPLETE: needs Go 1.26 to build Kubernetes")
    # Short: containerd's socket lies below it, and a socket's path may have 107 bytes.
    state = Path(tempfile.mkdtemp(prefix="spk-", dir="/tmp"))
    layout = Layout(Path(built.stdout.strip()), state / "c", number=_free_number())
    registry = f"{layout.host_address}:{free_port()}"
    try:
        yield Machine(machine.up(layout, registry), registry)
    finally:
        machine.down(layout)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Layout]:
    """Start a control plane that a module has for itself, and may stop; it has no node, so no pod ever runs."""
    if shutil.which("kubectl") is None:
        pytest.skip("INCOMPLETE: needs kubectl")
    built = subprocess.run([machine.ROOT / "tools" / "kubernetes" / "build"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        pytest.skip("INCOMPLETE: needs Go 1.26 to build Kubernetes")
    state = Path(tempfile.mkdtemp(prefix="spk-", dir="/tmp"))
    layout = Layout(Path(built.stdout.strip()), state / "c", number=_free_number(), pods=False)
    try:
        machine.up(layout)
        yield layout
    finally:
        machine.down(layout)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(node: Machine) -> Access:
    """Give an administrator's access to the cluster."""
    return kubeconfig.read(node.kubeconfig)


@pytest.fixture(scope="session")
def registry(node: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an empty registry of somebody else's that the node pulls from; returns its host."""
    if shutil.which("docker-registry") is None:
        pytest.skip("INCOMPLETE: needs docker-registry")
    with plain(tmp_path_factory.mktemp("registry"), node.registry):
        yield node.registry


@pytest.fixture(scope="session")
def task_image(registry: str) -> str:
    """Push an image for tasks, with a shell and python3, and return its reference by digest."""
    return debian_image.push(registry, "debian")


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHome]:
    """A home whose server runs, with an empty source repository and a registered delivery repository."""
    with running_home() as found:
        yield found


@pytest.fixture
def world(cluster: Access) -> Iterator[World]:
    """Make a namespace for a test and delete it after."""
    found = World(cluster, f"t-{secrets.token_hex(4)}")

    async def create(client: Client) -> None:
        kind = await client.kinds.of("v1", "Namespace")
        await client.apply(kind, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": found.namespace}}, "tests")

    async def delete(client: Client) -> None:
        await client.delete(await client.kinds.of("v1", "Namespace"), None, found.namespace)

    found.run(create)
    yield found
    found.run(delete)


def _free_number() -> int:
    """Return the number of no cluster that runs on this machine, beginning at another one in each process."""
    for step in range(15):
        number = (os.getpid() + step) % 15 + 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", Layout(Path(), Path(), number).etcd_port))
            except OSError:
                continue
        return number
    pytest.skip("INCOMPLETE: needs one of fifteen places for a cluster on this machine")
