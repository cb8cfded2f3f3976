"""HAProxy's configuration and commands as text."""

import pytest

from setpoint.adapters.host.haproxy_config import (
    Command,
    ServerState,
    map_commands,
    read_map,
    read_servers,
    server_commands,
    split,
    wanted,
)
from setpoint.core.errors import UserError
from setpoint.reconcile.model import Identity, Route
from setpoint.reconcile.ports import ProxyConfig, ProxyServer

ME = Identity("hello", "staging", "abc", "sha256:aa", "p-1")
ROUTE = Route("web", (), "/", path_exact=False, backends=(("web", 1),))


def config(*routes: Route, servers: tuple[ProxyServer, ...] = (), listen: str = "127.0.0.1:7501") -> ProxyConfig:
    """A proxy of these routes."""
    return ProxyConfig("staging", listen, tuple(("hello", route) for route in routes), tuple(("hello", server) for server in servers))


def server(name: str, workload: str = "web", port: int = 20001, *, draining: bool = False) -> ProxyServer:
    """A server of the workload."""
    return ProxyServer(name, workload, port, ME, draining)


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ({"a": 95, "b": 5}, {"a": 1, "b": 3}),
        ({"a": 1, "b": 1}, {"a": 2, "b": 7}),
        ({"a": 9, "b": 1}, {"a": 10, "b": 1}),
        ({"a": 1, "b": 2, "c": 3}, {"a": 3, "b": 2, "c": 1}),
    ],
)
def test_traffic_follows_the_weights_whatever_the_counts(weights: dict[str, int], counts: dict[str, int]) -> None:
    """The share of each workload is within half a percent of its weight's share, and every weight is one HAProxy takes."""
    given = split(weights, counts)
    total = sum(given[name] * counts[name] for name in given)
    assert all(abs(given[name] * counts[name] / total - weights[name] / sum(weights.values())) < 0.005 for name in weights)
    assert all(1 <= weight <= 256 for weight in given.values())


def test_a_weight_of_zero_takes_nothing_and_a_tiny_one_takes_something() -> None:
    """0 is none, 1 in 100,000 is not none, and a workload without servers leaves its share to the others."""
    assert split({"a": 1, "b": 0}, {"a": 1, "b": 1}) == {"a": 1, "b": 0}
    assert split({"a": 100_000, "b": 1}, {"a": 1, "b": 1})["b"] == 1
    assert split({"a": 5, "b": 5}, {"a": 0, "b": 2}) == {"a": 0, "b": 1}
    assert split({"a": 5}, {}) == {"a": 0}


def test_only_routes_and_addresses_change_the_structure() -> None:
    """Servers, weights and identities are run-time matters; a route or an address is not."""
    base = wanted(config(ROUTE), None)
    heavier = Route("web", (), "/", path_exact=False, backends=(("web", 7), ("web2", 1)))
    assert wanted(config(heavier, servers=(server("s-1"),)), None).structure == base.structure
    others = [config(ROUTE, listen="127.0.0.1:7502"), config(ROUTE, Route("x", (), "/x", path_exact=True, backends=())), config()]
    assert len({base.structure, *[wanted(other, None).structure for other in others], wanted(config(ROUTE), 64180).structure}) == 5


def test_more_specific_routes_come_first() -> None:
    """Exact host before wildcard before none; exact path before prefixes; longer prefixes first (Gateway API)."""
    routes = [
        Route("any", (), "/", path_exact=False, backends=()),
        Route("short", (), "/a", path_exact=False, backends=()),
        Route("long", (), "/a/b", path_exact=False, backends=()),
        Route("exact", (), "/a", path_exact=True, backends=()),
        Route("wild", ("*.example.com",), "/", path_exact=False, backends=()),
        Route("host", ("Shop.example.com",), "/", path_exact=False, backends=()),
    ]
    text = wanted(config(*routes), None).text
    order = list(dict.fromkeys(line.split()[1].split(".")[1] for line in text.splitlines() if line.strip().startswith("use_backend")))
    assert order == ["host", "wild", "exact", "long", "short", "any"]
    assert "'shop.example.com'" in text


@pytest.mark.parametrize(
    "bad",
    [
        config(listen="nowhere"),
        config(listen="127.0.0.1:99999"),
        config(listen="127.0.0.1:80\n bind :1"),
        config(Route("r", ("a b",), "/", path_exact=False, backends=())),
        config(Route("r", (), "/a b", path_exact=False, backends=())),
        config(Route("r", (), "/a\n", path_exact=False, backends=())),
        config(Route("r\nx", (), "/a", path_exact=False, backends=())),
        config(ROUTE, servers=(server("s;1"),)),
        config(ROUTE, servers=(ProxyServer("s", "web", 1, Identity("hello", "staging", "a|b", "d", "p")),)),
    ],
)
def test_what_haproxy_must_not_be_told_is_refused(bad: ProxyConfig) -> None:
    """Text that could become another directive or command never reaches HAProxy."""
    with pytest.raises(UserError, match="SP643"):
        wanted(bad, None)


def test_quotes_in_a_path_stay_in_its_word() -> None:
    """A quote in a path is data."""
    text = wanted(config(Route("r", (), "/it's", path_exact=True, backends=())), None).text
    assert r"'/it'\x27's'" in text


def test_a_draining_server_keeps_its_line_with_weight_zero() -> None:
    """A drained server stays, takes nothing, and does not count in the split."""
    goal = wanted(config(ROUTE, servers=(server("s-1", draining=True), server("s-2", port=20002))), None)
    assert list(goal.backends.values()) == [{"s-1": ServerState(20001, 0), "s-2": ServerState(20002, 1)}]
    assert "server s-1 127.0.0.1:20001 weight 0" in goal.text
    assert goal.identities["s-1"] == "hello|staging|abc|sha256:aa|p-1"


def test_commands_add_before_they_take_away() -> None:
    """New servers serve before old ones lose their weight, and deleting may be refused."""
    live = {"b": {"old": ServerState(1, 5), "gone": ServerState(2, 5)}}
    goal = {"b": {"new": ServerState(3, 5), "old": ServerState(1, 0)}}
    assert server_commands(live, goal) == [
        Command("add server b/new 127.0.0.1:3 weight 5"),
        Command("enable server b/new"),
        Command("set server b/old weight 0"),
        Command("set server b/gone state maint", must=False),
        Command("del server b/gone", must=False),
    ]
    assert server_commands(goal, goal) == []


def test_the_map_is_led_to_the_wanted_identities() -> None:
    """Entries are added and changed before servers are, and removed after."""
    before, after = map_commands({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    assert [command.text for command in before] == ["add map identity.map c 4", "set map identity.map b 3"]
    assert [command.text for command in after] == ["del map identity.map a"]


def test_answers_of_haproxy_are_read() -> None:
    """The lines that HAProxy 2.8.25 really wrote."""
    head = (
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
        "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
        "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"
    )
    rows = "3 h.web 2 s-b 127.0.0.1 2 0 1 3 0 1 0 0 0 0 0 0 - 25002 - 0 0 - - 0\n"
    rows += "3 h.web 3 s-c 127.0.0.1 0 1 4 3 0 1 0 0 0 0 0 0 - 25003 - 0 0 - - 0\n\n"
    assert read_servers(head + rows) == {"h.web": {"s-b": ServerState(25002, 1), "s-c": ServerState(25003, 4, maintenance=True)}}
    assert read_map("0x55d0 s-a a|b|c|d|e\n\n") == {"s-a": "a|b|c|d|e"}
