"""A small API on a real socket for the verbs' tests."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest


class FakeApi:
    """Answers by (method, path) with JSON or, for a str, an event stream; keeps requests as (method, target, body)."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.problems: dict[str, int] = {}
        self.asked: list[tuple[str, str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                api.asked.append((self.command, self.path, json.loads(body) if body else None))
                path = urlsplit(self.path).path.removeprefix("/api/v1/")
                value = api.answers.get((self.command, path), {"code": "SP999", "detail": f"no {path}"})
                self.send_response(api.problems.get(path, 200 if (self.command, path) in api.answers else 404))
                self.end_headers()
                self.wfile.write(value.encode() if isinstance(value, str) else json.dumps(value).encode())

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def fake_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """A running API that SETPOINT_URL and SETPOINT_TOKEN name."""
    made = FakeApi()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("SETPOINT_URL", made.url)
    monkeypatch.setenv("SETPOINT_TOKEN", "sp_t")
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()
