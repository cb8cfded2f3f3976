"""Overhead of a task on a cluster: a chain of tasks that do nothing, against a bare Job of the same image, on one real node.

Bare Jobs are made by POST and followed by a watch until their container has ended, and until the Job says Complete; they run before and
after the chain, while the server is idle. Another floor is the sandbox of this machine, which `make bench-task` measures.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from harness import Row, ended, home, publish, run_seconds, spread
from tools.kubernetes import cluster as machine
from tools.kubernetes.layout import Layout

import debian_image
from live_home import SETPOINT_FILE, LiveHome, free_port
from setpoint.adapters.kubernetes import kubeconfig
from setpoint.adapters.kubernetes.jobs.calls import JOB, JobCalls
from setpoint.adapters.kubernetes.transport import Transport
from setpoint.cli.cluster import _content
from setpoint.core.clock import seconds_between
from tls_registry import plain

_NAMESPACE: Final = "builds"


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[Path, str]]:
    """Start a cluster with a node; gives its kubeconfig and the registry that it pulls from."""
    built = subprocess.run([machine.ROOT / "tools" / "kubernetes" / "build"], stdout=subprocess.PIPE, text=True, check=True)
    layout = Layout(Path(built.stdout.strip()), folder / "c", int(os.environ.get("CLUSTER", "15")))
    registry = f"{layout.host_address}:{free_port()}"
    (folder / "registry").mkdir()
    try:
        config = machine.up(layout, registry)
        subprocess.run(["kubectl", f"--kubeconfig={config}", "create", "namespace", _NAMESPACE], check=True, capture_output=True)
        with plain(folder / "registry", registry):
            yield config, registry
    finally:
        machine.down(layout)


async def _bare(config: Path, image: str, count: int) -> tuple[list[float], list[float]]:
    """Return how long bare Jobs took until their container had ended, and until they were Complete."""
    to_end, to_complete = [], []
    async with Transport(kubeconfig.read(config)) as transport:
        calls = JobCalls(transport, _NAMESPACE)
        for number in range(count):
            name = f"bare-{os.urandom(3).hex()}-{number}"
            began = time.perf_counter()
            await calls.create(JOB, _job(name, image))
            _, version = await calls.pods(name)
            async for pod in calls.changes(name, version):
                if any("terminated" in one["state"] for one in pod.get("status", {}).get("containerStatuses", ())):
                    break
            to_end.append(time.perf_counter() - began)
            for _ in range(2000):
                if ((await calls.job(name)) or {}).get("status", {}).get("succeeded"):
                    break
                await asyncio.sleep(0.05)
            to_complete.append(time.perf_counter() - began)
            await calls.delete(JOB, name)
    return to_end, to_complete


def _job(name: str, image: str) -> dict[str, Any]:
    container = {"name": "task", "image": image, "command": ["/bin/sh", "-euc", "true"]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def _offer(live: LiveHome, config: Path, registry: str, image: str) -> None:
    """Let pods reach the home, and offer the executor."""
    address, pair = registry.rpartition(":")[0], (live.work / "pull.pem", live.work / "pull.key")
    subject = ["-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*command, "-keyout", str(pair[1]), "-out", str(pair[0])], check=True, capture_output=True)
    live.stop()
    live.options = ("--pull-listen", f"{address}:{free_port()}", "--pull-cert", str(pair[0]), "--pull-key", str(pair[1]))
    live.start()
    live.api().put("clusters/real", {"kubeconfig": _content(config, "")})
    kubernetes = {"cluster": "real", "namespace": _NAMESPACE, "image": image, "limits": {"cpu": "500m", "memory": "256Mi"}}
    offered = f"executors: {json.dumps({'cluster': {'kubernetes': kubernetes}})}\n"
    commit = live.commit("delivery", {"setpoint.yaml": SETPOINT_FILE + offered}, who="sam")
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": commit})


def run(length: int = 8, bare: int = 5) -> None:
    """Run bare Jobs and a chain of tasks in turn."""
    names = [f"t{number}" for number in range(length)]
    common = {"executor": "cluster", "network": True, "inputs": ["salt.txt"], "run": "true"}
    tasks = {name: {**common, "needs": names[max(0, place - 1) : place]} for place, name in enumerate(names)}
    pipeline = json.dumps({"apiVersion": "setpoint.dev/v1alpha1", "kind": "Pipeline", "tasks": tasks})
    with tempfile.TemporaryDirectory(prefix="spb-", dir="/tmp") as name, _cluster(Path(name)) as (config, registry), home() as live:
        image = debian_image.push(registry, "debian")
        _offer(live, config, registry, image)
        asyncio.run(_bare(config, image, 1))  # the image is on the node by then
        first = asyncio.run(_bare(config, image, bare))
        report = ended(live, live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "salt.txt": "1"}))
        second = asyncio.run(_bare(config, image, bare))
    floor, complete = [*first[0], *second[0]], [*first[1], *second[1]]
    own = [seconds_between(task["started_at"], task["finished_at"]) for task in report["tasks"]]
    each = run_seconds(report) / length
    rows = [
        Row(f"a task, in a chain of {length}", f"{each:.2f} s", f"a bare Job until Complete: {spread(complete, 's', 2)}"),
        Row(
            "from its start to its end, as the report says",
            spread(own, "s", 2),
            f"a bare Job until its container ended: {spread(floor, 's', 2)}",
        ),
        Row("overhead of a task over the container's end", f"{median(own) - median(floor):.2f} s", f"x{median(own) / median(floor):.1f}"),
        Row("against the bare Job's Complete", f"{median(own) - median(complete):+.2f} s", f"x{median(own) / median(complete):.2f}"),
    ]
    publish("job", "Overhead of a task on a cluster", rows)
