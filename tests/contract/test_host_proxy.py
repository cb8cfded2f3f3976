"""A real HAProxy on loopback: routing, changes without a lost request, re-adoption, addresses in use."""

import http.client
import http.server
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pytest

from setpoint.adapters.host import processes
from setpoint.adapters.host.haproxy_socket import MasterSocket
from setpoint.adapters.host.proxy import HaProxy, find_haproxy
from setpoint.core.errors import UserError, WorldError
from setpoint.reconcile.model import Identity, Route
from setpoint.reconcile.ports import ProxyConfig, ProxyServer
from setpoint.rollout.canary.counters import raw, requests_of

UID = 64180 if os.getuid() == 0 else None
ROUTE = Route("web", (), "/", path_exact=False, backends=(("web", 1),))


def _installed() -> bool:
    try:
        return bool(find_haproxy())
    except WorldError:
        return False


pytestmark = pytest.mark.skipif(not _installed(), reason="INCOMPLETE: needs haproxy")


class Server(http.server.ThreadingHTTPServer):
    """A replica that says its name; a reset connection is HAProxy closing an idle one."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@dataclass
class Replica:
    """A small server in a thread; `/slow` waits for `release`."""

    name: str
    workload: str = "web"
    release: threading.Event = field(default_factory=threading.Event)
    seen: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        replica = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                replica.seen.append(dict(self.headers))
                if self.path == "/slow":
                    replica.release.wait(10)
                if self.path == "/broken":
                    self.close_connection = True
                    return
                if self.path in ("/nonsense", "/torn"):
                    self.close_connection = True
                    self.wfile.write(b"nonsense" if self.path == "/nonsense" else b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc")
                    return
                body = replica.name.encode()
                self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Setpoint-App", "liar")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def line(self, *, draining: bool = False, promotion: str = "p-1") -> ProxyServer:
        """The replica as a server of the proxy."""
        identity = Identity("hello", "staging", "abc123", "sha256:aa", promotion)
        return ProxyServer(self.name, self.workload, self.port, identity, draining)

    def close(self) -> None:
        """Stop listening."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Site:
    """A proxy folder, an address, and the replicas of a test."""

    folder: Path
    port: int
    replicas: list[Replica] = field(default_factory=list)

    def proxy(self) -> HaProxy:
        """A proxy object as a (re)started server would build it."""
        return HaProxy(self.folder, UID)

    def replica(self, name: str, workload: str = "web") -> Replica:
        """Start a replica."""
        self.replicas.append(Replica(name, workload))
        return self.replicas[-1]

    def config(self, *servers: ProxyServer, routes: tuple[Route, ...] = (ROUTE,)) -> ProxyConfig:
        """What the proxy should be."""
        pairs = tuple(("hello", server) for server in servers)
        return ProxyConfig("staging", f"127.0.0.1:{self.port}", tuple(("hello", route) for route in routes), pairs)

    def get(self, path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
        """Ask once over a new connection: status, body, headers by lower-case name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A free address and a folder with a path too long for a socket address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    long = tmp_path / ("a-home-whose-path-is-longer-than-a-socket-address-may-be-" * 2)
    long.mkdir()
    found = Site(long, port)
    yield found
    for environment in ("staging", "other"):
        found.proxy().stop(environment)
    for replica in found.replicas:
        replica.close()


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Fail unless the condition comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Load:
    """Clients that ask all the time: one per connection, and some that keep theirs; counts every answer that is not 200."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(keep,)) for keep in (True, True, False, False)]

    def _run(self, keep: bool) -> None:  # noqa: FBT001 - a thread's argument
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=15)
        while not self._end.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {body}")
                self.answers[body] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"keep={keep}: {error!r}")
                connection.close()
            if not keep:
                connection.close()
        connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def served_by(self, name: str, more: int = 20) -> None:
        """Wait until a replica has answered some more requests."""
        wanted = self.answers[name] + more
        wait_for(lambda: self.answers[name] >= wanted)


def test_servers_come_drain_and_go_and_routes_change_without_a_lost_request(site: Site) -> None:
    """Under constant load over new and kept connections no change of the proxy loses a request."""
    proxy = site.proxy()
    old, new, last = site.replica("r-old"), site.replica("r-new"), site.replica("r-last")
    proxy.apply(site.config(old.line()))
    with Load(site) as load:
        load.served_by("r-old")
        proxy.apply(site.config(old.line(), new.line()))
        load.served_by("r-new")
        proxy.apply(site.config(old.line(draining=True), new.line()))
        wait_for(lambda: proxy.sessions("staging", "r-old") == 0)
        drained = load.answers["r-old"]
        load.served_by("r-new")
        assert load.answers["r-old"] - drained <= 4
        old.close()
        proxy.apply(site.config(new.line()))
        load.served_by("r-new")
        for number in range(3):
            extra = Route(f"x{number}", ("x.example.com",), "/x", path_exact=True, backends=(("web", 1),))
            proxy.apply(site.config(new.line(), last.line(), routes=(ROUTE, extra)))
            load.served_by("r-last")
        proxy.apply(site.config(last.line()))
        load.served_by("r-last")
    assert load.failures == []
    assert sum(load.answers.values()) >= 160


