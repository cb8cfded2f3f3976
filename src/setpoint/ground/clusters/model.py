"""A cluster as everybody may know it: its name and address; who we are there is nowhere in here."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Cluster:
    """A registered cluster."""

    name: str
    server: str
    """`https://host:port`"""
    context: str
    """Of the kubeconfig that was given; empty: its current one."""
    runs: str
    """The program that gives credentials (exec plugin); empty: none."""
    version: int
    """Counts every kubeconfig that this name ever had."""
    set_at: str
    set_by: str
    """Actor."""
    labels: dict[str, str] = field(default_factory=dict)
    """What generators choose clusters by."""


@dataclass(frozen=True, slots=True)
class ClusterContact:
    """How we stand with a cluster since the server began."""

    state: Literal["not asked", "answers", "unreachable", "credential refused"] = "not asked"
    since: str = ""
    """When that began (RFC 3339); empty: not asked."""
    why: str = ""
    """What stands in the way."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What of a kubeconfig may be told."""

    server: str
    runs: str
    """The program that gives credentials (exec plugin); empty: none."""
    reads: str = ""
    """The file on the server's machine that has the token; empty: none."""
