"""Which route leads where while two revisions run beside each other; called by the canary on every pass, pure.

Each revision of a workload is a pool of its own for the proxy. A route that both revisions have is split by weight; one that only one of
them has leads to that one, whatever the weight.
"""

from collections.abc import Mapping, Sequence

from setpoint.reconcile.model import DesiredState, Route
from setpoint.rollout.model import WHOLE

Match = tuple[tuple[str, ...], str, bool]


def pool(workload: str, revision_hash: str) -> str:
    """Return the proxy's name for the replicas of one revision of a workload."""
    return f"{workload}@{revision_hash}"


def changed(stable: DesiredState, new: DesiredState) -> set[str]:
    """Return the workloads of the new revision whose traffic is shifted: routed, running, and not the same as before."""
    before = {workload.name: workload.revision_hash for workload in stable.workloads}
    routed = {name for route in new.routes for name, weight in route.backends if weight}
    return {w.name for w in new.workloads if w.name in routed and w.replicas and before.get(w.name) != w.revision_hash}


def can_split(stable: DesiredState, new: DesiredState) -> bool:
    """Say whether some route leads to both a stable and a changed workload."""
    mine = changed(stable, new)
    served = {_match(route) for route in stable.routes}
    return any(_match(route) in served and any(name in mine for name, weight in route.backends if weight) for route in new.routes)


def split(stable: DesiredState, new: DesiredState, weight: int) -> tuple[Route, ...]:
    """Return the routes with both revisions' pools, weight being the new one's share in percent."""
    coming = {_match(route): route for route in new.routes}
    there = {_match(route): route for route in stable.routes}
    hashes = [{workload.name: workload.revision_hash for workload in state.workloads} for state in (stable, new)]
    found = []
    for match in dict.fromkeys([*there, *coming]):
        old, next_ = there.get(match), coming.get(match)
        shown = old or next_
        if shown is None:
            continue
        share = weight if old is not None and next_ is not None else 0 if old is not None else WHOLE
        backends = _shares(old, hashes[0], WHOLE - share, next_, hashes[1], share)
        found.append(Route(shown.name, shown.hostnames, shown.path_prefix, shown.path_exact, backends))
    return tuple(found)


def _match(route: Route) -> Match:
    return (route.hostnames, route.path_prefix, route.path_exact)


def _shares(
    old: Route | None, old_hashes: Mapping[str, str], old_share: int, new: Route | None, new_hashes: Mapping[str, str], new_share: int
) -> tuple[tuple[str, int], ...]:
    """Return the pools of a route with whole weights whose sums stand to each other as the shares do."""
    sides = [(route.backends if route is not None else ()) for route in (old, new)]
    totals = [sum(weight for _, weight in backends) or 1 for backends in sides]
    found: dict[str, int] = {}
    for backends, hashes, factor in ((sides[0], old_hashes, old_share * totals[1]), (sides[1], new_hashes, new_share * totals[0])):
        for name, weight in backends:
            key = pool(name, hashes.get(name, ""))
            found[key] = found.get(key, 0) + weight * factor
    return tuple(found.items())


def pools_of(states: Sequence[DesiredState]) -> dict[tuple[str, str], str]:
    """Return {(workload, revision hash): pool} of all of them."""
    return {(w.name, w.revision_hash): pool(w.name, w.revision_hash) for state in states for w in state.workloads}
