"""Where a test cluster keeps its files, and which names and addresses it takes on this machine; used by every other file here.

One cluster has a number: everything that would collide on a machine (network namespace, veth, subnets, cgroup, ports) follows from it.
It starts nothing.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VERSION: Final = "1.34.4"
PODS_A_NODE: Final = 110


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens of the cluster's users, new for every start."""

    admin: str = field(default_factory=lambda: secrets.token_hex(16))
    controllers: str = field(default_factory=lambda: secrets.token_hex(16))
    scheduler: str = field(default_factory=lambda: secrets.token_hex(16))
    node: str = field(default_factory=lambda: secrets.token_hex(16))
    proxy: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster: its programs, its state folder, its number."""

    programs: Path
    """What `tools/kubernetes/build` made."""
    state: Path
    """Everything that the running cluster writes; removed when it is stopped."""
    number: int = 0
    """0 to 99."""
    pods: bool = True
    """False: control plane only, on loopback; needs no root and no containerd."""
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def name(self) -> str:
        """Name of the network namespace and the cgroup."""
        return f"setpoint-k{self.number}"

    @property
    def host_address(self) -> str:
        """The host's end of the veth, where the API server listens; loopback without a node."""
        return f"10.250.{self.number}.1" if self.pods else "127.0.0.1"

    @property
    def node_address(self) -> str:
        """The node's end of the veth."""
        return f"10.250.{self.number}.2"

    @property
    def pod_subnet(self) -> str:
        """Addresses of pods, routed from the host."""
        return f"10.244.{self.number}.0/24"

    @property
    def service_subnet(self) -> str:
        """Addresses of Services, routed from the host."""
        return f"10.96.{self.number}.0/24"

    @property
    def first_service(self) -> str:
        """The API server's own Service."""
        return f"10.96.{self.number}.1"

    @property
    def api_port(self) -> int:
        """Port of the API server."""
        return 16443 + self.number

    @property
    def etcd_port(self) -> int:
        """Client port of etcd; its peers use the next one."""
        return 12379 + 2 * self.number

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.host_address}:{self.api_port}"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of a cluster administrator."""
        return self.state / "admin.conf"

    def file(self, *parts: str) -> Path:
        """Return a path in the state folder, its folder made."""
        path = self.state.joinpath(*parts)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
