"""Two applications that want one address of an environment: the one that serves it keeps it, the other is told; pure.

Called by the host target on every pass, before the rollout sees any route.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from setpoint.reconcile.model import DeployReason, DesiredState, Route

Address = tuple[str, str, bool]
"""(host name or empty, path, whether the path must match exactly)"""


def addresses(route: Route) -> list[Address]:
    """Return what a route claims."""
    return [(hostname.lower(), route.path_prefix, route.path_exact) for hostname in route.hostnames or ("",)]


def settle(
    states: Mapping[str, DesiredState], served: Sequence[tuple[str, Route]]
) -> tuple[dict[str, DesiredState], dict[str, tuple[DeployReason, ...]]]:
    """Return the states without routes that another application has, and a problem for every application that lost one.

    Whoever served an address last keeps it; else the order of the applications decides. Objects need no such rule: on the host the name
    of an object is its application's own.
    """
    holders: dict[Address, str] = {}
    wanting = {app: {address for route in state.routes for address in addresses(route)} for app, state in states.items()}
    for app, route in served:
        for address in addresses(route):
            if app not in states or address in wanting[app]:
                holders.setdefault(address, app)
    for app, wanted in wanting.items():
        for address in sorted(wanted):
            holders.setdefault(address, app)
    settled: dict[str, DesiredState] = {}
    problems: dict[str, tuple[DeployReason, ...]] = {}
    for app, state in states.items():
        taken = [route for route in state.routes if any(holders[address] != app for address in addresses(route))]
        settled[app] = replace(state, routes=tuple(route for route in state.routes if route not in taken)) if taken else state
        problems[app] = tuple(_problem(app, route, holders) for route in taken)
    return settled, problems


def _problem(app: str, route: Route, holders: Mapping[Address, str]) -> DeployReason:
    hostname, path, _exact = next(address for address in addresses(route) if holders[address] != app)
    holder = holders[hostname, path, _exact]
    found = f"{hostname}{path} is claimed by {app} and by {holder}; {holder} keeps it, and {app} does not get the route"
    return DeployReason("ROUTE_TAKEN", f"HTTPRoute/{route.name}", found, f"give {app} or {holder} another host or path", "problem")