def test_a_replica_that_dies_under_load_costs_no_request_that_could_be_sent_elsewhere(site: Site) -> None:
    """A refused connection is tried again at another server."""
    proxy = site.proxy()
    one, two = site.replica("r-1"), site.replica("r-2")
    proxy.apply(site.config(one.line(), two.line()))
    one.close()
    assert [site.get()[1] for _ in range(8)] == ["r-2"] * 8


def test_a_long_request_finishes_while_its_server_drains_leaves_and_routes_reload(site: Site) -> None:
    """What is in flight ends well, and `sessions` counts it until then, also in the worker of the earlier configuration."""
    proxy = site.proxy()
    slow, other = site.replica("r-slow"), site.replica("r-other")
    proxy.apply(site.config(slow.line()))
    got: list[tuple[int, str, dict[str, str]]] = []
    client = threading.Thread(target=lambda: got.append(site.get("/slow")))
    client.start()
    wait_for(lambda: proxy.sessions("staging", "r-slow") == 1)
    proxy.apply(site.config(slow.line(draining=True), other.line()))
    assert site.get()[1] == "r-other"
    proxy.apply(site.config(other.line()))
    assert proxy.sessions("staging", "r-slow") == 1
    proxy.apply(site.config(other.line(), routes=(ROUTE, replace(ROUTE, name="b", path_prefix="/b"))))
    assert proxy.sessions("staging", "r-slow") == 1
    slow.release.set()
    client.join()
    assert got[0][:2] == (200, "r-slow")
    wait_for(lambda: proxy.sessions("staging", "r-slow") == 0)


def test_every_answer_says_whose_it_is(site: Site) -> None:
    """The proxy's identity headers win over the replica's, change at run time, and the replica learns who asked."""
    proxy = site.proxy()
    web = site.replica("r-web")
    proxy.apply(site.config(web.line()))
    headers = site.get(**{"X-Forwarded-Proto": "https"})[2]
    wanted = {"app": "hello", "environment": "staging", "revision": "abc123", "digest": "sha256:aa", "promotion": "p-1", "replica": "r-web"}
    assert {name: headers[f"setpoint-{name}"] for name in wanted} == wanted
    assert "liar" not in headers.values()
    seen = {name.lower(): value for name, value in web.seen[-1].items()}
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
    worker = MasterSocket(site.folder / "staging").processes().worker
    proxy.apply(site.config(web.line(promotion="p-2")))
    assert site.get()[2]["setpoint-promotion"] == "p-2"
    assert MasterSocket(site.folder / "staging").processes().worker == worker
    (counted,) = proxy.counters("staging")
    assert (counted.server, counted.responses["2xx"], counted.worker) == ("r-web", 2, worker)


def test_every_failed_request_counts_once_and_on_the_server_that_failed_it(site: Site) -> None:
    """What a server answers counts by class; no answer and no connection count beside it; HAProxy's own words on nobody."""
    proxy = site.proxy()
    web = site.replica("r-web")
    proxy.apply(site.config(web.line()))
    asked = [site.get(path)[0] for path in ("/", "/404", "/500", "/503", "/broken")]
    assert asked == [200, 404, 500, 503, 502]
    (counted,) = proxy.counters("staging")
    wanted = {"1xx": 0, "2xx": 1, "3xx": 0, "4xx": 1, "5xx": 2, "other": 0}
    assert (counted.responses, counted.connect_errors) == (wanted, 0)
    assert requests_of(None, raw(counted, ("5xx",))) == (5, 3)
    assert [site.get(path)[0] for path in ("/broken", "/nonsense", "/broken", "/")] == [502, 502, 502, 200]
    with pytest.raises(http.client.IncompleteRead):
        site.get("/torn")
    (more,) = proxy.counters("staging")
    assert requests_of(raw(counted, ("5xx",)), raw(more, ("5xx",))) == (5, 4)
    web.close()
    assert site.get()[0] == 503
    (again,) = proxy.counters("staging")
    assert requests_of(raw(more, ("5xx",)), raw(again, ("5xx",))) == (1, 1)
    proxy.apply(site.config())
    assert site.get()[0] == 503
    assert proxy.counters("staging") == []


