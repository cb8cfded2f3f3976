"""Rolling updates on a runtime and a proxy in memory: traffic first, memory that may be lost, no environment disturbs another."""

from dataclasses import replace

import pytest

from setpoint.core.errors import UserError, WorldError
from setpoint.reconcile.model import DesiredState, Identity, Probe, Release, Route
from setpoint.reconcile.ports import ProxyConfig
from setpoint.rollout.service import HostRollout
from unit.builders_home import ManualClock
from unit.rollout_host import IMAGE, FakeHost, FakeProxy, parts, release_of, rollout_of, run_pass, settle


@pytest.fixture
def host() -> FakeHost:
    """An empty machine."""
    return FakeHost()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


def test_a_first_version_comes_up_and_gets_traffic_only_when_ready(host: FakeHost, clock: ManualClock) -> None:
    """Replicas start; before they answer no request is sent to them; the identity carries the image's digest."""
    rollout = rollout_of(host, clock)
    (status,) = run_pass(rollout, host, release_of("1"))["web"]
    assert (status.wanted, status.ready, len(host.names())) == (2, 0, 2)
    host.unready = set(host.names())
    (status,) = run_pass(rollout, host, release_of("1"))["web"]
    assert (status.ready, host.traffic(), [reason.code for reason in status.waiting]) == (0, set(), ["NOT_READY", "NOT_READY"])
    host.unready = set()
    (status,) = settle(rollout, host, release_of("1"))
    assert (status.ready, host.traffic()) == (2, set(host.names()))
    assert {r.spec.identity.digest for r in host.found.values()} == {IMAGE.partition("@")[2]}


def test_an_update_drains_before_it_stops_and_always_has_traffic(host: FakeHost, clock: ManualClock) -> None:
    """In every pass two servers take requests; an old one with an open request is drained, not stopped."""
    rollout = rollout_of(host, clock)
    settle(rollout, host, release_of("1"))
    first, second = host.names("1")
    host.open_requests = {first: 1}
    for _ in range(12):
        run_pass(rollout, host, release_of("2"))
        assert len(host.traffic()) >= 2
        assert not host.found[first].stopping
    assert second not in host.names()
    assert first not in host.traffic()
    host.open_requests = {}
    settle(rollout, host, release_of("2"))
    assert host.traffic() == set(host.names("2"))


def test_an_open_request_is_waited_for_a_minute(host: FakeHost, clock: ManualClock) -> None:
    """After the drain limit the old replica is stopped with its request open, also one of a workload that is gone."""
    rollout = rollout_of(host, clock)
    settle(rollout, host, release_of("1", replicas=1, names=("web", "worker")))
    host.open_requests = dict.fromkeys(host.names(), 1)
    for _ in range(4):
        run_pass(rollout, host, release_of("2", replicas=1))
    assert len(host.names("1")) == 2
    clock.move(61)
    settle(rollout, host, release_of("2", replicas=1))
    for _ in range(3):
        run_pass(rollout, host, release_of("2", replicas=1))
    assert host.names("1") == []


def test_a_restarted_server_takes_up_where_the_world_is(host: FakeHost, clock: ManualClock) -> None:
    """A new engine in every pass, with no memory at all, still brings the update to its end without an outage."""
    settle(rollout_of(host, clock), host, release_of("1"))
    rollout = rollout_of(host, clock)
    for number in range(40):
        if number % 3 == 0:
            rollout = rollout_of(host, clock)
        run_pass(rollout, host, release_of("2"))
        assert len(host.traffic()) >= 2
    assert (len(host.names("2")), host.names("1")) == (2, [])


def test_environments_whose_names_begin_alike_do_not_disturb_each_other(host: FakeHost, clock: ManualClock) -> None:
    """What is remembered of `prod-eu` survives passes of `prod`: its drained replicas go, and readiness is not asked every time."""
    rollout = rollout_of(host, clock)
    eu, prod = release_of("1", environment="prod-eu"), release_of("1")
    for _ in range(4):
        run_pass(rollout, host, eu, environment="prod-eu")
        run_pass(rollout, host, prod)
    for _ in range(12):
        run_pass(rollout, host, release_of("2", environment="prod-eu"), environment="prod-eu")
        run_pass(rollout, host, prod)
    assert [r.spec.revision_hash[0] for r in host.found.values() if r.spec.identity.environment == "prod-eu"] == ["2", "2"]
    asked = len(host.asked)
    run_pass(rollout, host, prod)
    run_pass(rollout, host, release_of("2", environment="prod-eu"), environment="prod-eu")
    assert len(host.asked) == asked


