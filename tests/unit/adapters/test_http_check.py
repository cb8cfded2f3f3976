"""A gate's HTTP check against servers that misbehave: one bounded request, whatever is answered."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from setpoint.adapters import http_check
from setpoint.adapters.http_check import HttpProbe


@contextmanager
def _server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Serve one connection with answer; yields the base URL."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                with suppress(OSError):  # the probe hangs up, as it should
                    answer(connection, done)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join()


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """A check that wants 200 does not pass because another place says 200."""
    with _server(lambda c, _: c.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")) as url:
        assert HttpProbe().check(url, "/health", 200) == (False, "status 302")


def test_an_endless_body_is_not_read() -> None:
    """The status is all that is asked for; how much follows does not matter."""

    def flood(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not done.is_set():
            connection.sendall(b"x" * 65536)

    with _server(flood) as url:
        assert HttpProbe().check(url, "/", 200) == (True, "status 200")


def test_an_answer_that_drips_ends_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then renews no time: the whole check has one limit."""
    monkeypatch.setattr(http_check, "_TIMEOUT_S", 0.4)

    def drip(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not done.wait(0.05):
            connection.sendall(b"x")

    begun = time.monotonic()
    with _server(drip) as url:
        assert HttpProbe().check(url, "/", 200) == (False, "no answer: timed out")
    assert time.monotonic() - begun < 3


def test_what_is_no_http_is_said() -> None:
    """Another protocol at the address is no pass and no crash."""
    with _server(lambda c, _: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as url:
        passed, found = HttpProbe().check(url, "/", 200)
    assert (passed, found.startswith("no HTTP")) == (False, True)
