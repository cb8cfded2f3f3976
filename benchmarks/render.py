"""Rendering: a kustomization and a chart of four objects, cold and warm, beside bare kubectl and helm; one commit in a large repository.

The bare programs run without a sandbox on the same files; the repository is real Git, and nothing of a server is in it.
"""

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from harness import Row, publish, spread

from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.kustomize import KustomizeBinary, find_kubectl
from setpoint.adapters.render_folder import RenderFolder
from setpoint.core import digest
from setpoint.promotion.model import Candidate, PinnedArtifact
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.ports import ChartRelease
from setpoint.reconcile.render import Place, Renderers
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.files import PinnedFiles
from setpoint.reconcile.sources.registry_charts import NoCharts
from stock_helm import stock_helm

_OBJECTS = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {A: "1"}
"""
KUSTOMIZED = {
    "apps/web/kustomization.yaml": b"resources: [all.yaml]\n",
    "apps/web/all.yaml": _OBJECTS.encode(),
    "environments/prod/web/kustomization.yaml": b"resources: [../../../apps/web]\nreplicas: [{name: web, count: 3}]\n",
}
_CHART = {
    "apps/web/Chart.yaml": b"apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "apps/web/values.yaml": b"replicas: 1\n",
    "apps/web/templates/all.yaml": _OBJECTS.replace("replicas: 1", "replicas: {{ .Values.replicas }}").encode(),
    "environments/prod/web/values.yaml": b"replicas: 3\n",
}


class _Counting:
    """The stock programs, counted."""

    def __init__(self, kustomize: KustomizeBinary, helm: HelmBinary) -> None:
        self.runs = 0
        self._kustomize, self._helm = kustomize, helm

    def version(self) -> str:
        """Return kubectl's; the repository has no charts."""
        return self._kustomize.version()

    def build(self, root: Path, folder: str) -> bytes:
        """Count, and build."""
        self.runs += 1
        return self._kustomize.build(root, folder)

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Count, and render."""
        self.runs += 1
        return self._helm.template(root, release, again=again)


def _pinned(files: Mapping[str, bytes]) -> PinnedFiles:
    blobs = {digest.sha256(data): data for data in files.values()}
    return PinnedFiles({path: digest.sha256(data) for path, data in files.items()}, blobs.__getitem__)


def _times(count: int, work: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found


def bare_times(files: Mapping[str, bytes], count: int, *argv: str) -> list[float]:
    """Return how long the bare program takes on the same files."""
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        return _times(count, lambda: subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def rows_of(name: str, files: Mapping[str, bytes], tools: Renderers, bare: list[float], count: int) -> list[Row]:
    """Return what rendering takes cold and warm, beside the bare program's times."""
    root = Path(tempfile.mkdtemp(prefix="setpoint-bench-"))

    def cold() -> None:
        shutil.rmtree(root, ignore_errors=True)
        Renders(tools, RenderFolder(root)).render(_pinned(files), Place("web", "prod"))

    try:
        first = _times(count, cold)
        warm = _times(count * 5, lambda: Renders(tools, RenderFolder(root)).render(_pinned(files), Place("web", "prod")))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    ratio, share = sorted(first)[count // 2] / sorted(bare)[count // 2], sorted(warm)[count * 5 // 2] / sorted(bare)[count // 2]
    return [
        Row(f"{name} of 4 objects, never rendered before", spread(first), f"bare: {spread(bare)}; x{ratio:.2f}"),
        Row("the same after a restart, kept on the disk", spread(warm, digits=1), f"x{share:.3f} of the bare program"),
    ]


def _repository(folder: Path, count: int) -> GitRepositories:
    """Return a delivery repository of many applications of one kustomization each."""
    git = GitRepositories(folder)
    git.create("delivery")
    files = {}
    for number in range(count):
        for path, data in KUSTOMIZED.items():
            files[path.replace("/web/", f"/web{number}/")] = data.replace(b"apps/web", b"apps/web%d" % number)
    _commit(git, None, files)
    return git


def _commit(git: GitRepositories, parent: str | None, files: dict[str, bytes]) -> str:
    """Write a commit with stock git on a tree that the store wrote; returns its id."""
    tree = git.write_tree("delivery", parent, files)
    who = ["-c", "user.name=b", "-c", "user.email=b@example.com", "commit-tree", tree, "-m", "x"]
    argv = ["git", "-C", str(git.path("delivery")), *who, *(["-p", parent] if parent else [])]
    commit = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    git.advance("delivery", "main", parent, commit)
    return commit


def _monorepo(tools: Renderers, counted: _Counting, count: int) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="setpoint-bench-"))
    try:
        git = _repository(folder / "repositories", count)
        kept, image = RenderFolder(folder / "renders"), PinnedArtifact("web", "sha256:" + "a" * 64)

        def look(rendering: Rendering) -> float:
            head, begun = git.heads("delivery")["main"], time.process_time()
            for number in range(count):
                app = f"web{number}"
                trees = (git.tree_id("delivery", head, f"apps/{app}"), git.tree_id("delivery", head, f"environments/prod/{app}"))
                error = rendering.render_facts(Candidate(app, "prod", {"web": image}, *trees), "delivery").error
                if error:
                    raise SystemExit(error)
            return time.process_time() - begun

        def fresh() -> Rendering:
            return Rendering(git, Renders(tools, kept), lambda _app, _environment: Allowed())

        running = fresh()
        begun = time.perf_counter()
        cold = look(running)
        whole, again = time.perf_counter() - begun, look(running)
        before, memory = counted.runs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        change = {"environments/prod/web7/kustomization.yaml": b"resources: [../../../apps/web7]\nreplicas: [{name: web, count: 4}]\n"}
        _commit(git, git.heads("delivery")["main"], change)
        touched = look(running)
        rendered, restarted = counted.runs - before, look(fresh())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        Row(f"{count} applications, all rendered", f"{whole:.1f} s", f"{cold / count * 1000:.1f} ms of our CPU each; {memory} MiB"),
        Row("the same again: nothing changed, CPU", f"{again * 1000:.0f} ms", "0 renders"),
        Row("after a commit to one of them, our CPU", f"{touched * 1000:.0f} ms", f"{rendered} render", "exactly one render"),
        Row("after a restart, CPU", f"{restarted * 1000:.0f} ms", f"{counted.runs - before - rendered} renders"),
    ]


def run(count: int = 30, applications: int = 1000) -> None:
    """Measure renders beside the bare programs, and what one commit costs in a large repository."""
    kubectl, helm = str(find_kubectl()), str(stock_helm())
    counted = _Counting(KustomizeBinary(), HelmBinary(Path(helm)))
    tools = Renderers(counted, counted, NoCharts())
    values = ("--values", "environments/prod/web/values.yaml", "--namespace", "prod", "--kube-version", "1.34.0")
    rows = rows_of(
        "a kustomization", KUSTOMIZED, tools, bare_times(KUSTOMIZED, count, kubectl, "kustomize", "environments/prod/web"), count
    )
    rows += rows_of("a chart", _CHART, tools, bare_times(_CHART, count, helm, "template", "web", "apps/web", *values), count)
    rows += _monorepo(tools, counted, applications)
    publish("render", "Rendering", rows)
