"""What a pod of a task may ask of the home: its own attempt, once, while it is open; and a log that has every line exactly once."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.kubernetes.jobs.exchange import OpenTask, TaskExchange, key_of, program
from setpoint.pipeline.model import LogRecord

JOB = f"sp-{'a' * 20}-1"
OTHER = f"sp-{'b' * 20}-1"
AT = "2026-11-25T10:00:00.000Z"


class Pod:
    """A pod that calls an exchange."""

    def __init__(self, exchange: TaskExchange, token: str, uid: str = "u1") -> None:
        self._exchange = exchange
        self._headers = [(b"authorization", f"Bearer {token}".encode()), (b"x-setpoint-pod", uid.encode())]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        headers = [*self._headers, (b"content-length", str(len(data)).encode())]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
        asyncio.run(self._exchange(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def opened(log: list[LogRecord], logged: int = 0) -> tuple[TaskExchange, OpenTask]:
    """Return an exchange with one open attempt, whose records go into log."""
    exchange = TaskExchange(b"k" * 32)
    task = OpenTask({"argv": ["true"], "secret": "value"}, log.extend, logged)
    exchange.open(JOB, task)
    return exchange, task


def out(*texts: str) -> list[list[Any]]:
    """Return records as a pod sends them."""
    return [[number, AT, "out", text] for number, text in enumerate(texts)]


def test_only_the_attempts_own_token_opens_it_and_only_while_it_is_open() -> None:
    """A wrong token and another attempt's are refused; before it is taken over and after it is closed it is not there yet."""
    exchange, _ = opened([])
    assert Pod(exchange, exchange.token(JOB)).call("GET", f"/tasks/{JOB}")[0] == 200
    assert Pod(exchange, exchange.token(OTHER)).call("GET", f"/tasks/{JOB}")[0] == 401
    assert Pod(exchange, "guess").call("GET", f"/tasks/{JOB}")[0] == 401
    assert Pod(exchange, exchange.token(OTHER)).call("GET", f"/tasks/{OTHER}")[0] == 503
    assert Pod(exchange, exchange.token(JOB)).call("GET", "/tasks/../keys")[0] == 401
    assert Pod(exchange, exchange.token(JOB)).call("DELETE", f"/tasks/{JOB}")[0] == 405
    exchange.close(JOB)
    assert Pod(exchange, exchange.token(JOB)).call("GET", f"/tasks/{JOB}")[0] == 503


def test_a_task_is_told_to_one_pod() -> None:
    """The pod that asked first may ask again; a second one of the same attempt is refused, whatever the cluster does."""
    exchange, _ = opened([])
    assert Pod(exchange, exchange.token(JOB), "u1").call("GET", f"/tasks/{JOB}")[0] == 200
    assert Pod(exchange, exchange.token(JOB), "u1").call("GET", f"/tasks/{JOB}")[0] == 200
    assert Pod(exchange, exchange.token(JOB), "u2").call("GET", f"/tasks/{JOB}")[0] == 409
    assert Pod(exchange, exchange.token(JOB), "").call("GET", f"/tasks/{JOB}")[0] == 409


@pytest.mark.parametrize(
    ("path", "method", "query", "status"),
    [
        (f"/v2/tasks/{JOB}/blobs/sha256:{'0' * 64}", "GET", "", 0),
        (f"/v2/tasks/{JOB}/blobs/uploads/", "POST", "digest=sha256:0", 0),
        (f"/v2/tasks/{JOB}/blobs/uploads/", "POST", "", 403),
        (f"/v2/tasks/{JOB}/blobs/uploads/", "POST", "digest=sha256:0&mount=sha256:1&from=hello/web", 403),
        (f"/v2/tasks/{JOB}/blobs/sha256:{'0' * 64}", "DELETE", "", 403),
        (f"/v2/tasks/{JOB}/manifests/latest", "GET", "", 403),
        (f"/v2/tasks/{OTHER}/blobs/sha256:{'0' * 64}", "GET", "", 403),
        ("/v2/hello/web/blobs/sha256:" + "0" * 64, "GET", "", 403),
    ],
)
def test_a_pod_reads_and_adds_blobs_of_its_own_attempt_only(path: str, method: str, query: str, status: int) -> None:
    """Nothing else of the registry is open to it, nor by a mount from elsewhere."""
    exchange, _ = opened([])
    assert exchange.refusal(f"Bearer {exchange.token(JOB)}", path, method, query) == status
    assert exchange.refusal(None, path, method, query) == 403


def test_a_record_that_is_sent_twice_is_written_once() -> None:
    """A resent batch, and one that overlaps what an earlier server wrote, add only what is new; a gap is said."""
    log: list[LogRecord] = []
    exchange, _ = opened(log)
    pod = Pod(exchange, exchange.token(JOB))
    for _ in range(2):
        assert pod.call("POST", f"/tasks/{JOB}/log", {"before": 0, "records": out("a\n", "b\n")})[0] == 200
    assert [record.text for record in log] == ["a\n", "b\n"]
    later: list[LogRecord] = []
    exchange, _ = opened(later, logged=1)
    pod = Pod(exchange, exchange.token(JOB))
    pod.call("POST", f"/tasks/{JOB}/log", {"before": 0, "records": [*out("a\n"), [1, AT, "note", "the log is full\n"], *out("b\n")]})
    pod.call("POST", f"/tasks/{JOB}/log", {"before": 4, "records": out("e\n")})
    assert [(record.stream, record.text) for record in later] == [
        ("note", "the log is full\n"),
        ("out", "b\n"),
        ("note", "2 records are missing here\n"),
        ("out", "e\n"),
    ]
    assert [record.seq for record in later] == [0, 1, 2, 3]


def test_nonsense_is_no_log_and_a_log_that_cannot_be_kept_wakes_who_waits() -> None:
    """What is no record is refused; what the log's keeper raised is the task's answer."""

    def refuse(_: Sequence[LogRecord]) -> None:
        raise OSError("the disk is full")

    exchange = TaskExchange(b"k" * 32)
    task = OpenTask({}, refuse)
    exchange.open(JOB, task)
    pod = Pod(exchange, exchange.token(JOB))
    for body in (b"no JSON", {"before": 0}, {"before": 0, "records": [[0, AT, "in", "x"]]}):
        assert pod.call("POST", f"/tasks/{JOB}/log", body)[0] == 400
    assert pod.call("POST", f"/tasks/{JOB}/log", {"before": 0, "records": out("a\n")})[0] == 200
    assert isinstance(task.failure, OSError)
    assert task.woken.is_set()


def test_the_program_for_pods_stands_alone() -> None:
    """It is this home's own code in one text that needs nothing but a standard library."""
    text = program()
    compile(text, "program", "exec")
    assert "class Masker" in text
    assert "pydantic" not in text


def test_the_key_is_made_once_and_nobody_else_reads_it(tmp_path: Path) -> None:
    """The next start has the same key, so pods that run go on."""
    first = key_of(tmp_path / "pods.key")
    assert key_of(tmp_path / "pods.key") == first
    assert (tmp_path / "pods.key").stat().st_mode & 0o077 == 0
