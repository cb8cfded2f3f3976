"""What the rollout engine looks at and what it asks for."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as the engine sees it."""

    replica: str
    revision_hash: str
    phase: Literal["starting", "ready", "draining", "stopping", "dead"]
    in_flight: int = 0
    """Requests the proxy has open with it; only asked of draining ones."""
    draining_s: float = 0.0
    """How long it has been draining."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to a workload's replicas."""

    what: Literal["start", "drain", "stop", "remove"]
    replica: str = ""
    """Empty for `start`."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a workload may change: Kubernetes' words for it."""

    revision_hash: str
    replicas: int
    max_surge: int
    max_unavailable: int
    drain_limit_s: float
    """A draining replica is stopped after this even with requests open."""
