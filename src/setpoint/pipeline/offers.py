"""What a cluster offers to tasks: where their pods run, in which image, with how much; named by `executor:` of a task.

Offers come from the accepted `setpoint.yaml` of the delivery repository (filled in app wiring); the pipeline makes none.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """Processor and memory of a task's container, as Kubernetes writes quantities: `500m`, `2Gi`."""

    cpu: str
    memory: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One executor on a cluster."""

    name: str
    cluster: str
    """As the operator registered it."""
    namespace: str
    image: str
    """What tasks run in, by digest."""
    helper: str
    """What brings inputs and takes outputs, by digest; it has python3."""
    architecture: str
    resources: Resources
    """What a task gets that asks for nothing, and the most that it may ask for."""
    priority_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    slots: int = 20
    """How many tasks of this home run there at the same time."""
    start_s: float = 600.0
    """How long a pod may take to start."""

    @property
    def digest(self) -> str:
        """Digest of the image: the toolchain of what runs in it."""
        return self.image.rpartition("@")[2]

    @property
    def platform(self) -> str:
        """As a toolchain says it."""
        return f"linux/{self.architecture}"
