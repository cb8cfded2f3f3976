"""The reconciler on one real API server: a thousand applications of four objects, first applied, at rest, changed one by one, and drifting.

The pins were made by the road before the cluster is known (`reconcile_seed`), so that the first apply is measured alone. It is held against
the same server-side applies of a bare client in the same run. The cluster is a control plane without a node; Deployments want no pods.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import processes
import reconcile_seed as seed
import yaml
from harness import Row, at, publish, spread
from render import KUSTOMIZED, bare_times, rows_of
from tools.kubernetes import cluster as machine
from tools.kubernetes.layout import Layout

from live_home import LiveHome
from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.kubernetes import kubeconfig
from setpoint.adapters.kubernetes.client import Client
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.kubernetes.transport import CONNECTIONS, Call, Transport, decoded
from setpoint.adapters.kustomize import KustomizeBinary, find_kubectl
from setpoint.cli.cluster import _content
from setpoint.core import clock
from setpoint.reconcile.render import Renderers
from setpoint.reconcile.sources.registry_charts import NoCharts

_LIMIT_S: Final = 900
_CHANGES: Final = 15
_DRIFTS: Final = 50
_REST_S: Final = 60
_LARGE: Final = 6000
_LARGE_APPS: Final = ("large-a", "large-b")
_RAW: Final = "raw"


@contextmanager
def _cluster(folder: Path) -> Iterator[Access]:
    """Start a control plane of its own."""
    number = int(os.environ.get("CLUSTER", "14"))
    built = subprocess.run([machine.ROOT / "tools" / "kubernetes" / "build"], stdout=subprocess.PIPE, text=True, check=True)
    layout = Layout(Path(built.stdout.strip()), folder / "c", number, pods=False)
    try:
        yield kubeconfig.read(machine.up(layout))
    finally:
        machine.down(layout)


class _Bare:
    """A client with a loop of its own, as anybody could write one: the same calls and as many at once, and nothing else."""

    def __init__(self, access: Access) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._transport = Transport(access)
        self.client = Client(self._transport)

    def run(self, work: Any) -> Any:
        """Run a coroutine in the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    def namespace(self, name: str) -> None:
        """Make a namespace."""
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])

    def apply(self, objects: Sequence[dict[str, Any]]) -> float:
        """Apply objects server-side, as many at once as connections; returns the seconds."""

        async def one(value: dict[str, Any]) -> None:
            kind = await self.client.kinds.of(value["apiVersion"], value["kind"])
            await self.client.apply(kind, value, "bare", force=True)

        async def every() -> None:
            await self.client.kinds.refresh()
            slots = asyncio.Semaphore(CONNECTIONS)

            async def bounded(value: dict[str, Any]) -> None:
                async with slots:
                    await one(value)

            await asyncio.gather(*(bounded(value) for value in objects))

        began = time.monotonic()
        self.run(every())
        return time.monotonic() - began

    def text(self, name: str) -> str:
        """Return what a ConfigMap of an application says now."""

        async def look() -> str:
            found = await self.client.get(await self.client.kinds.of("v1", "ConfigMap"), seed.NAMESPACE, name)
            return str((found or {}).get("data", {}).get("text", ""))

        return str(self.run(look()))

    def says(self, name: str, text: str) -> bool:
        """Say whether a ConfigMap of an application says this."""
        return self.text(name) == text

    def change(self, name: str, text: str) -> None:
        """Change a ConfigMap of an application behind Setpoint's back."""

        async def work() -> None:
            await self.client.patch(await self.client.kinds.of("v1", "ConfigMap"), seed.NAMESPACE, name, {"data": {"text": text}})

        self.run(work())

    def count(self, api_version: str, kind: str) -> int:
        """Return how many objects of a kind the namespace has: one small page, which says how many more there are."""

        async def look() -> int:
            known = await self.client.kinds.of(api_version, kind)
            path = known.path(seed.NAMESPACE)
            page = decoded(await self._transport.send(Call("GET", path, {"limit": "1"})), path)
            return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

        return int(self.run(look()))


def _metrics(live: LiveHome) -> dict[str, float]:
    request = urllib.request.Request(f"{live.ready['url']}/metrics", headers={"Authorization": f"Bearer {live.ready['token']}"})
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and not line.startswith("#")}


def _healthy(live: LiveHome) -> int:
    return int(sum(value for name, value in _metrics(live).items() if name.startswith("setpoint_deployment_healthy")))


def _writes(live: LiveHome) -> float:
    return _metrics(live)['setpoint_cluster_calls_total{cluster="bench",kind="write"}']


