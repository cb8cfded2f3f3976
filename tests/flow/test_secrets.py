"""Secrets on a live home: set from standard input, given to a task, and nowhere else; the whole home is searched for the value."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_home import LiveHome
from setpoint.cli.main import run as command
from setpoint.core.errors import SetpointError

VALUE = "hunter2/Zx+9 q&7 correct-horse-battery-staple-and-a-tail-that-makes-base64-wrap-its-lines"
PIPELINE = """apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  push:
    inputs: [app.py, show.py]
    secrets: {TOKEN: INDEX_TOKEN}
    run: python3 show.py
    evidence: {tests: report.xml}
  leak:
    inputs: [app.py]
    secrets: [INDEX_TOKEN]
    run: printenv INDEX_TOKEN > out
    outputs: [out]
artifacts:
  web: {needs: [push], image: {base: host, copy: {app.py: /app/}, command: [x]}}
"""
SHOW = """
import base64, json, os, sys, time, urllib.parse
value = os.environ["TOKEN"]
assert len(value) > 60 and "INDEX_TOKEN" not in os.environ
def say(text):
    sys.stdout.write(text); sys.stdout.flush()
say("raw " + value + "\\n")
for piece in (value[:10], value[10:40], value[40:]):
    say(piece); time.sleep(0.2)
say("\\n")
say("b64 " + base64.b64encode(value.encode()).decode() + "\\n")
say("b64 in words " + base64.b64encode(b"user:" + value.encode()).decode() + "\\n")
say(base64.encodebytes(value.encode()).decode())
say("url " + urllib.parse.quote(value, safe="") + " " + urllib.parse.quote_plus(value) + "\\n")
say("hex " + value.encode().hex() + " " + json.dumps(value) + "\\n")
sys.stderr.write(value + "\\n")
with open("report.xml", "w") as file:
    file.write("<testsuite tests='1'><testcase classname='t' name='one'/><system-out><![CDATA[" + value + "]]></system-out></testsuite>")
say("done\\n")
"""


def forms() -> list[bytes]:
    """Return what must be found nowhere: the value, and what gives it away."""
    import base64
    import urllib.parse

    encoded = base64.b64encode(VALUE.encode())
    return [VALUE.encode(), encoded[:60], VALUE.encode().hex().encode(), urllib.parse.quote(VALUE, safe="").encode()]


def traces(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file below a folder that holds the value in some form."""
    for root, _folders, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                yield from ((path, form) for form in forms() if form in data)


def test_law_8_a_secret_reaches_the_task_and_nothing_else(
    live: LiveHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log, report, evidence, journal, database, cache and workspaces hold no form of the value; only its own 0600 file does."""
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    monkeypatch.setattr("sys.stdin", io.StringIO(VALUE + "\n"))
    assert command(["secret", "set", "INDEX_TOKEN", "--repository", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    report = live.ended(live.commit("hello", {".setpoint/pipeline.yaml": PIPELINE, "app.py": "1\n", "show.py": SHOW}))
    rows = {row["task"]: row for row in report["tasks"]}
    log = "".join(
        record["text"] for record in live.api().get(f"/api/v1/runs/{report['run']['run']}/tasks/push/log") if record["stream"] != "note"
    )
    assert rows["push"]["state"] == "passed", (rows, log)
    assert "done" in log
    assert "raw ***" in log
    assert rows["leak"]["state"] == "failed"
    assert "the outputs hold the value" in rows["leak"]["reason"]
    for form in forms():
        assert form.decode() not in log
    (record,) = [one for one in report["evidence"] if one["predicate_type"].startswith("https://slsa.dev/provenance")]
    assert record["result"] == "PASSED"
    live.stop()
    own = live.home / "secrets" / "hello" / "INDEX_TOKEN" / "1"
    found = [*traces(live.home), *traces(live.home.with_name("home.run")), *traces(live.work)]
    assert {path for path, _ in found} <= {own}
    assert own.stat().st_mode & 0o777 == 0o600
    live.start()


def test_a_new_version_runs_the_task_again_and_a_removed_one_fails_it(
    live: LiveHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key covers name and version; the list shows both; a person may neither set nor see."""
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    only = PIPELINE[: PIPELINE.index("  leak:")] + PIPELINE[PIPELINE.index("artifacts:") :]
    report = live.ended(live.commit("hello", {".setpoint/pipeline.yaml": only}))
    assert [row["state"] for row in report["tasks"]] == ["reused"]
    monkeypatch.setattr("sys.stdin", io.StringIO(VALUE + "-new\n"))
    assert command(["secret", "set", "INDEX_TOKEN", "-r", "hello"]) == 0
    report = live.ended(live.commit("hello", {"README": "1"}))
    assert [row["state"] for row in report["tasks"]] == ["passed"]
    capsys.readouterr()
    assert command(["secret", "list"]) == 0
    shown = capsys.readouterr().out
    assert "INDEX_TOKEN" in shown
    assert VALUE not in shown
    with pytest.raises(SetpointError, match="SP804"):
        live.api("sam").put("secrets/hello/INDEX_TOKEN", {"value": VALUE})
    with pytest.raises(SetpointError, match="SP804"):
        live.api("sam").get("secrets")
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert command(["secret", "set", "INDEX_TOKEN", "-r", "hello"]) == 2
    assert command(["secret", "remove", "INDEX_TOKEN", "-r", "hello"]) == 0
    report = live.ended(live.commit("hello", {"README": "2"}))
    assert [row["reason"] for row in report["tasks"]] == ["SP252: `hello` has no secret `INDEX_TOKEN`"]
    kinds = [entry["kind"] for entry in live.journal() if entry["kind"].startswith("secret.")]
    assert kinds == ["secret.set", "secret.set", "secret.removed"]
