"""What somebody does to a running HAProxy behind Setpoint's back is found, told to the judge, and set back; Setpoint's own work is not."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contract.test_host_proxy import ROUTE, UID, Site, pytestmark, site
from setpoint.adapters.host import processes, proxy_memory
from setpoint.adapters.host.haproxy_socket import MasterSocket
from setpoint.adapters.host.proxy import HaProxy
from setpoint.reconcile.drift.model import Deviation, Kind
from setpoint.reconcile.model import Difference

__all__ = ["pytestmark", "site"]


class Judge:
    """Remembers what was found; corrects everything, or nothing."""

    def __init__(self, *, correct: bool = True) -> None:
        self.correct = correct
        self.looks: list[list[Difference]] = []

    def __call__(self, _environment: str, _kind: Kind, found: Sequence[Deviation]) -> frozenset[Difference]:
        """Judge a look."""
        self.looks.append([deviation.difference for deviation in found])
        return frozenset(self.looks[-1]) if self.correct else frozenset()

    def last(self) -> list[tuple[str, str, str]]:
        """(field, desired, live) of the last look."""
        return [(d.field, d.desired, d.live) for d in self.looks[-1]]


@pytest.fixture
def judge() -> Judge:
    """A judge that has everything corrected."""
    return Judge()


def _proxy(site: Site, judge: Judge) -> HaProxy:
    return HaProxy(site.folder, UID, judge=judge)


def _tell(site: Site, command: str) -> str:
    return MasterSocket(site.folder / "staging").ask_worker(command)


def _backend(site: Site) -> str:
    memory = proxy_memory.read(site.folder / "staging")
    assert memory is not None
    return next(iter(memory.backends))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)


def test_changes_of_setpoints_own_are_no_drift(site: Site, judge: Judge) -> None:
    """Start, new servers, weights, draining, other routes, a new server process: the judge sees nothing."""
    one, two = site.replica("one"), site.replica("two")
    proxy = _proxy(site, judge)
    for config in (
        site.config(one.line()),
        site.config(one.line(), two.line()),
        site.config(one.line(draining=True), two.line()),
        site.config(two.line(promotion="p-2")),
        site.config(two.line(), routes=(replace(ROUTE, path_prefix="/a"),)),
    ):
        proxy.apply(config)
        proxy.apply(config)
        _proxy(site, judge).apply(config)
    assert [found for found in judge.looks if found] == []


def test_a_weight_a_state_and_a_strange_server_are_found_and_set_back(site: Site, judge: Judge) -> None:
    """Through the proxy's own socket, as an operator in a hurry would."""
    one, two = site.replica("one"), site.replica("two")
    config = site.config(one.line(), two.line())
    proxy = _proxy(site, judge)
    proxy.apply(config)
    backend = _backend(site)
    for command in (
        f"set server {backend}/one weight 3",
        f"set server {backend}/two state maint",
        f"add server {backend}/mallory 127.0.0.1:{two.port} weight 256",
        f"enable server {backend}/mallory",
        "set map identity.map one liar|staging|r|d|p",
    ):
        _tell(site, command)
    proxy.apply(config)
    assert judge.last() == [
        ("traffic", "no server", f"port {two.port}, weight 256"),
        ("traffic", f"port {one.port}, weight 1", f"port {one.port}, weight 3"),
        ("traffic", f"port {two.port}, weight 1", f"port {two.port}, in maintenance"),
        ("identity headers", "hello|staging|abc123|sha256:aa|p-1", "liar|staging|r|d|p"),
    ]
    proxy.apply(config)
    assert judge.last() == []
    assert {site.get()[1] for _ in range(64)} == {"one", "two"}


def test_what_is_only_reported_stays_while_setpoints_own_changes_are_made(site: Site) -> None:
    """A weight that somebody set stays as it is; a new replica gets its traffic all the same."""
    judge = Judge(correct=False)
    one, two = site.replica("one"), site.replica("two")
    proxy = _proxy(site, judge)
    proxy.apply(site.config(one.line()))
    _tell(site, f"set server {_backend(site)}/one weight 0")
    proxy.apply(site.config(one.line(), two.line()))
    assert {site.get()[1] for _ in range(6)} == {"two"}
    proxy.apply(site.config(one.line(), two.line()))
    assert [live for _field, _desired, live in judge.last()] == [f"port {one.port}, weight 0"]
    judge.correct = True
    proxy.apply(site.config(one.line(), two.line()))
    assert {site.get()[1] for _ in range(6)} == {"one", "two"}


