"""etcd, API server, controller manager and scheduler of a test cluster; called by `cluster`. What belongs to a node is in `node`."""

import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tools.kubernetes.layout import Layout
from tools.kubernetes.processes import start, until

_READY_S = 90.0


def start_store(layout: Layout) -> None:
    """Start etcd with its data in memory: a test cluster has nothing to keep."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
    data = tempfile.mkdtemp(prefix=f"{layout.name}-", dir=shared if shared.is_dir() else None)
    layout.file("etcd-folder").write_text(data, encoding="utf-8")
    client, peer = (f"http://127.0.0.1:{layout.etcd_port + offset}" for offset in (0, 1))
    start(
        layout, "etcd",
        [
            layout.programs / "etcd", "--data-dir", data, "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ],
    )  # fmt: skip


def start_api(layout: Layout) -> None:
    """Start the API server and wait until it is ready."""
    pki = layout.state / "pki"
    start(
        layout, "kube-apiserver",
        [
            layout.programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}", f"--secure-port={layout.api_port}",
            f"--bind-address={layout.host_address}", f"--advertise-address={layout.host_address}", "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--token-auth-file={pki}/tokens.csv", f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key", "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki}/sa.key",
            f"--service-account-signing-key-file={pki}/sa.key", f"--service-cluster-ip-range={layout.service_subnet}",
            "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000", f"--cert-dir={layout.state}/certs",
        ],
    )  # fmt: skip
    until("the API server is ready", lambda: _ready(layout), _READY_S, layout)


def start_controllers(layout: Layout) -> None:
    """Start controller manager and scheduler."""
    conf = layout.state / "conf"
    start(
        layout, "kube-controller-manager",
        [
            layout.programs / "kube-controller-manager", f"--kubeconfig={conf}/controllers.conf", "--bind-address=127.0.0.1",
            "--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={layout.state}/pki/sa.key", f"--root-ca-file={layout.state}/pki/ca.crt",
            f"--cluster-cidr={layout.pod_subnet}", "--allocate-node-cidrs=false", "--node-monitor-grace-period=20s",
            "--kube-api-qps=200", "--kube-api-burst=400",
        ],
    )  # fmt: skip
    start(
        layout, "kube-scheduler",
        [
            layout.programs / "kube-scheduler", f"--kubeconfig={conf}/scheduler.conf", "--bind-address=127.0.0.1", "--secure-port=0",
            "--leader-elect=false",
        ],
    )  # fmt: skip


def exists(layout: Layout, path: str) -> bool:
    """Say whether the API server has an object: `/api/v1/namespaces/default/serviceaccounts/default`."""
    return _status(layout, path) == 200


def _ready(layout: Layout) -> bool:
    return _status(layout, "/readyz") == 200


def _status(layout: Layout, path: str) -> int:
    request = urllib.request.Request(layout.url + path, headers={"Authorization": f"Bearer {layout.tokens.admin}"})  # noqa: S310 - always https
    context = ssl.create_default_context(cafile=str(layout.state / "pki" / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
