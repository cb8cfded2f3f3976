"""What clusters need from outside: the journal's projection, and someone who reads a kubeconfig and tries it."""

from typing import Protocol

from setpoint.ground.clusters.model import Cluster, ClusterFacts


class ClusterRecords(Protocol):
    """Clusters as the journal tells them."""

    def clusters(self) -> list[Cluster]:
        """Return the registered clusters, by name."""
        ...

    def last_cluster(self, name: str) -> int:
        """Return the version of the last kubeconfig that a name had, also when it was removed; 0 when it never had one."""
        ...


class KubeconfigReading(Protocol):
    """Reads a kubeconfig (adapters.kubernetes); connects to nothing."""

    def __call__(self, kubeconfig: str, context: str) -> ClusterFacts:
        """Return what may be told of it; UserError SP680 when it is not understood, not safe, or not in one piece."""
        ...
