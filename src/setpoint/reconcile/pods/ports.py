"""What is needed to look at pods: a picture of those in some namespaces of a cluster. Adapter: `adapters.kubernetes.clusters`."""

from collections.abc import Collection
from typing import Protocol

from setpoint.reconcile.pods.model import Pod, PodsLook


class PodCluster(Protocol):
    """The pods of one cluster."""

    def watch_pods(self, namespaces: Collection[str]) -> None:
        """Keep a picture of the pods in exactly these namespaces from now on; costs no call."""
        ...

    def pods(self, namespace: str) -> PodsLook:
        """Return what the picture shows of a namespace; costs no call."""
        ...

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Return a pod of any namespace, read now; WorldError SP682 without an answer, NotAllowedError SP683 without the right."""
        ...


class PodClusters(Protocol):
    """All clusters that the operator registered."""

    def of(self, name: str) -> PodCluster:
        """Return a cluster; NotFoundError SP693 when there is none of this name, UserError SP680 when its kubeconfig is not understood."""
        ...
