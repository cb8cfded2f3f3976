"""Rolling updates on a runtime and a proxy in memory: traffic first, memory that may be lost, no environment disturbs another."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from setpoint.core.errors import UserError, WorldError
from setpoint.ground.journal.model import Entry, Fact
from setpoint.reconcile.model import Container, DesiredState, Identity, Probe, Release, ReplicaSpec, ReplicaStatus, Route, Workload
from setpoint.reconcile.ports import ProxyConfig, WorkloadStatus
from setpoint.rollout.service import HostRollout
from unit.builders_home import ManualClock

IMAGE = "hello/web@sha256:" + "a" * 64
PROBE = Probe("/health", period_s=10, failure_threshold=3)


@dataclass
class FakeHost:
    """Runtime, proxy and recorder in memory."""

    found: dict[str, ReplicaStatus] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    open_requests: dict[str, int] = field(default_factory=dict)
    configs: dict[str, ProxyConfig] = field(default_factory=dict)
    refuse: Exception | None = None
    refuse_for: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    journalled: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ports: int = 9000

    def start(self, spec: ReplicaSpec) -> None:
        """Start a replica, or refuse."""
        if self.refuse is not None and spec.workload.startswith(self.refuse_for):
            raise self.refuse
        self.found[spec.replica] = ReplicaStatus(spec, True, 1, "2026-11-23T06:00:00.000Z", 0, "")

    def replicas(self) -> list[ReplicaStatus]:
        """Return every replica."""
        return list(self.found.values())

    def stop(self, replica: str, grace_s: float) -> None:
        """Mark a replica as stopping; it is gone at `pass_away`."""
        self.found[replica] = replace(self.found[replica], stopping=True)

    def remove(self, replica: str) -> None:
        """Forget a replica."""
        self.found.pop(replica, None)

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Answer a probe."""
        self.asked.append((replica.spec.replica, probe.path if probe else ""))
        return replica.spec.replica not in self.unready, "asked"

    def free_port(self) -> int:
        """Return a port."""
        self.ports += 1
        return self.ports

    def apply(self, config: ProxyConfig) -> None:
        """Be the proxy."""
        self.configs[config.environment] = config

    def sessions(self, environment: str, server: str) -> int:
        """Return the open requests of a server."""
        return self.open_requests.get(server, 0)

    def stop_proxy(self, environment: str) -> None:
        """Forget a proxy."""

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Be the recorder."""
        self.journalled.append((kind, body))
        return Entry(0, "", kind, subject, actor, body, "")

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Write one after the other."""
        return [self.record(fact.kind, fact.subject, fact.actor, fact.body) for fact in facts]

    def pass_away(self) -> None:
        """Let what is stopping end."""
        self.found = {n: replace(r, shim_alive=False, pid=None) if r.stopping else r for n, r in self.found.items()}

    def names(self, revision: str = "") -> list[str]:
        """Return the names of what lives, of one revision or all."""
        return [n for n, r in self.found.items() if r.shim_alive and r.spec.revision_hash.startswith(revision)]

    def traffic(self, environment: str = "prod") -> set[str]:
        """Return the servers that get new requests."""
        config = self.configs.get(environment)
        return {server.name for _, server in config.servers if not server.draining} if config else set()


class _Proxy:
    """The proxy's side of the fake: `stop` means something else there."""

    def __init__(self, host: FakeHost) -> None:
        self.apply, self.sessions, self.stop, self.applied = host.apply, host.sessions, host.stop_proxy, host.configs.get


@pytest.fixture
def host() -> FakeHost:
    """An empty machine."""
    return FakeHost()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


def _rollout(host: FakeHost, clock: ManualClock) -> HostRollout:
    return HostRollout(host, _Proxy(host), host, clock)


def _desired(
    revision: str,
    *,
    app: str = "web",
    environment: str = "prod",
    replicas: int = 2,
    liveness: Probe | None = None,
    names: Sequence[str] = ("web",),
) -> Release:
    container = Container("c", IMAGE, None, None, {}, {}, 80, PROBE, liveness)
    workloads = tuple(Workload(app, environment, name, replicas, {}, container, revision * 12) for name in names)
    routes = (Route(app, (), f"/{app}", False, ((names[0], 1),)),) if names else ()
    identity = Identity(app, environment, "c" * 40, "", f"p-{revision}", revision)
    return Release(DesiredState(app, environment, workloads, routes, "d"), identity, f"pin-{revision}")


def _pass(rollout: HostRollout, host: FakeHost, *desired: Release, environment: str = "prod") -> dict[str, list[WorkloadStatus]]:
    host.pass_away()
    return rollout.advance(environment, "127.0.0.1:7502", desired)


