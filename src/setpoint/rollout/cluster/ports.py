"""What rollouts on Kubernetes need from outside: the counters of whoever splits the traffic. Adapter: `adapters.kubernetes.metrics`."""

from collections.abc import Mapping
from typing import Protocol

from setpoint.promotion.targets import KubernetesTarget


class CounterPages(Protocol):
    """Reads the pages on which the data plane of a target tells its counters."""

    def read(self, target: KubernetesTarget) -> Mapping[str, str]:
        """Return {who: Prometheus text} of every instance of the data plane; empty when none is declared.

        All of them or none: counters of a part would look like requests that never came. WorldError SP652: they cannot be read now.
        """
        ...
