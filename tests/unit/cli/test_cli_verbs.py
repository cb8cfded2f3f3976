"""The verbs token, runs and events against an API on a real socket."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from setpoint.cli.main import run
from setpoint.core.clock import to_text

TOKEN = {
    "id": "t-1",
    "kind": "person",
    "email": "ann@example.org",
    "name": "ci",
    "created_at": "2026-11-23T06:00:00.000Z",
    "revoked_at": None,
}


def entry(index: int, at: str = "2026-11-23T06:00:00.000Z") -> dict[str, Any]:
    """Return a journal entry as the API gives it."""
    body = {"kind": "person", "name": "x\x1b[2J", "nested": {"a": 1}}
    return {"index": index, "at": at, "kind": "token.created", "subject": "t-1", "actor": "operator", "body": body, "prev": "0"}


def test_token_create_prints_the_token_alone_on_standard_output(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A script can take the token from standard output; --quiet silences the hint, --json gives the record too."""
    fake_api.answers["POST", "tokens"] = {**TOKEN, "token": "sp_new"}
    assert run(["token", "create", "--person", "ann@example.org", "--name", "ci"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "sp_new\n"
    assert "ann@example.org's token" in shown.err
    assert run(["token", "create", "--person", "ann@example.org", "--quiet"]) == 0
    assert capsys.readouterr() == ("sp_new\n", "")
    assert run(["token", "create", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "t-1"
    assert [body for _, _, body in fake_api.asked] == [
        {"kind": "person", "email": "ann@example.org", "name": "ci"},
        {"kind": "person", "email": "ann@example.org", "name": ""},
        {"kind": "operator", "email": "", "name": ""},
    ]


def test_tokens_are_listed_and_revoked(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The list names people and states; revoke asks for exactly that token."""
    revoked = {**TOKEN, "id": "t-2", "kind": "operator", "email": "", "name": "", "revoked_at": TOKEN["created_at"]}
    fake_api.answers["GET", "tokens"] = {"items": [TOKEN, revoked]}
    assert run(["token", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["TOKEN", "WHO", "NAME", "CREATED", "STATE"]
    assert lines[1].split()[:3] == ["t-1", "ann@example.org", "ci"]
    assert lines[1].endswith("live")
    assert "revoked" in lines[2]
    fake_api.answers["DELETE", "tokens/t-1"] = {}
    assert run(["token", "revoke", "t-1"]) == 0
    assert run(["token", "revoke", "../t-1"]) == 2
    assert fake_api.asked[-1][1] == "/api/v1/tokens/..%2Ft-1"


def test_runs_are_a_table(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each run is a line with state, short commit, title and how long it took."""
    one = {
        "run": "r-1",
        "repository": "hello",
        "revision": "0123456789abcdef",
        "title": "say hello",
        "state": "passed",
        "created_at": "2026-11-23T06:00:00.000Z",
        "finished_at": "2026-11-23T06:01:05.000Z",
        "error": "",
    }
    fake_api.answers["GET", "runs"] = {
        "items": [one, {**one, "run": "r-2", "state": "failed", "error": "faulty file", "finished_at": None}]
    }
    assert run(["runs", "hello", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:6] == ["r-1", "passed", "hello", "0123456789ab", "say", "hello"]
    assert lines[1].endswith("1m")
    assert "faulty file" in lines[2]
    assert fake_api.asked == [("GET", "/api/v1/runs?repository=hello&limit=2", None)]
    fake_api.answers["GET", "runs"] = {"items": []}
    assert run(["runs"]) == 0
    assert "no runs yet" in capsys.readouterr().out


def test_events_print_oldest_first_and_harmless(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries are ordered by index; text from outside cannot steer the terminal; filters reach the API."""
    fake_api.answers["GET", "events"] = {"items": [entry(2), entry(1)]}
    assert run(["events", "--after", "0", "--subject", "t-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert "token.created  t-1  operator" in lines[0]
    assert "\x1b" not in lines[0]
    assert fake_api.asked == [("GET", "/api/v1/events?after=0&limit=50&subject=t-1", None)]
    assert run(["events", "--json"]) == 0
    assert [one["index"] for one in json.loads(capsys.readouterr().out)["items"]] == [1, 2]


def test_events_since_leaves_the_old_ones_out(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--since counts back from now."""
    fresh = to_text(datetime.now(UTC) - timedelta(minutes=1))
    fake_api.answers["GET", "events"] = {"items": [entry(1), entry(2, fresh)]}
    assert run(["events", "--since", "10m", "--json"]) == 0
    assert [one["index"] for one in json.loads(capsys.readouterr().out)["items"]] == [2]


def test_events_follow_goes_on_where_the_past_ended(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--follow asks the stream for what comes after the last entry shown, and prints JSON lines when asked."""
    fake_api.answers["GET", "events"] = {"items": [entry(1)]}
    fake_api.answers["GET", "events/stream"] = f"id: 2\nevent: token.created\ndata: {json.dumps(entry(2))}\n\nevent: end\ndata: {{}}\n\n"
    assert run(["events", "--follow", "--json"]) == 0
    assert [json.loads(line)["index"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    assert fake_api.asked[-1][1] == "/api/v1/events/stream?after=1"


def test_events_check_answers_by_exit_code(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole chain is 0; a broken one is 1 and says where, also with --json."""
    fake_api.answers["GET", "journal/check"] = {"entries": 7, "head": "ab", "fault": ""}
    assert run(["events", "--check"]) == 0
    assert "7 entries" in capsys.readouterr().out
    fake_api.answers["GET", "journal/check"] = {"entries": 3, "head": "ab", "fault": "entry 3 is not readable"}
    assert run(["events", "--check"]) == 1
    assert "entry 3 is not readable" in capsys.readouterr().err
    assert run(["events", "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["entries"] == 3


def test_the_apis_refusals_become_exit_codes(fake_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A 403 of the API is exit 4 with its sentence and its fix."""
    fake_api.answers["POST", "tokens"] = {"code": "SP801", "title": "only the operator may", "fix": "ask the operator"}
    fake_api.problems["tokens"] = 403
    assert run(["token", "create"]) == 4
    assert capsys.readouterr().err == "error[SP801]: only the operator may\n  = help: ask the operator\n"


def test_no_server_is_exit_5(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server every verb says how to start one."""
    for name in ("SETPOINT_URL", "SETPOINT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert run(["runs", "--home", str(tmp_path)]) == 5
    assert "setpoint up -d" in capsys.readouterr().err


def test_git_gets_the_homes_token_for_the_homes_server_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The credential helper answers `get` for exactly the server's protocol, host and port, and is silent otherwise."""
    server = {"url": "http://127.0.0.1:7420", "token": "sp_home", "registry": "127.0.0.1:7420", "git": "http://127.0.0.1:7420/git"}
    (tmp_path / "server.json").write_text(json.dumps(server))

    def asked(request: str, action: str = "get", home: Path = tmp_path) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(request))
        assert run(["token", "credential", action, "--home", str(home)]) == 0
        return capsys.readouterr().out

    assert asked("protocol=http\nhost=127.0.0.1:7420\n") == "username=setpoint\npassword=sp_home\n"
    assert asked("protocol=http\nhost=127.0.0.1:7420\nusername=ann\npath=x\n") == "username=ann\npassword=sp_home\n"
    for other in ("protocol=https\nhost=127.0.0.1:7420\n", "protocol=http\nhost=127.0.0.1:7421\n", "protocol=http\nhost=evil\n", "", "x\n"):
        assert asked(other) == ""
    assert asked("protocol=http\nhost=127.0.0.1:7420\n", "store") == ""
    assert asked("protocol=http\nhost=127.0.0.1:7420\n", home=tmp_path / "none") == ""