def _settle(rollout: HostRollout, host: FakeHost, *desired: Release) -> list[WorkloadStatus]:
    for _ in range(30):
        statuses = [status for rows in _pass(rollout, host, *desired).values() for status in rows]
        if all(status.ready >= status.wanted and status.old == 0 for status in statuses):
            return statuses
    pytest.fail(f"it does not settle: {statuses}")


def test_a_first_version_comes_up_and_gets_traffic_only_when_ready(host: FakeHost, clock: ManualClock) -> None:
    """Replicas start; before they answer no request is sent to them; the identity carries the image's digest."""
    rollout = _rollout(host, clock)
    (status,) = _pass(rollout, host, _desired("1"))["web"]
    assert (status.wanted, status.ready, len(host.names())) == (2, 0, 2)
    host.unready = set(host.names())
    (status,) = _pass(rollout, host, _desired("1"))["web"]
    assert (status.ready, host.traffic(), [reason.code for reason in status.waiting]) == (0, set(), ["NOT_READY", "NOT_READY"])
    host.unready = set()
    (status,) = _settle(rollout, host, _desired("1"))
    assert (status.ready, host.traffic()) == (2, set(host.names()))
    assert {r.spec.identity.digest for r in host.found.values()} == {IMAGE.partition("@")[2]}


def test_an_update_drains_before_it_stops_and_always_has_traffic(host: FakeHost, clock: ManualClock) -> None:
    """In every pass two servers take requests; an old one with an open request is drained, not stopped."""
    rollout = _rollout(host, clock)
    _settle(rollout, host, _desired("1"))
    first, second = host.names("1")
    host.open_requests = {first: 1}
    for _ in range(12):
        _pass(rollout, host, _desired("2"))
        assert len(host.traffic()) >= 2
        assert not host.found[first].stopping
    assert second not in host.names()
    assert first not in host.traffic()
    host.open_requests = {}
    _settle(rollout, host, _desired("2"))
    assert host.traffic() == set(host.names("2"))


def test_an_open_request_is_waited_for_a_minute(host: FakeHost, clock: ManualClock) -> None:
    """After the drain limit the old replica is stopped with its request open, also one of a workload that is gone."""
    rollout = _rollout(host, clock)
    _settle(rollout, host, _desired("1", replicas=1, names=("web", "worker")))
    host.open_requests = dict.fromkeys(host.names(), 1)
    for _ in range(4):
        _pass(rollout, host, _desired("2", replicas=1))
    assert len(host.names("1")) == 2
    clock.move(61)
    _settle(rollout, host, _desired("2", replicas=1))
    for _ in range(3):
        _pass(rollout, host, _desired("2", replicas=1))
    assert host.names("1") == []


def test_a_restarted_server_takes_up_where_the_world_is(host: FakeHost, clock: ManualClock) -> None:
    """A new engine in every pass, with no memory at all, still brings the update to its end without an outage."""
    _settle(_rollout(host, clock), host, _desired("1"))
    rollout = _rollout(host, clock)
    for number in range(40):
        if number % 3 == 0:
            rollout = _rollout(host, clock)
        _pass(rollout, host, _desired("2"))
        assert len(host.traffic()) >= 2
    assert (len(host.names("2")), host.names("1")) == (2, [])


def test_environments_whose_names_begin_alike_do_not_disturb_each_other(host: FakeHost, clock: ManualClock) -> None:
    """What is remembered of `prod-eu` survives passes of `prod`: its drained replicas go, and readiness is not asked every time."""
    rollout = _rollout(host, clock)
    eu, prod = _desired("1", environment="prod-eu"), _desired("1")
    for _ in range(4):
        _pass(rollout, host, eu, environment="prod-eu")
        _pass(rollout, host, prod)
    for _ in range(12):
        _pass(rollout, host, _desired("2", environment="prod-eu"), environment="prod-eu")
        _pass(rollout, host, prod)
    assert [r.spec.revision_hash[0] for r in host.found.values() if r.spec.identity.environment == "prod-eu"] == ["2", "2"]
    asked = len(host.asked)
    _pass(rollout, host, prod)
    _pass(rollout, host, _desired("2", environment="prod-eu"), environment="prod-eu")
    assert len(host.asked) == asked


def test_an_application_that_is_left_alone_keeps_its_servers_and_routes(host: FakeHost, clock: ManualClock) -> None:
    """An application that cannot be judged in this pass is not touched: neither its replicas nor the way to them."""
    rollout = _rollout(host, clock)
    _settle(rollout, host, _desired("1"), _desired("1", app="shop", names=("shop",)))
    servers = host.traffic()
    _pass(rollout, host, _desired("1"))
    assert [app for app, _ in host.configs["prod"].routes] == ["web", "shop"]
    assert host.traffic() == servers