def test_two_revisions_of_a_workload_are_split_exactly_whatever_their_numbers(site: Site) -> None:
    """One canary replica beside three stable ones gets its share of 120 requests; no weight needs a reload, and unready ones get none."""
    proxy = site.proxy()
    stable, canary = [site.replica(f"r-{number}") for number in range(3)], site.replica("r-new")
    lines = [*(replace(one.line(), pool="web@old") for one in stable), replace(canary.line(), pool="web@new")]
    workers = set()
    for weight, wanted in ((5, 6), (50, 60), (0, 0)):
        route = replace(ROUTE, backends=(("web@old", 100 - weight), ("web@new", weight)))
        proxy.apply(site.config(*lines, routes=(route,)))
        workers.add(MasterSocket(site.folder / "staging").processes().worker)
        assert abs(sum(site.get()[1] == "r-new" for _ in range(120)) - wanted) <= 1
    assert len(workers) == 1
    proxy.apply(site.config(*(replace(line, draining=line.pool == "web@old") for line in lines), routes=(route,)))
    assert site.get()[0] == 503, "a pool without weight does not stand in: who decides that is the rollout"


def test_routes_match_by_host_and_path_elements_and_split_by_weight(site: Site) -> None:
    """Prefixes match whole elements, the most specific route wins, and weights hold whatever the replica counts."""
    proxy = site.proxy()
    web, api, exact, shop = (site.replica(f"r-{name}", name) for name in ("web", "api", "exact", "shop"))
    canary = [site.replica(f"r-c{number}", "canary") for number in range(3)]
    routes = (
        Route("web", (), "/", path_exact=False, backends=(("web", 3), ("canary", 1))),
        Route("api", (), "/api/", path_exact=False, backends=(("api", 1),)),
        Route("exact", (), "/api/v1", path_exact=True, backends=(("exact", 1),)),
        Route("shop", ("*.shop.example",), "/", path_exact=False, backends=(("shop", 1),)),
    )
    proxy.apply(site.config(*[one.line() for one in (web, api, exact, shop, *canary)], routes=routes))
    answers = [site.get(path)[1] for path in ("/api", "/api/x", "/api/v1", "/api/v1/x")]
    assert answers == ["r-api", "r-api", "r-exact", "r-api"]
    assert site.get("/apix")[1] in {"r-web", "r-c0", "r-c1", "r-c2"}
    assert site.get("/api", Host="EU.shop.example:80")[1] == "r-shop"
    counted = Counter(site.get()[1] for _ in range(120))
    assert counted["r-web"] == pytest.approx(90, abs=3)


def test_nobody_ready_and_no_route_say_so(site: Site) -> None:
    """503 and 404 are short texts that name the environment."""
    proxy = site.proxy()
    proxy.apply(site.config())
    status, text, _ = site.get()
    assert (status, "staging" in text) == (503, True)
    proxy.apply(site.config(routes=()))
    status, text, _ = site.get()
    assert (status, "staging" in text) == (404, True)


def test_a_restarted_server_finds_its_proxy_and_a_dead_one_is_started_again(site: Site) -> None:
    """A second object on the folder changes the same process; a killed proxy comes back with the same truth."""
    web = site.replica("r-web")
    site.proxy().apply(site.config())
    before = MasterSocket(site.folder / "staging").processes()
    again = site.proxy()
    again.apply(site.config(web.line()))
    assert MasterSocket(site.folder / "staging").processes() == before
    assert os.getsid(before.master) == before.master
    assert before.worker is not None
    if UID is not None:
        assert processes.owner(before.worker) == UID
    seen = again.glance()
    assert again.glance() == seen
    os.kill(before.master, signal.SIGKILL)
    assert processes.wait_gone(before.master, 5)
    assert processes.wait_gone(before.worker, 5)
    assert again.glance() != seen
    again.apply(site.config(web.line()))
    assert site.get()[1] == "r-web"
    again.stop("staging")
    again.stop("staging")
    assert again.counters("staging") == []
    with pytest.raises(ConnectionRefusedError):
        site.get()


def test_an_address_in_use_is_named_with_who_has_it(site: Site) -> None:
    """Neither a program nor another environment loses its address; the error says who has it, and a freed address is taken."""
    with socket.create_server(("127.0.0.1", site.port)):
        with pytest.raises(UserError, match="SP641") as caught:
            site.proxy().apply(site.config())
        assert f"127.0.0.1:{site.port}" in caught.value.what
        assert str(os.getpid()) in caught.value.what
    site.proxy().apply(site.config())
    with pytest.raises(UserError, match="SP641") as caught:
        site.proxy().apply(replace(site.config(), environment="other"))
    assert "environment staging" in caught.value.what
    with socket.create_server(("127.0.0.1", 0)) as taken:
        moved = replace(site.config(), listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UserError, match="SP641"):
            site.proxy().apply(moved)
        assert site.get()[0] == 503
