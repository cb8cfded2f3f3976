"""What of a render a policy sees beside its digest: `render.images`, `render.privileged` and so on, summed up before CEL looks at it.

Filled by reconcile, handed to the policy engine by `promotion.facts`; the names are those that `check` knows. Pure.
Every list is sorted, holds each text once, and at most `LIMIT` of them, so that no render can exhaust a policy's budget.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, Final

from pydantic import ConfigDict

LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class RenderContent:
    """Facts about rendered objects; containers are `Kind/name/container`, volumes `Kind/name/volume`, pods and objects `Kind/name`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    kinds: tuple[str, ...] = ()
    """Kinds of the objects: `Deployment`, `Rollout.argoproj.io`."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that objects name themselves."""
    images: tuple[str, ...] = ()
    """Every image, by digest."""
    replicas: int = 0
    """How many pods the workloads ask for together, 1 where nothing is said; a DaemonSet counts as 1."""
    pods: tuple[str, ...] = ()
    """Objects that hold pods."""
    privileged: tuple[str, ...] = ()
    """Containers that are privileged."""
    host_network: tuple[str, ...] = ()
    """Pods in the network of the host."""
    host_pid: tuple[str, ...] = ()
    """Pods among the processes of the host."""
    host_ipc: tuple[str, ...] = ()
    """Pods in the IPC namespace of the host."""
    host_paths: tuple[str, ...] = ()
    """Volumes that are folders of the host."""
    host_ports: tuple[str, ...] = ()
    """Containers that take a port of the host."""
    capabilities: tuple[str, ...] = ()
    """Capabilities that any container adds."""
    may_be_root: tuple[str, ...] = ()
    """Containers for which `runAsNonRoot` is not true."""
    may_escalate: tuple[str, ...] = ()
    """Containers for which `allowPrivilegeEscalation` is not false."""
    no_seccomp: tuple[str, ...] = ()
    """Containers without a seccomp profile that confines."""
    writable_root: tuple[str, ...] = ()
    """Containers for which `readOnlyRootFilesystem` is not true."""
    no_memory_limit: tuple[str, ...] = ()
    """Containers without `resources.limits.memory`."""
    no_cpu_limit: tuple[str, ...] = ()
    """Containers without `resources.limits.cpu`."""
    no_requests: tuple[str, ...] = ()
    """Containers that request no memory or no CPU; a limit alone counts as the request."""
    no_readiness: tuple[str, ...] = ()
    """Containers that serve for long, without a readiness probe."""
    no_liveness: tuple[str, ...] = ()
    """Containers that serve for long, without a liveness probe."""


NAMES: Final = tuple(field.name for field in fields(RenderContent))