@pytest.mark.parametrize("correct", [True, False])
def test_a_killed_proxy_is_told_and_started_in_every_mode(site: Site, *, correct: bool) -> None:
    """Report never leaves an environment without its proxy; found by a server that has just started too."""
    judge = Judge(correct=correct)
    one = site.replica("one")
    _proxy(site, judge).apply(site.config(one.line()))
    found = MasterSocket(site.folder / "staging").processes()
    for pid in (found.master, found.worker or 0):
        os.kill(pid, signal.SIGKILL)
        assert processes.wait_gone(pid, 5)
    proxy = _proxy(site, judge)
    proxy.apply(site.config(one.line()))
    assert judge.last() == [("process", f"listening on 127.0.0.1:{site.port}", "not running")]
    assert site.get()[1] == "one"
    proxy.apply(site.config(one.line()))
    assert judge.last() == []


def test_an_edited_configuration_file_is_found_and_written_anew(site: Site, judge: Judge) -> None:
    """Before anybody loads it; the running proxy is not touched."""
    one = site.replica("one")
    proxy = _proxy(site, judge)
    proxy.apply(site.config(one.line()))
    path = site.folder / "staging" / "haproxy.cfg"
    wanted = path.read_text()
    path.write_text(wanted.replace("balance roundrobin", "balance leastconn"))
    before = MasterSocket(site.folder / "staging").processes()
    proxy.apply(site.config(one.line()))
    assert [field for field, _desired, _live in judge.last()] == ["haproxy.cfg"]
    assert path.read_text() == wanted
    assert MasterSocket(site.folder / "staging").processes() == before


def test_a_configuration_that_somebody_loaded_is_replaced(site: Site, judge: Judge) -> None:
    """Edited and reloaded: routes are rules of the worker, so the worker is replaced too."""
    one = site.replica("one")
    proxy = _proxy(site, judge)
    proxy.apply(site.config(one.line()))
    path = site.folder / "staging" / "haproxy.cfg"
    path.write_text(path.read_text().replace("    use_backend", "    http-request deny deny_status 403\n    use_backend", 1))
    worker = MasterSocket(site.folder / "staging").processes().worker
    with contextlib.suppress(OSError):  # an older HAProxy closes the connection
        MasterSocket(site.folder / "staging").ask("reload")
    _until(lambda: MasterSocket(site.folder / "staging").processes().worker not in (None, worker))
    _until(lambda: site.get()[0] == 403)
    proxy.apply(site.config(one.line()))
    assert [field for field, _desired, _live in judge.last()] == ["haproxy.cfg", "configuration"]
    assert site.get()[1] == "one"
    proxy.apply(site.config(one.line()))
    assert judge.last() == []


def test_work_that_a_killed_server_left_half_done_is_nobodys_drift(site: Site, judge: Judge) -> None:
    """The goal is written before the first command: until it is reached, differences tell nothing about who made them."""
    one = site.replica("one")
    proxy = _proxy(site, judge)
    proxy.apply(site.config(one.line()))
    memory = proxy_memory.read(Path(site.folder / "staging"))
    assert memory is not None
    proxy_memory.put(site.folder / "staging" / proxy_memory.NAME, proxy_memory.text(replace(memory, settled=False)))
    _tell(site, f"set server {_backend(site)}/one weight 7")
    judge.looks.clear()
    _proxy(site, judge).apply(site.config(one.line()))
    assert judge.looks == []
    assert _tell(site, f"get weight {_backend(site)}/one").startswith("1 ")


def test_the_routes_that_were_applied_last_are_known_to_the_next_server(site: Site, judge: Judge) -> None:
    """So an application whose pin cannot be read keeps its route over a restart; after a stop nothing is known."""
    one = site.replica("one")
    config = site.config(one.line())
    _proxy(site, judge).apply(config)
    assert _proxy(site, judge).applied("staging") == config
    assert _proxy(site, judge).applied("other") is None
    proxy = _proxy(site, judge)
    proxy.stop("staging")
    assert proxy.applied("staging") is None
