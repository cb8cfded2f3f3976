"""What generators need beside the delivery repository: which clusters there are, and where something is."""

from collections.abc import Collection, Mapping
from typing import Protocol


class ClusterLabels(Protocol):
    """The operator's clusters (through wiring: ground.clusters)."""

    def __call__(self) -> Mapping[str, Mapping[str, str]]:
        """Return {cluster: labels} of every registered cluster."""
        ...


class Occupied(Protocol):
    """Where applications have made something (through wiring: what runs and the inventories)."""

    def __call__(self) -> Collection[str]:
        """Return the environments in which something is."""
        ...


class Previewing(Protocol):
    """What previews need of the home beside Git and the journal (through wiring)."""

    def unsettled(self, repository: str, branch: str, commit: str) -> bool:
        """Say whether a head is what somebody is pushing at this moment: who it was is known in an instant."""
        ...

    def clear(self, environment: str) -> None:
        """End what serves an environment in which nothing runs any more; nothing happens when it is gone."""
        ...