@pytest.mark.parametrize("error", [UserError("SP631", "another base"), WorldError("SP632", "no shim")])
def test_a_workload_that_cannot_start_does_not_stop_the_others(host: FakeHost, clock: ManualClock, error: Exception) -> None:
    """The refusal is a problem of that workload; the application beside it comes up."""
    rollout = _rollout(host, clock)
    host.refuse, host.refuse_for = error, "shop"
    for _ in range(3):
        statuses = _pass(rollout, host, _desired("1", app="shop", names=("shop",)), _desired("1"))
    assert {(reason.code, reason.severity) for reason in statuses["shop"][0].waiting} == {(str(error)[:5], "problem")}
    assert statuses["web"][0].ready == 2


def test_a_fault_of_the_proxy_passes_through(host: FakeHost, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in use is an error of the environment, told by whoever called."""
    rollout = HostRollout(host, proxy := _Proxy(host), host, clock)

    def taken(_config: ProxyConfig) -> None:
        raise UserError("SP641", "in use")

    monkeypatch.setattr(proxy, "apply", taken)
    with pytest.raises(UserError, match="SP641"):
        _pass(rollout, host, _desired("1"))


def test_readiness_is_lost_only_after_its_threshold(host: FakeHost, clock: ManualClock) -> None:
    """One failed probe of three keeps the traffic; the third takes it away; the first success gives it back."""
    rollout = _rollout(host, clock)
    _settle(rollout, host, _desired("1"))
    (sick, well) = host.names()
    host.unready = {sick}
    for expected in ({sick, well}, {sick, well}, {well}):
        clock.move(10)
        _pass(rollout, host, _desired("1"))
        assert host.traffic() == expected
    host.unready = set()
    _pass(rollout, host, _desired("1"))
    assert host.traffic() == {sick, well}


def test_a_replica_that_fails_its_liveness_is_replaced(host: FakeHost, clock: ManualClock) -> None:
    """Three failed liveness probes stop it; another one starts."""
    rollout = _rollout(host, clock)
    desired = _desired("1", replicas=1, liveness=Probe("/live", period_s=10, failure_threshold=3))
    _settle(rollout, host, desired)
    (sick,) = host.names()
    host.unready = {sick}
    for _ in range(4):
        clock.move(10)
        _pass(rollout, host, desired)
    _settle(rollout, host, desired)
    assert sick not in host.found
    assert len(host.names()) == 1


def test_a_crash_loop_is_a_problem_and_every_exit_is_journalled_once(host: FakeHost, clock: ManualClock) -> None:
    """Three restarts without readiness are a crash loop; each exit is journalled when it is seen, a stop that was asked for is not."""
    rollout = _rollout(host, clock)
    _pass(rollout, host, _desired("1", replicas=1))
    (name,) = host.names()
    host.unready = {name}
    for restarts in (1, 1, 3):
        host.found[name] = replace(host.found[name], restarts=restarts, last_exit="exit status 3", pid=None)
        (status,) = _pass(rollout, host, _desired("1", replicas=1))["web"]
    assert [(r.code, r.severity) for r in status.waiting] == [("CRASH_LOOP", "problem")]
    assert [(kind, body["restarts"]) for kind, body in host.journalled] == [("replica.exited", 1), ("replica.exited", 3)]


def test_an_application_that_is_left_alone_keeps_its_route_over_a_restart_and_the_last_route_goes(
    host: FakeHost, clock: ManualClock
) -> None:
    """What the proxy was told last is the memory: a new server, another neighbour, and later nothing at all."""
    mine, other = (Route(name, (), f"/{name}", False, (("web", 1),)) for name in ("mine", "other"))
    first, second = (
        Release(DesiredState(app, "prod", (), (route,), ""), Identity(app, "prod", "", "", ""))
        for app, route in (("a", mine), ("b", other))
    )
    HostRollout(host, _Proxy(host), host, clock).advance("prod", "127.0.0.1:1", [first, second])
    HostRollout(host, _Proxy(host), host, clock).advance("prod", "127.0.0.1:1", [second])
    assert host.configs["prod"].routes == (("b", other), ("a", mine))
    nothing = [Release(DesiredState(app, "prod", (), (), ""), Identity(app, "prod", "", "", "")) for app in ("a", "b")]
    HostRollout(host, _Proxy(host), host, clock).advance("prod", "127.0.0.1:1", nothing)
    assert not host.configs["prod"].routes
