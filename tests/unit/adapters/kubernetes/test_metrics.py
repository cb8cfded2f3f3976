"""Pages of counters at an address: bounded in time and size, one that fails is not asked again at once, and all of it is one error."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from setpoint.adapters.kubernetes import metrics
from setpoint.adapters.kubernetes.clusters import KubernetesClusters
from setpoint.core.errors import WorldError
from setpoint.promotion.targets import KubernetesTarget, Metrics

Answer = Callable[[socketserver.StreamRequestHandler], object]


@contextmanager
def _serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode())
            answer(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/metrics", asked
        finally:
            server.shutdown()
            thread.join()


def _target(url: str) -> KubernetesTarget:
    return KubernetesTarget(cluster="real", namespace="shop", registry="r.example.com", metrics=Metrics(url=url))


def _pages() -> metrics.MetricsPages:
    return metrics.MetricsPages(cast("KubernetesClusters", None))


def test_a_page_is_read_whole() -> None:
    """What the data plane says, under its address; without a declared page there is none."""
    with _serving(lambda one: one.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nn 1\n")) as (url, _asked):
        assert dict(_pages().read(_target(url))) == {url: "n 1\n"}
    assert dict(_pages().read(KubernetesTarget(cluster="real", namespace="shop", registry="r.example.com"))) == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.0 404 No\r\n\r\n", "status 404"),
        (b"HTTP/1.0 302 There\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "status 302"),
        (b"nonsense\r\n\r\n", "no answer"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001, "too large"),
    ],
)
def test_what_is_no_page_is_told_and_not_asked_again_at_once(answer: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error with its reason; the next look within some seconds costs no call."""
    monkeypatch.setattr(metrics, "_LARGEST", 1000)
    with _serving(lambda one: one.wfile.write(answer)) as (url, asked):
        pages = _pages()
        for _ in range(2):
            with pytest.raises(WorldError, match=f"SP652.*{why}"):
                pages.read(_target(url))
        assert len(asked) == 1


def test_a_page_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then is cut off."""
    over = threading.Event()
    monkeypatch.setattr(metrics, "_LIMIT_S", 0.3)

    def drip(one: socketserver.StreamRequestHandler) -> None:
        one.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not over.wait(0.05):
            try:
                one.wfile.write(b"n")
            except OSError:
                return

    with _serving(drip) as (url, _asked):
        with pytest.raises(WorldError, match=r"SP652.*no answer in"):
            _pages().read(_target(url))
        over.set()
