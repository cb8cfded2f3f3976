"""The one node of a test cluster: containerd, kubelet and kube-proxy in namespaces of their own; called by `cluster`, needs root.

The node's network namespace is joined to the host by one veth and has no default route: pods and Services answer from the host, and nothing
can leave the machine. One recorded pid is PID 1 of the node; when it dies, every container dies with it, and nothing is left mounted.
"""

import contextlib
import json
from pathlib import Path
from typing import Final

from tools.kubernetes.images import busybox, pause, write
from tools.kubernetes.layout import PODS_A_NODE, Layout
from tools.kubernetes.processes import run, start

_CGROUPS: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "systemd")
_SYSCTLS: Final = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}  # fmt: skip
"""What kubelet would write into the machine's kernel: it reads these files instead, bound over /proc/sys in its own mount namespace."""


def start_node(layout: Layout, registry: str | None) -> None:
    """Start the node; registry is a plain-HTTP `host:port` that pods may pull from, or None."""
    _cgroups(layout)
    _images(layout)
    _write(layout, "cni/10-node.conflist", _cni(layout))
    _write(layout, "conf/containerd.toml", _containerd(layout))
    _write(layout, "conf/kubelet.yaml", _kubelet(layout))
    if registry is not None:
        hosts = f'server = "http://{registry}"\n[host."http://{registry}"]\n  capabilities = ["pull", "resolve"]\n'
        _write(layout, f"conf/certs.d/{registry}/hosts.toml", hosts)
    for name, value in _SYSCTLS.items():
        _write(layout, f"sysctl/{name}", value)
    for folder in ("kubelet", "containerd/root", "pods"):
        (layout.state / folder).mkdir(parents=True, exist_ok=True)
    _write(layout, "conf/node.sh", _script(layout))
    start(
        layout, "node",
        [
            "nsenter", f"--net=/run/netns/{layout.name}", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
            "--kill-child=KILL", "--mount-proc", "bash", layout.state / "conf" / "node.sh",
        ],
    )  # fmt: skip


def join_network(layout: Layout) -> None:
    """Make the node's network namespace and its veth; before the API server, which listens on the host's end."""
    name = layout.name
    run("ip", "netns", "add", name)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "addr", "add", f"{layout.host_address}/30", "dev", name)
    run("ip", "link", "set", name, "up")
    run("ip", "-n", name, "addr", "add", f"{layout.node_address}/30", "dev", "eth0")
    run("ip", "-n", name, "link", "set", "eth0", "up")
    run("ip", "-n", name, "link", "set", "lo", "up")
    for subnet in (layout.pod_subnet, layout.service_subnet):
        run("ip", "route", "add", subnet, "via", layout.node_address)


def leave(layout: Layout) -> None:
    """Remove namespace, veth and cgroups of a node whose processes are gone; missing is fine."""
    run("ip", "link", "del", layout.name, check=False)
    run("ip", "netns", "del", layout.name, check=False)
    for controller in _CONTROLLERS:
        top = _CGROUPS / controller / layout.name
        if top.is_dir():
            for folder in sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()


def _write(layout: Layout, name: str, text: str) -> None:
    layout.file(*name.split("/")).write_text(text, encoding="utf-8")


def _cgroups(layout: Layout) -> None:
    """Make the node's cgroup in every hierarchy of version 1: kubelet wants all of them before it starts."""
    for controller in _CONTROLLERS:
        if (_CGROUPS / controller).is_dir():
            folder = _CGROUPS / controller / layout.name
            folder.mkdir(exist_ok=True)
            if controller == "cpuset":
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (folder / name).write_text((_CGROUPS / controller / name).read_text(encoding="utf-8"), encoding="utf-8")


def _images(layout: Layout) -> None:
    for number, image in enumerate((pause(), busybox())):
        write(image, layout.file("images", f"{number}.tar"))


def _cni(layout: Layout) -> str:
    address = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.pod_subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-ipam",
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": address}
    return json.dumps(
        {"cniVersion": "0.4.0", "name": layout.name, "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]}
    )


def _containerd(layout: Layout) -> str:
    state = layout.state
    unused = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("btrfs", "zfs", "aufs", "devmapper"))
    return f"""\
version = 2
root = "{state}/containerd/root"
state = "/run/containerd"
disabled_plugins = [{unused}, "io.containerd.internal.v1.opt"]
[grpc]
  address = "{state}/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody may lower a process's oom_score_adj.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{state}/conf/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _kubelet(layout: Layout) -> str:
    state = layout.state
    evict = {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"}
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.name}", "containerRuntimeEndpoint": f"unix://{state}/containerd/containerd.sock", "failSwapOn": False,
            "address": "0.0.0.0",  # noqa: S104 - inside the node's network namespace
            "authentication": {
                "anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{state}/pki/ca.crt"},
            },
            "authorization": {"mode": "Webhook"}, "enforceNodeAllocatable": ["pods"], "evictionHard": evict,
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "resolvConf": "", "podLogsDir": f"{state}/pods",
            "registryPullQPS": 0, "serializeImagePulls": False, "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s",
            "maxPods": PODS_A_NODE, "kubeAPIQPS": 100, "kubeAPIBurst": 200, "eventRecordQPS": 0,
        }
    )  # fmt: skip


def _script(layout: Layout) -> str:
    """Return PID 1 of the node: private mounts first, then containerd with its images, kube-proxy, and kubelet in its own place."""
    state, programs = layout.state, layout.programs
    binds = "\n".join(f"mount --bind {state}/sysctl/{name} /proc/sys/{name}" for name in _SYSCTLS)
    return f"""\
#!/bin/bash
set -e
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/containerd /run/lock /var/lib/cni /var/log/containers /var/log/pods
mount -t tmpfs tmpfs /var/lib/cni
mount -t tmpfs tmpfs /var/log/containers
{binds}
echo 1 > /proc/sys/net/ipv4/ip_forward
containerd -c {state}/conf/containerd.toml > {state}/log/containerd.log 2>&1 &
until ctr -a {state}/containerd/containerd.sock version > /dev/null 2>&1; do sleep 0.05; done
for archive in {state}/images/*.tar; do
    ctr -a {state}/containerd/containerd.sock -n k8s.io images import "$archive" >> {state}/log/images.log 2>&1
done
{programs}/kube-proxy --kubeconfig={state}/conf/proxy.conf --proxy-mode=iptables --hostname-override={layout.name} \\
    --cluster-cidr={layout.pod_subnet} --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \\
    --conntrack-tcp-timeout-close-wait=0 \\
    --nodeport-addresses={layout.node_address}/32 --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249 \\
    --iptables-min-sync-period=200ms > {state}/log/kube-proxy.log 2>&1 &
exec {programs}/kubelet --config={state}/conf/kubelet.yaml --kubeconfig={state}/conf/node.conf --root-dir={state}/kubelet \\
    --hostname-override={layout.name} --node-ip={layout.node_address} > {state}/log/kubelet.log 2>&1
"""
