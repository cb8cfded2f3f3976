"""The HTTP client against a real socket: JSON, problems, streams."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from setpoint.client.connection import Connection
from setpoint.client.http import Api, problem, segment
from setpoint.client.sse import ServerEvent, events_of
from setpoint.core.errors import ConfigError, ConflictError, Finding, NotAllowedError, NotFoundError, SetpointError, UserError, WorldError


class Peer:
    """A server that gives prepared answers in order and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, str, bytes]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                peer.asked.append((self.command, self.path, dict(self.headers), body))
                status, kind, data = peer.answers.pop(0)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.waits: list[float] = []
        self.api = Api(Connection(f"http://127.0.0.1:{self.server.server_port}", "sp_t"), timeout_s=5, sleep=self.waits.append)

    def json(self, value: Any, status: int = 200) -> None:
        """Prepare a JSON answer."""
        self.answers.append((status, "application/json", json.dumps(value).encode()))


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A running peer."""
    made = Peer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_server_that_looked_at_old_tables_is_asked_once_more(peer: Peer) -> None:
    """SP003 says that nothing was written and that it is mended, so the same words are good a second time; any other fault is told."""
    peer.json({"title": "fallen behind", "code": "SP003"}, 503)
    peer.json({"ok": 1})
    assert peer.api.post("holds", {"environment": "staging"}) == {"ok": 1}
    assert [body for _method, _path, _headers, body in peer.asked] == [b'{"environment": "staging"}'] * 2
    peer.json({"title": "full", "code": "SP009"}, 503)
    with pytest.raises(WorldError, match="SP009"):
        peer.api.post("holds", {})


def test_json_goes_and_comes(peer: Peer) -> None:
    """Methods, paths, queries, bodies and the Bearer header arrive as meant."""
    peer.json({"items": []})
    assert peer.api.get("runs", {"limit": 5, "repository": None, "open": True, "subject": "a b&c"}) == {"items": []}
    peer.json({"ok": 1}, 201)
    assert peer.api.post("/tokens", {"kind": "person"}) == {"ok": 1}
    peer.answers.append((204, "", b""))
    assert peer.api.delete(f"/api/v1/tokens/{segment('../x y')}") is None
    peer.answers.append((200, "text/plain", b"log\xff"))
    assert peer.api.read("log") == b"log\xff"
    lines = [(method, path) for method, path, _, _ in peer.asked]
    assert lines == [
        ("GET", "/api/v1/runs?limit=5&open=true&subject=a+b%26c"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/..%2Fx%20y"),
        ("GET", "/api/v1/log"),
    ]
    assert peer.asked[1][3] == b'{"kind": "person"}'
    assert all(headers["Authorization"] == "Bearer sp_t" for _, _, headers, _ in peer.asked)


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (400, UserError),
        (401, NotAllowedError),
        (403, NotAllowedError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, UserError),
        (422, UserError),
        (429, WorldError),
        (500, WorldError),
        (503, WorldError),
    ],
)
def test_problems_become_errors_again(peer: Peer, status: int, family: type[SetpointError]) -> None:
    """The status chooses the family; code, sentence, place and fix survive the way."""
    peer.json({"code": "SP501", "title": "what", "detail": "more", "where": "object", "fix": "do it"}, status)
    with pytest.raises(SetpointError) as caught:
        peer.api.get("x")
    error = caught.value
    assert type(error) is family
    assert (error.code, error.what, error.where, error.fix) == ("SP501", "what", "object", "do it")


def test_findings_become_a_config_error_again() -> None:
    """Every finding of a problem comes back with its place."""
    one = {"code": "SP201", "what": "unknown", "path": "a.yaml", "line": 2, "column": 3, "length": 4, "source": "x: y", "fix": "z"}
    error = problem(422, json.dumps({"code": "SP201", "findings": [one, {"code": "SP202", "what": "w", "path": "b"}]}).encode(), "/x")
    assert isinstance(error, ConfigError)
    assert error.findings == (Finding(**one), Finding("SP202", "w", "b", length=0))  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail": [{"msg": "x"}]}', b'{"findings": 3, "code": null}', b"\xff"])
def test_answers_that_are_no_problem_still_make_an_error(body: bytes) -> None:
    """A proxy's page or another server's JSON is an error with the status and the path, never a crash."""
    error = problem(422, body, "/api/v1/x?secret=1")
    assert type(error) is UserError
    assert error.code == "SP847"
    assert error.what == "the server answers 422 to /api/v1/x"


def test_what_is_no_json_is_said(peer: Peer) -> None:
    """A 200 that is no JSON is SP847 and asks whether this is a Setpoint."""
    peer.answers.append((200, "text/html", b"<html>"))
    with pytest.raises(WorldError, match="SP847"):
        peer.api.get("x")


def test_nobody_there_is_said_with_the_way_out() -> None:
    """A refused connection is SP845 and names the command."""
    api = Api(Connection("http://127.0.0.1:1", "sp_t"))
    for call in (lambda: api.get("x"), lambda: next(api.stream("x"))):
        with pytest.raises(WorldError) as caught:
            call()
        assert (caught.value.code, caught.value.fix) == ("SP845", "start it: setpoint up -d")


def test_a_stream_resumes_after_its_last_id(peer: Peer) -> None:
    """When the line breaks the client comes back with Last-Event-ID, and `end` ends it."""
    peer.answers.append((200, "text/event-stream", b": hello\n\nid: 1\nevent: a\ndata: one\n\nid: 2\ndata: half"))
    peer.answers.append((503, "text/plain", b"restarting"))
    peer.answers.append((200, "text/event-stream", b"id: 2\ndata: two\ndata: lines\n\nid: 3\nevent: end\ndata: done\n\n"))
    events = list(peer.api.stream("events/stream", {"subject": "r-1"}))
    assert events == [ServerEvent("1", "a", "one"), ServerEvent("2", "message", "two\nlines"), ServerEvent("3", "end", "done")]
    assert [headers.get("Last-Event-ID") for _, _, headers, _ in peer.asked] == [None, "1", "1"]
    assert peer.waits == [0.25, 0.5]


def test_a_stream_ends_at_204_and_refusals_are_not_tried_again(peer: Peer) -> None:
    """204 means that there is nothing more; 404 is an error at once."""
    peer.answers.append((204, "", b""))
    assert list(peer.api.stream("x", last_id="7")) == []
    peer.json({"code": "SP1", "detail": "none"}, 404)
    with pytest.raises(NotFoundError):
        list(peer.api.stream("x"))
    assert len(peer.asked) == 2


def test_a_stream_that_only_breaks_is_given_up(peer: Peer) -> None:
    """A server that accepts and closes without an event is an error after some tries, not an endless loop."""
    peer.answers += [(200, "text/event-stream", b"")] * 10
    with pytest.raises(WorldError, match="SP846"):
        list(peer.api.stream("x"))
    assert max(peer.waits) == 4.0


def test_event_lines_are_read_as_the_standard_says() -> None:
    """Comments, unknown fields, missing spaces, CRLF, empty data and ids that stay: as in the WHATWG text."""
    lines = [
        b": c\r\n",
        b"data:a\r\n",
        b"data\r\n",
        b"x: y\r\n",
        b"\r\n",
        b"event: e\n",
        b"\n",
        b"id: 4\n",
        b"data:  b\n",
        b"\n",
        b"data: cut",
    ]
    assert list(events_of(lines, "3")) == [ServerEvent("3", "message", "a\n"), ServerEvent("4", "message", " b")]
