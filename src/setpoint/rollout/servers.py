"""The proxy's servers, from replicas and what is known of them; called by the rollout at the end of every pass, pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from setpoint.reconcile.model import Identity, ReplicaStatus
from setpoint.reconcile.ports import ProxyServer
from setpoint.rollout.memory import Seen


@dataclass(frozen=True, slots=True)
class Shown:
    """How a replica stands in the proxy."""

    identity: Identity
    pool: str = ""
    """Empty: the workload's."""
    traffic: bool = True
    """Whether it may get new requests."""


def servers_of(
    replicas: Sequence[ReplicaStatus], shown: Callable[[ReplicaStatus], Shown | None], seen: Callable[[ReplicaStatus], Seen]
) -> list[ProxyServer]:
    """Return the servers of an application: ready ones get traffic, draining and suddenly unready ones finish what they have.

    Shown says how a replica stands; None leaves it as it was started.
    """
    servers = []
    for replica in replicas:
        state, spec = seen(replica), replica.spec
        if not replica.shim_alive or replica.stopping or not state.was_ready:
            continue
        how = shown(replica) or Shown(spec.identity)
        draining = state.draining_since is not None or not state.ready or not how.traffic
        identity = replace(how.identity, digest=spec.identity.digest)
        servers.append(ProxyServer(spec.replica, spec.workload, spec.port, identity, draining, how.pool))
    return servers
