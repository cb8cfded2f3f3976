"""The published OpenAPI document, played against a live home by schemathesis: no 5xx, and every answer is what the document says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from live_home import LiveHome

ROOT = Path(__file__).resolve().parents[2]
SECONDS = os.environ.get("SETPOINT_API_SECONDS", "60")
SEED = os.environ.get("SETPOINT_API_SEED", "1")
ENDLESS = "/api/v1/events/stream"


@pytest.mark.slow
def test_every_call_answers_as_the_document_says(live: LiveHome, tmp_path: Path) -> None:
    """Good, bad and missing values in every call (but the endless stream): no 5xx, no undeclared status, no answer off its schema."""
    live.release("one")
    live.serves("staging", "one")
    guest = live.api().post("/api/v1/tokens", {"kind": "operator", "name": "schemathesis"})["token"]
    argv = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(ROOT / "tests" / "flow" / "schemathesis.toml")),
        *("run", str(ROOT / "docs" / "openapi.json"), "--url", live.ready["url"], "--header", f"Authorization: Bearer {guest}"),
        *("--exclude-path", ENDLESS, "--max-time", SECONDS, "--max-examples", "30", "--seed", SEED, "--continue-on-failure"),
        *("--request-timeout", "20", "--no-color", "--warnings", "off"),
    ]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"SETPOINT_API_SEED={SEED}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert "Tested: " in done.stdout
    assert live.api().get("/api/v1/whoami")["kind"] == "operator"
    assert live.answer(live.staging)[0] == "one"
    assert live.api().get("/api/v1/journal/check")["holds"] is True


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
