"""The thin HTTP client of the API: JSON in and out, problems turned back into errors, streams that resume.

Called by every verb of the command line. It uses the standard library only (an import budget), keeps no state but the connection, and
never follows a redirect.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from setpoint.client.connection import Connection
from setpoint.client.sse import ServerEvent, events_of
from setpoint.core.errors import ConfigError, ConflictError, Finding, NotAllowedError, NotFoundError, SetpointError, UserError, WorldError

_TIMEOUT_S: Final = 30.0
_STREAM_TIMEOUT_S: Final = 60.0
"""The server sends a comment every 15 s; four missed ones mean that the line is dead."""
_STEADY_S: Final = 10.0
"""A stream that stood this long was a good one, even when nothing happened on it."""
_MAX_BYTES: Final = 64 << 20
_LINE_BYTES: Final = 4 << 20
_TRIES: Final = 6

_LOOK_AGAIN: Final = "SP003"

_OVER: Final = ServerEvent("", "end", "")

Query = Mapping[str, str | int | bool | None]


class Api:
    """The API of one server, under /api/v1; a path may be given with or without that prefix."""

    def __init__(self, connection: Connection, timeout_s: float = _TIMEOUT_S, sleep: Callable[[float], None] = time.sleep) -> None:
        self.connection = connection
        self._timeout_s = timeout_s
        self._sleep = sleep

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON of a GET; query values that are None are left out.

        Raises:
            SetpointError: the family that the problem's status stands for; WorldError when nothing answers.
        """
        return self._call("GET", _target(path, query), None)

    def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON that answers a POST of body; None when the answer is empty."""
        return self._call("POST", _target(path, None), body)

    def put(self, path: str, body: Any) -> Any:
        """Return the JSON that answers a PUT of body."""
        return self._call("PUT", _target(path, None), body)

    def delete(self, path: str) -> Any:
        """Return the JSON that answers a DELETE; None when the answer is empty."""
        return self._call("DELETE", _target(path, None), None)

    def read(self, path: str, query: Query | None = None) -> bytes:
        """Return the bytes of a GET whose answer is no JSON (a log, a bundle)."""
        return self._exchange("GET", _target(path, query), None)

    def stream(self, path: str, query: Query | None = None, last_id: str = "") -> Iterator[ServerEvent]:
        """Yield server-sent events, resuming after the last id when the connection breaks; ends after an event named `end`, or at 204.

        Raises:
            WorldError: the server stayed away for several tries (SP846), or was not there at first (SP845).
        """
        target = _target(path, query)
        failures, first = 0, True
        while True:
            opened = time.monotonic()
            try:
                for event in self._stretch(target, last_id):
                    if event is _OVER:
                        return
                    failures, last_id = 0, event.id
                    yield event
                    if event.event == "end":
                        return
            except WorldError:
                if first or failures >= _TRIES:
                    raise
            failures = 0 if time.monotonic() - opened > _STEADY_S else failures
            if failures >= _TRIES:
                raise WorldError("SP846", "the server ends the stream again and again", where=self.connection.url, fix="setpoint doctor")
            self._sleep(min(4.0, 0.25 * 2**failures))
            failures, first = failures + 1, False

    def _stretch(self, target: str, last_id: str) -> Iterator[ServerEvent]:
        """Yield the events of one connection until it breaks; `_OVER` when the server says that there is nothing more."""
        with self._open(("GET", target, None), _STREAM_TIMEOUT_S, last_id) as response:
            if response.status == 204:
                yield _OVER
            elif response.status >= 300:
                raise problem(response.status, response.read(_MAX_BYTES), target)
            else:
                yield from events_of(_lines(response), last_id)

    def _call(self, method: str, target: str, body: Any) -> Any:
        """Call once; again when the server looked at what was out of date, wrote nothing, and has mended it."""
        try:
            data = self._exchange(method, target, body)
        except WorldError as error:
            if error.code != _LOOK_AGAIN:
                raise
            data = self._exchange(method, target, body)
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            fix = "is this the address of a Setpoint server?"
            raise WorldError("SP847", "the server's answer is no JSON", where=self.connection.url + target, fix=fix) from error

    def _exchange(self, method: str, target: str, body: Any) -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        with self._open((method, target, data), self._timeout_s) as response:
            try:
                answer = response.read(_MAX_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
        if len(answer) > _MAX_BYTES:
            raise WorldError("SP847", f"the server's answer has more than {_MAX_BYTES} bytes", where=self.connection.url + target)
        if response.status >= 300:
            raise problem(response.status, answer, target)
        return answer

    @contextmanager
    def _open(
        self, call: tuple[str, str, bytes | None], timeout_s: float, last_id: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response to (method, target, body), closed afterwards with its connection; a last_id asks for an event stream."""
        method, target, data = call
        parts = urlsplit(self.connection.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        headers = {
            "Authorization": f"Bearer {self.connection.token}",
            "Accept": "application/json" if last_id is None else "text/event-stream",
        }
        if last_id:
            headers["Last-Event-ID"] = last_id
        if data is not None:
            headers["Content-Type"] = "application/json"
        with closing(kind(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
            try:
                connection.request(method, parts.path + target, data, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            with response:
                yield response

    def _unreachable(self, error: Exception) -> WorldError:
        url = self.connection.url
        if isinstance(error, ConnectionRefusedError):
            return WorldError("SP845", "no server answers", where=url, fix="start it: setpoint up -d")
        text = "the server did not answer in time" if isinstance(error, TimeoutError) else f"the server cannot be reached: {error}"
        return WorldError("SP846", text, where=url, fix="check the address and the server's log: setpoint doctor")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the lines of an open stream; a broken connection is its end, for the caller comes back anyway."""
    try:
        while line := response.readline(_LINE_BYTES):
            yield line
    except (OSError, http.client.HTTPException):
        return


def segment(text: str) -> str:
    """Return a user's word as one segment of a path: nothing in it can reach another path."""
    return quote(text, safe="")


def problem(status: int, body: bytes, target: str) -> SetpointError:
    """Return the error that an RFC 9457 problem stands for, in the family of its status; a body that is none still makes one."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = None
    value: dict[str, Any] = found if isinstance(found, dict) else {}
    told = [text for text in (value.get("title"), value.get("detail")) if isinstance(text, str) and text]
    what = told[0] if told else f"the server answers {status} to {target.partition('?')[0]}"
    code, where, fix = (str(value.get(key) or default) for key, default in (("code", "SP847"), ("where", ""), ("fix", "")))
    findings = value.get("findings")
    if status in {400, 422} and isinstance(findings, list) and findings:
        return ConfigError([_finding(one) for one in findings if isinstance(one, dict)] or [Finding(code, what, where)])
    if status >= 500 or status == 429:
        return WorldError(code, what, where=where, fix=fix)
    if status in {401, 403} and not fix:
        fix = "log in with a token that may: SETPOINT_TOKEN, or --token"
    family = {401: NotAllowedError, 403: NotAllowedError, 404: NotFoundError, 409: ConflictError}.get(status, UserError)
    return family(code, what, where=where, fix=fix)


def _finding(value: dict[str, Any]) -> Finding:
    texts = {key: str(value.get(key) or "") for key in ("code", "what", "path", "source", "fix")}
    numbers = {key: value.get(key) for key in ("line", "column", "length")}
    line, column, length = (number if isinstance(number, int) and number >= 0 else 0 for number in numbers.values())
    return Finding(**texts, line=line, column=column, length=length)


def _target(path: str, query: Query | None) -> str:
    """Return the request target: the path under /api/v1 and the query, white space and line ends encoded."""
    whole = path if path.startswith("/api/") else f"/api/v1/{path.lstrip('/')}"
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (query or {}).items() if value is not None}
    return quote(whole, safe="/%:@-._~") + (f"?{urlencode(words)}" if words else "")
