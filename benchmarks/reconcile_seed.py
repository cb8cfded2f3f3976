"""A home with a thousand applications that are pinned and whose cluster is not known yet, for the benchmark of the reconciler.

The pins come by the road: pushed, judged, signed, committed, one after the other. That takes minutes, so a home that was made once is kept
in the cache and copied for each run; nothing in it is written by hand.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2

from live_home import LiveHome

IMAGE = "registry.example.com/web@sha256:" + "1" * 64
NAMESPACE = "bench"
_LIMIT_S = 3600
_SETPOINT = """
apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps:
%speople:
  sam: {emails: [sam@example.com]}
teams:
  sre: [sam]
owners: [team:sre]
"""
_ENVIRONMENT = f"""
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: bench, namespace: {NAMESPACE}, registry: registry.example.com}}}}
owners: [team:sre]
images: ["{IMAGE}"]
"""
MANIFESTS = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: NAME}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: NAME}}
data: {{text: "TEXT", more: "as much as a small configuration has, so that the object is not an empty one"}}
---
apiVersion: v1
kind: Service
metadata: {{name: NAME}}
spec: {{clusterIP: None, selector: {{app: NAME}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: NAME}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: NAME}}}}
  template:
    metadata: {{labels: {{app: NAME}}}}
    spec:
      serviceAccountName: NAME
      containers:
        - name: web
          image: {IMAGE}
          ports: [{{containerPort: 8080}}]
          resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 32Mi}}}}
          readinessProbe: {{httpGet: {{path: /, port: 8080}}}}
"""


def app(number: int) -> str:
    """Return the name of an application."""
    return f"app-{number:04d}"


def manifests(name: str, text: str) -> str:
    """Return the four objects of an application."""
    return MANIFESTS.replace("NAME", name).replace("TEXT", text)


@contextmanager
def seeded(count: int, folder: Path) -> Iterator[LiveHome]:
    """Give a running home with so many pinned applications, in a folder of its own, and the folder of what was kept beside it."""
    kept = _cache() / f"reconcile-{count}"
    if not (kept / "seconds").exists():
        _make(count, kept)
    shutil.copytree(kept / "work", folder, dirs_exist_ok=True, symlinks=True)
    live = LiveHome(folder)
    live.start()
    live.git(live.work / "delivery", "remote", "set-url", "origin", f"{live.ready['git']}/delivery.git", who="sam")
    try:
        yield live
    finally:
        live.down()


def seconds(count: int) -> float:
    """Return how long the pins took when the home was made."""
    return float((_cache() / f"reconcile-{count}" / "seconds").read_text())


def _cache() -> Path:
    return Path(os.environ.get("SETPOINT_CACHE") or Path(__file__).resolve().parents[1] / ".cache")


def _make(count: int, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    (kept / "work").mkdir(parents=True)
    (kept / "work").chmod(0o711)
    live = LiveHome(kept / "work")
    live.start()
    try:
        live.api().post("/api/v1/repositories", {"name": "delivery"})
        files: dict[str, str | None] = {
            "setpoint.yaml": _SETPOINT % "".join(f"  {app(number)}: {{}}\n" for number in range(count)),
            "environments/cloud/environment.yaml": _ENVIRONMENT,
        }
        files |= {f"apps/{app(number)}/all.yaml": manifests(app(number), "first") for number in range(count)}
        live.tokens["sam"] = live.ready["token"]  # the operator pushes the first version: nobody is somebody before it is accepted
        live.commit("delivery", files, "all of them", who="sam")
        del live.tokens["sam"]
        began = time.monotonic()
        live.api().post("/api/v1/delivery", {"repository": "delivery"})
        while pins(live) < count:
            if time.monotonic() > began + _LIMIT_S:
                raise SystemExit(f"only {pins(live)} of {count} applications were pinned within {_LIMIT_S} s")
            time.sleep(1)
        took = time.monotonic() - began
    finally:
        live.down()
    subprocess.run(["sync"], check=True)
    (kept / "seconds").write_text(f"{took:.1f}")


def pins(live: LiveHome) -> int:
    """Return how many pins are committed, read from the bare repository, so that the server is not asked."""
    bare = pygit2.Repository(str(live.home / "repositories" / "delivery.git"))
    tree = bare.references["refs/heads/main"].peel(pygit2.Commit).tree
    folder = next((tree[path] for path in ("pins/cloud",) if path in tree), None)
    return len(list(folder)) if isinstance(folder, pygit2.Tree) else 0


if __name__ == "__main__":
    _make(int(os.environ.get("APPLICATIONS", "1000")), _cache() / f"reconcile-{os.environ.get('APPLICATIONS', '1000')}")
