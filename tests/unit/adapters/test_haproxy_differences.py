"""What of the running proxy is not as it is wanted, in words; pure text."""

from setpoint.adapters.host.haproxy_config import Backends, ServerState, differences, wanted
from setpoint.reconcile.model import Identity, Route
from setpoint.reconcile.ports import ProxyConfig, ProxyServer

ME = Identity("hello", "staging", "abc", "sha256:aa", "p-1")
ROUTE = Route("web", (), "/", path_exact=False, backends=(("web", 1),))
CONFIG = ProxyConfig(
    "staging",
    "127.0.0.1:7501",
    (("hello", ROUTE), ("other", ROUTE)),
    (("hello", ProxyServer("hello-1", "web", 20001, ME)), ("other", ProxyServer("other-1", "web", 20002, ME))),
)


def found(change: Backends) -> list[tuple[str, str, str, str]]:
    """Return how `hello` differs when the live backends are the wanted ones with a change to them."""
    goal = wanted(CONFIG, None)
    live = {name: dict(servers) for name, servers in goal.backends.items()}
    live = {name: change.get(name.partition(".")[0], servers) for name, servers in live.items()}
    live |= {name: servers for name, servers in change.items() if "." in name}
    live = {name: servers for name, servers in live.items() if servers}
    return [(one.subject.partition(" server ")[2], one.field, one.desired, one.live) for one in differences(CONFIG, "hello", goal, live)]


def test_the_same_is_no_difference() -> None:
    """Nothing is said when all is as wanted, and nothing about other applications."""
    assert found({}) == []
    assert found({"other": {"other-1": ServerState(20002, 0)}}) == []


def test_weights_servers_and_routes_that_differ_are_named() -> None:
    """Another weight, maintenance, a missing and a foreign server, a missing and a foreign route."""
    full = wanted(CONFIG, None).backends
    weight = next(iter(full.values()))["hello-1"].weight
    right = f"port 20001, weight {weight}"
    assert found({"hello": {"hello-1": ServerState(20001, 7)}}) == [("hello-1", "traffic", right, "port 20001, weight 7")]
    maintained = ServerState(20001, weight, maintenance=True)
    assert found({"hello": {"hello-1": maintained}}) == [("hello-1", "traffic", right, "port 20001, in maintenance")]
    foreign = {"hello-1": ServerState(20001, weight), "x": ServerState(9, 1)}
    assert found({"hello": foreign}) == [("x", "traffic", "no server", "port 9, weight 1")]
    assert found({"hello": {}}) == [("", "route", "served", "not in the proxy")]
    assert found({"hello.old.1234": {"x": ServerState(9, 1)}}) == [("", "route", "none", "served")]