def test_an_application_that_is_left_alone_keeps_its_servers_and_routes(host: FakeHost, clock: ManualClock) -> None:
    """An application that cannot be judged in this pass is not touched: neither its replicas nor the way to them."""
    rollout = rollout_of(host, clock)
    settle(rollout, host, release_of("1"), release_of("1", app="shop", names=("shop",)))
    servers = host.traffic()
    run_pass(rollout, host, release_of("1"))
    assert [app for app, _ in host.configs["prod"].routes] == ["web", "shop"]
    assert host.traffic() == servers


@pytest.mark.parametrize("error", [UserError("SP631", "another base"), WorldError("SP632", "no shim")])
def test_a_workload_that_cannot_start_does_not_stop_the_others(host: FakeHost, clock: ManualClock, error: Exception) -> None:
    """The refusal is a problem of that workload; the application beside it comes up."""
    rollout = rollout_of(host, clock)
    host.refuse, host.refuse_for = error, "shop"
    for _ in range(3):
        statuses = run_pass(rollout, host, release_of("1", app="shop", names=("shop",)), release_of("1"))
    assert {(reason.code, reason.severity) for reason in statuses["shop"][0].waiting} == {(str(error)[:5], "problem")}
    assert statuses["web"][0].ready == 2


def test_a_fault_of_the_proxy_passes_through(host: FakeHost, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in use is an error of the environment, told by whoever called."""
    rollout = HostRollout(replace(parts(host, clock), proxy=(proxy := FakeProxy(host))))

    def taken(_config: ProxyConfig) -> None:
        raise UserError("SP641", "in use")

    monkeypatch.setattr(proxy, "apply", taken)
    with pytest.raises(UserError, match="SP641"):
        run_pass(rollout, host, release_of("1"))


def test_readiness_is_lost_only_after_its_threshold(host: FakeHost, clock: ManualClock) -> None:
    """One failed probe of three keeps the traffic; the third takes it away; the first success gives it back."""
    rollout = rollout_of(host, clock)
    settle(rollout, host, release_of("1"))
    (sick, well) = host.names()
    host.unready = {sick}
    for expected in ({sick, well}, {sick, well}, {well}):
        clock.move(10)
        run_pass(rollout, host, release_of("1"))
        assert host.traffic() == expected
    host.unready = set()
    run_pass(rollout, host, release_of("1"))
    assert host.traffic() == {sick, well}


def test_a_replica_that_fails_its_liveness_is_replaced(host: FakeHost, clock: ManualClock) -> None:
    """Three failed liveness probes stop it; another one starts."""
    rollout = rollout_of(host, clock)
    desired = release_of("1", replicas=1, liveness=Probe("/live", period_s=10, failure_threshold=3))
    settle(rollout, host, desired)
    (sick,) = host.names()
    host.unready = {sick}
    for _ in range(4):
        clock.move(10)
        run_pass(rollout, host, desired)
    settle(rollout, host, desired)
    assert sick not in host.found
    assert len(host.names()) == 1


def test_a_crash_loop_is_a_problem_and_every_exit_is_journalled_once(host: FakeHost, clock: ManualClock) -> None:
    """Three restarts without readiness are a crash loop; each exit is journalled when it is seen, a stop that was asked for is not."""
    rollout = rollout_of(host, clock)
    run_pass(rollout, host, release_of("1", replicas=1))
    (name,) = host.names()
    host.unready = {name}
    for restarts in (1, 1, 3):
        host.found[name] = replace(host.found[name], restarts=restarts, last_exit="exit status 3", pid=None)
        (status,) = run_pass(rollout, host, release_of("1", replicas=1))["web"]
    assert [(r.code, r.severity) for r in status.waiting] == [("CRASH_LOOP", "problem")]
    told = [(kind, body["restarts"]) for kind, body in host.journalled if kind.startswith("replica.")]
    assert told == [
        ("replica.exited", 1),
        ("replica.exited", 3),
    ]


def test_an_application_that_is_left_alone_keeps_its_route_over_a_restart_and_the_last_route_goes(
    host: FakeHost, clock: ManualClock
) -> None:
    """What the proxy was told last is the memory: a new server, another neighbour, and later nothing at all."""
    mine, other = (Route(name, (), f"/{name}", False, (("web", 1),)) for name in ("mine", "other"))
    first, second = (
        Release(DesiredState(app, "prod", (), (route,), ""), Identity(app, "prod", "", "", ""))
        for app, route in (("a", mine), ("b", other))
    )
    rollout_of(host, clock).advance("prod", "127.0.0.1:1", [first, second])
    rollout_of(host, clock).advance("prod", "127.0.0.1:1", [second])
    assert host.configs["prod"].routes == (("b", other), ("a", mine))
    nothing = [Release(DesiredState(app, "prod", (), (), ""), Identity(app, "prod", "", "", "")) for app in ("a", "b")]
    rollout_of(host, clock).advance("prod", "127.0.0.1:1", nothing)
    assert not host.configs["prod"].routes
