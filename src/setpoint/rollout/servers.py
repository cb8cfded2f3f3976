"""The proxy's servers, from replicas and what is known of them; called by the rollout at the end of every pass, pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from setpoint.reconcile.model import Release, ReplicaStatus
from setpoint.reconcile.ports import ProxyServer
from setpoint.rollout.memory import Seen


def servers_of(replicas: Sequence[ReplicaStatus], release: Release | None, seen: Callable[[ReplicaStatus], Seen]) -> list[ProxyServer]:
    """Return the servers of an application: ready ones get traffic, draining and suddenly unready ones finish what they have.

    Release is None for an application that is left alone: its replicas show the identity that they were started with.
    """
    wanted = {workload.name: workload.revision_hash for workload in release.desired.workloads} if release is not None else {}
    servers = []
    for replica in replicas:
        state, spec = seen(replica), replica.spec
        if not replica.shim_alive or replica.stopping or not state.was_ready:
            continue
        current = release is not None and wanted.get(spec.workload) == spec.revision_hash
        shown = replace(release.identity, digest=spec.identity.digest) if release is not None and current else spec.identity
        draining = state.draining_since is not None or not state.ready
        servers.append(ProxyServer(spec.replica, spec.workload, spec.port, shown, draining))
    return servers
