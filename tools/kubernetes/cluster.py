"""Starts and stops a real single-node Kubernetes for tests: `python -m tools.kubernetes.cluster up|down|missing`.

Called by the `cluster` fixture of tests/kubernetes and by hand. `up` prints the path of a kubeconfig, `missing` what this
machine lacks for one. Everything it starts is recorded in its state folder, and `down` ends exactly that.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tools.kubernetes import control_plane, node, pki
from tools.kubernetes.layout import Layout
from tools.kubernetes.processes import ClusterError, stop_all, until

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = {
    "containerd": "containerd", "runc": "runc", "busybox": "busybox-static", "iptables": "iptables", "conntrack": "conntrack",
    "ip": "iproute2", "/usr/lib/cni/bridge": "containernetworking-plugins",
}  # fmt: skip
"""What a node needs from the system: command or file -> package."""
_NODE_S: Final = 120.0


def cache() -> Path:
    """Return the folder for what is slow to make."""
    return Path(os.environ.get("SETPOINT_CACHE") or ROOT / ".cache")


def missing() -> str:
    """Return why no cluster with pods can start on this machine, as one sentence; empty when it can."""
    if os.geteuid() != 0:
        return "root (namespaces, cgroups, containerd)"
    lacking = [package for command, package in PACKAGES.items() if not (Path(command).exists() or shutil.which(command))]
    if lacking:
        return f"the packages {', '.join(lacking)}"
    return "" if Path("/sys/fs/cgroup/memory").is_dir() else "cgroups of version 1, which containerd 1.6 and this cluster use"


def up(layout: Layout, registry: str | None = None) -> Path:
    """Start a cluster and return its kubeconfig; registry is a plain-HTTP `host:port` that pods may pull from.

    Raises:
        ClusterError: it does not come up; what was started is stopped again.
    """
    if (layout.state / "pids").exists():
        raise ClusterError(f"{layout.state} is in use: stop that cluster first")
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if layout.pods:
            node.leave(layout)  # what a killed run left
            node.join_network(layout)
        pki.write(layout)
        control_plane.start_store(layout)
        control_plane.start_api(layout)
        control_plane.start_controllers(layout)
        if layout.pods:
            _let_proxy_read(layout)
            node.start_node(layout, registry)
            until("the node is ready", lambda: _node_ready(layout), _NODE_S, layout)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        until("controllers work", lambda: control_plane.exists(layout, account), _NODE_S, layout)
    except BaseException:
        down(layout)
        raise
    return layout.kubeconfig


def down(layout: Layout) -> None:
    """End a cluster and remove all that it left on the machine; one that is not there is fine."""
    stop_all(layout)
    if layout.pods:
        node.leave(layout)
    data = layout.state / "etcd-folder"
    if data.exists():
        shutil.rmtree(data.read_text(encoding="utf-8"), ignore_errors=True)
    shutil.rmtree(layout.state, ignore_errors=True)


def _kubectl(layout: Layout, *argv: str) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", f"--kubeconfig={layout.kubeconfig}", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30)


def _let_proxy_read(layout: Layout) -> None:
    done = _kubectl(layout, "create", "clusterrolebinding", "node-proxier", "--clusterrole=system:node-proxier", "--user=system:kube-proxy")
    if done.returncode:
        raise ClusterError(f"kubectl: {done.stderr.strip()}")


def _node_ready(layout: Layout) -> bool:
    done = _kubectl(layout, "get", f"node/{layout.name}", "-o", "json")
    if done.returncode:
        return False
    conditions = json.loads(done.stdout)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def main() -> int:
    """Build what is missing, start or stop, and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("up", "down", "missing"))
    parser.add_argument("--number", type=int, default=0, choices=range(100))
    parser.add_argument("--control-plane-only", action="store_true")
    asked = parser.parse_args()
    if asked.what == "missing":
        print(missing(), end="")
        return 0
    state = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"setpoint-kubernetes-{asked.number}"  # noqa: S108 - 0700, ours
    built = subprocess.run([ROOT / "tools" / "kubernetes" / "build"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        return built.returncode
    layout = Layout(Path(built.stdout.strip()), state, asked.number, pods=not asked.control_plane_only)
    began = time.monotonic()
    try:
        if asked.what == "down":
            down(layout)
        else:
            lacking = missing() if layout.pods else ""
            if lacking:
                print(f"kubernetes: needs {lacking}", file=sys.stderr)
                return 3
            print(f"export KUBECONFIG={up(layout)}")
    except ClusterError as error:
        print(f"kubernetes: {error}", file=sys.stderr)
        return 1
    print(f"kubernetes: {asked.what} in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