def _until(what: str, done: Callable[[], object], pause_s: float = 0.02) -> float:
    """Wait for something; returns the seconds."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > _LIMIT_S:
            raise SystemExit(f"{what} did not happen within {_LIMIT_S} s")
        time.sleep(pause_s)
    return time.monotonic() - began


def _objects(namespace: str, count: int) -> list[dict[str, Any]]:
    every = [list(yaml.safe_load_all(seed.manifests(seed.app(number), "first"))) for number in range(count)]
    found = [value for objects in every for value in objects if value]
    for value in found:
        value["metadata"]["namespace"] = namespace
    return found


def _first(live: LiveHome, bare_client: _Bare, config: str, count: int) -> list[Row]:
    """Apply everything by a bare client, then by the reconciler."""
    objects = _objects(_RAW, count)
    raw_s = bare_client.apply(objects)
    bare_client.namespace(seed.NAMESPACE)
    # What is read once after a start, signatures above all, is no part of applying.
    name = 'setpoint_reconcile_pass_seconds_count{environment="cloud"}'
    _until("the first look at all pins", lambda: _metrics(live).get(name, 0) >= 2, 1.0)
    cpu, began = processes.own_cpu_s(processes.server(live)), time.monotonic()
    live.api().put("clusters/bench", {"kubeconfig": config})
    _until("the last Deployment", lambda: bare_client.count("apps/v1", "Deployment") == count, 0.2)
    took = time.monotonic() - began
    cpu = processes.own_cpu_s(processes.server(live)) - cpu
    _until("health", lambda: _healthy(live) == count, 1.0)
    well = time.monotonic() - began
    memory = processes.memory_mib(processes.server(live))["Rss"]
    return [
        Row(
            f"first apply of {count} applications, {len(objects)} objects",
            f"{took:.1f} s, {len(objects) / took:.0f}/s",
            f"the same calls by a bare client: {raw_s:.1f} s, {len(objects) / raw_s:.0f}/s; x{took / raw_s:.2f}; our CPU {cpu:.1f} s",
            "x1.3 and < 60 s",
        ),
        Row("from the cluster's registration to all of them healthy", f"{well:.1f} s"),
        Row("memory of the server then", f"{memory:.0f} MiB resident", goal="< 200 MiB"),
    ]


def _resync(live: LiveHome) -> Row:
    """Have everything compared anew: a change of the environment's file that means nothing."""
    folder = live.work / "delivery"
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    text = (folder / "environments/cloud/environment.yaml").read_text()
    name = 'setpoint_reconcile_pass_seconds_{}{{environment="cloud"}}'
    before = _metrics(live)
    writes = before['setpoint_cluster_calls_total{cluster="bench",kind="write"}']
    live.commit("delivery", {"environments/cloud/environment.yaml": text + "# looked at again\n"}, "a comment", who="sam")
    found: list[float] = []

    def passed() -> bool:
        nonlocal before
        now = _metrics(live)
        passes = now[name.format("count")] - before[name.format("count")]
        if passes:
            found.append((now[name.format("sum")] - before[name.format("sum")]) / passes)
            before = now
        return len(found) >= 6

    _until("the resync", passed, 0.1)
    return Row(
        "resync: everything compared anew, nothing differs",
        f"{max(found):.2f} s the longest pass",
        f"{_writes(live) - writes:.0f} writes; a pass over what rests: {min(found):.3f} s",
        "0 writes, < 5 s",
    )


def _renders(live: LiveHome) -> float:
    return _metrics(live)["setpoint_renders_total"]


def _changes(live: LiveHome, client: _Bare, count: int) -> Row:
    took, before, folder = [], _renders(live), live.work / "delivery"
    for number in range(_CHANGES):
        name, text = seed.app(number * 37 % count), f"change {number}"
        live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
        live.commit("delivery", {f"apps/{name}/all.yaml": seed.manifests(name, text)}, "change", who="sam", push=False)
        began = time.monotonic()
        live.git(folder, "push", "-q", "origin", "main", who="sam")
        _until(f"the change of {name}", partial(client.says, name, text), 0.01)
        took.append(time.monotonic() - began)
    renders = (_renders(live) - before) / _CHANGES
    return Row(
        f"one of {count} applications changed: exec of `git push` -> applied", spread(took), f"{renders:.2f} renders a change",
        "p50 < 1 s, exactly one render",
    )  # fmt: skip


