"""The published OpenAPI document, played against a live home by schemathesis: no 5xx, and every answer is what the document says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from live_home import LiveHome, wait_for

ROOT = Path(__file__).resolve().parents[2]
SECONDS = os.environ.get("SETPOINT_API_SECONDS", "60")
SEED = os.environ.get("SETPOINT_API_SEED", "1")
ENDLESS = "/api/v1/events/stream"
CONFIG = """
[parameters]
host = "127.0.0.1:9"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 403, 404, 409]
"""
"""A call that fits the document may still be refused for what the home holds: 400 says so in words. The host is one where nobody listens:
a login is tried, and tests speak to no other machine."""


def play(live: LiveHome, folder: Path, config: str, *more: str) -> None:
    """Have schemathesis play the document with a token of its own; what it found fails the test."""
    (folder / "schemathesis.toml").write_text(config)
    guest = live.api().post("/api/v1/tokens", {"kind": "operator", "name": "schemathesis"})["token"]
    argv = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml"),
        *("run", str(ROOT / "docs" / "openapi.json"), "--url", live.ready["url"], "--header", f"Authorization: Bearer {guest}"),
        *("--exclude-path", ENDLESS, "--seed", SEED, "--continue-on-failure"),
        *("--request-timeout", "20", "--no-color", "--warnings", "off", *more),
    ]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"SETPOINT_API_SEED={SEED}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert "Tested: " in done.stdout


@pytest.fixture(scope="module")
def serving(live: LiveHome) -> LiveHome:
    """A home whose staging serves, so that every kind of thing can be asked for."""
    live.release("one")
    live.serves("staging", "one")
    wait_for("a promotion of production", lambda: live.cell("production")["waiting"])
    return live


@pytest.mark.slow
def test_what_is_there_is_told_as_the_document_says(serving: LiveHome, tmp_path: Path) -> None:
    """Every reading call, asked for things that exist: the answers fit their schemas to the last field."""
    cell = serving.cell("staging")
    replica = serving.api().get("/api/v1/replicas")[0]["spec"]["replica"]
    known = {
        "application": "hello",
        "environment": "staging",
        "run": "latest",
        "task": "test",
        "thing": cell["artifacts"]["web"],
        "commit": cell["revision"],
        "promotion": cell["promotion"],
        "replica": replica,
    }
    parameters = "\n".join(f"{name} = {json.dumps(value)}" for name, value in known.items())
    few = ("--include-method", "GET", "--mode", "positive", "--phases", "coverage,fuzzing", "--max-time", "20", "--max-examples", "10")
    play(serving, tmp_path, CONFIG.replace("[parameters]", f"[parameters]\n{parameters}"), *few)


@pytest.mark.slow
def test_every_call_answers_as_the_document_says(serving: LiveHome, tmp_path: Path) -> None:
    """Good, bad and missing values in every call (but the endless stream): no 5xx, no undeclared status, no answer off its schema."""
    play(serving, tmp_path, CONFIG, "--max-time", SECONDS, "--max-examples", "30")
    assert serving.api().get("/api/v1/whoami")["kind"] == "operator"
    assert serving.answer(serving.staging)[0] == "one"
    assert serving.api().get("/api/v1/journal/check")["holds"] is True


def test_a_wrong_method_is_told_all_right_ones(live: LiveHome) -> None:
    """405 names every method of a path (RFC 9110 10.2.1), also where each is a route of its own."""
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(f"{live.ready['url']}/api/v1/promotions", method="PATCH"), timeout=20)
    assert (caught.value.code, caught.value.headers["Allow"]) == (405, "GET, POST")
    assert json.loads(caught.value.read())["code"] == "SP865"


def test_anonymous_callers_learn_only_that_the_server_answers(live: LiveHome) -> None:
    """Neither the API nor the metrics nor the document about them answers somebody without a token."""
    for path in ("/api/v1/status", "/metrics", "/openapi.json"):
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{live.ready['url']}{path}", timeout=20)
        assert caught.value.code in {401, 404}, path
        caught.value.close()