def _drifts(live: LiveHome, client: _Bare, count: int) -> list[Row]:
    seen, healed = [], []
    for number in range(_DRIFTS):
        name = seed.app((number * 13 + 5) % count)
        wanted, entries = client.text(name), len(live.api().get("/api/v1/drift", {"history": "true", "application": name}))
        client.change(name, f"by hand {number}")
        began, wall = time.monotonic(), time.time()
        _until(f"the healing of {name}", partial(client.says, name, wanted), 0.005)
        healed.append(time.monotonic() - began)

        _until("the record", partial(_told, live, name, entries), 0.05)
        seen.append(max(0.0, clock.from_text(_told(live, name, entries)[0]["since"]).timestamp() - wall))
    return [
        Row("a field changed by hand -> drift recorded", f"{spread(seen)}, p99 {at(seen, 0.99) * 1000:.0f} ms", goal="p99 < 1 s"),
        Row("-> healed", f"{spread(healed)}, p99 {at(healed, 0.99) * 1000:.0f} ms", goal="< 2 s"),
    ]


def _told(live: LiveHome, name: str, more_than: int) -> list[dict[str, Any]]:
    found = live.api().get("/api/v1/drift", {"history": "true", "application": name})
    return list(found) if len(found) > more_than else []


def _rest(live: LiveHome, client: _Bare, count: int) -> Row:
    """Have ten thousand objects watched, and measure what that costs while nothing happens."""
    folder = live.work / "delivery"
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    files: dict[str, str | None] = {}
    for name in _LARGE_APPS:
        one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}-{}}}\ndata: {{text: small}}\n"
        files[f"apps/{name}/all.yaml"] = "---\n".join(one.format(name, number) for number in range(_LARGE // len(_LARGE_APPS)))
    more = "".join(f"  {name}: {{}}\n" for name in _LARGE_APPS)
    files["setpoint.yaml"] = (folder / "setpoint.yaml").read_text().replace("apps:\n", f"apps:\n{more}", 1)
    live.commit("delivery", files, "large applications", who="sam")
    _until("the large applications", lambda: client.count("v1", "ConfigMap") >= count + _LARGE, 0.5)
    _until("health", lambda: _healthy(live) == count + len(_LARGE_APPS), 2.0)
    time.sleep(20)
    pid, writes = processes.server(live), _writes(live)
    before = processes.own_cpu_s(pid)
    time.sleep(_REST_S)
    share = (processes.own_cpu_s(pid) - before) / _REST_S
    memory = processes.memory_mib(pid)["Rss"]
    beside = f"{_writes(live) - writes:.0f} writes; {memory:.0f} MiB"
    return Row(f"CPU at rest, {4 * count + _LARGE} objects watched", f"{share:.2%} of a core", beside, "< 1 %")


def _rendering() -> list[Row]:
    kubectl = str(find_kubectl())
    tools = Renderers(KustomizeBinary(), HelmBinary(), NoCharts())
    peer = bare_times(KUSTOMIZED, 10, kubectl, "kustomize", "environments/prod/web")
    return rows_of("a kustomization", KUSTOMIZED, tools, peer, 10)


def run() -> None:
    """Measure all of it; APPLICATIONS says how many."""
    count = int(os.environ.get("APPLICATIONS", "1000"))
    folder = Path(tempfile.mkdtemp(prefix="setpoint-reconcile-", dir="/tmp"))
    folder.chmod(0o711)
    parts = os.environ.get("PARTS", "first resync changes drifts rest render").split()
    try:
        with _cluster(folder) as access, seed.seeded(count, folder / "h") as live:
            client = _Bare(access)
            client.namespace(_RAW)
            config = _content(folder / "c" / "admin.conf", "")
            steps: dict[str, Callable[[], list[Row]]] = {
                "first": lambda: _first(live, client, config, count),
                "resync": lambda: [_resync(live)],
                "changes": lambda: [_changes(live, client, count)],
                "drifts": lambda: _drifts(live, client, count),
                "rest": lambda: [_rest(live, client, count)],
                "render": _rendering,
            }
            rows = []
            for name in parts:
                found = steps[name]()
                print(*(f"{row.what}: {row.value} ({row.peer})" for row in found), sep="\n", flush=True)
                rows += found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows.append(Row(f"before: {count} applications registered, judged and pinned by the road", f"{seed.seconds(count):.0f} s"))
    if os.environ.get("PUBLISH", "1") != "0":
        publish("reconcile", f"Reconciling {count} applications on Kubernetes", rows)
    else:
        print(json.dumps([(row.what, row.value, row.peer) for row in rows], indent=1))
