"""plan, diff and evidence on a live home: what a promotion would change, what is not live as pinned, and evidence that leaves the house."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from live_home import FAILING, LiveHome, wait_for
from setpoint.adapters.host.haproxy_socket import MasterSocket
from setpoint.app.home import Home
from setpoint.cli.main import run

ROOT = Path(__file__).resolve().parents[2]


def ask(live: LiveHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    """Run a verb against the live home and return its exit code and standard output."""
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    code = run(words)
    return code, capsys.readouterr().out


def test_plan_names_image_commits_fields_and_replicas(
    live: LiveHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first everything is created; for a second release there are digest, commit, fields and replicas, and no secret is shown."""
    live.release("one")
    live.serves("staging", "one")
    wait_for("the first candidate of production", lambda: live.cell("production")["waiting"])
    first = json.loads(ask(live, capsys, monkeypatch, "plan", "hello", "production", "--json")[1])
    assert {change["action"] for change in first["objects"]} == {"create"}
    assert [(change["start"], change["stop"]) for change in first["workloads"]] == [(1, 0)]
    live.approve()
    live.serves("production", "one")
    code, text = ask(live, capsys, monkeypatch, "plan", "hello", "production")
    assert (code, "nothing to promote" in text) == (0, True)
    overlay = (live.work / "delivery" / "apps" / "hello" / "hello.yaml").read_text()
    live.commit("delivery", {"apps/hello/hello.yaml": _with_environment(overlay)}, "settings", who="sam")
    commit = live.release("two", "say it twice")
    live.serves("staging", "two")
    both = "APP_PASSWORD"
    plan = wait_for("the second candidate", lambda: _plan_with(live, both))
    assert plan["images"][0]["after"] == live.cell("staging")["artifacts"]["web"]
    assert [(one["commit"], one["title"]) for one in plan["commits"]] == [(commit, "say it twice")]
    fields = {field["path"]: (field["before"], field["after"]) for change in plan["objects"] for field in change["fields"]}
    place = "spec.template.spec.containers[hello]"
    assert fields[f"{place}.env[APP_PASSWORD].value"] == (None, "***")
    assert fields[f"{place}.env[LOUD].value"] == (None, "1")
    assert f"{place}.image" in fields
    assert [(change["start"], change["stop"]) for change in plan["workloads"]] == [(1, 1)]
    assert "hunter2" not in json.dumps(plan)
    assert ask(live, capsys, monkeypatch, "plan", "hello", "production")[0] == 0


def _with_environment(manifests: str) -> str:
    env = "image: web\n          env: [{name: APP_PASSWORD, value: hunter2}, {name: LOUD, value: '1'}]"
    return manifests.replace("image: web", env, 1)


def _plan_with(live: LiveHome, word: str) -> dict[str, Any] | None:
    plan: dict[str, Any] = live.api().get("/api/v1/plan/hello/production")
    return plan if word in json.dumps(plan["objects"]) and plan["commits"] else None


def test_diff_sees_a_weight_that_was_changed_by_hand(
    live: LiveHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pinned is exit code 0; a weight changed through the proxy's own socket is found and named."""
    wait_for("production as pinned", lambda: not live.api().get("/api/v1/diff/hello/production")["differences"])
    assert ask(live, capsys, monkeypatch, "diff", "hello", "production")[0] == 0
    socket = MasterSocket(Home(live.home).proxies / "production")
    line = socket.ask_worker("show servers state").splitlines()[2].split()

    def found() -> list[dict[str, str]]:
        socket.ask_worker(f"set server {line[1]}/{line[3]} weight 7")  # again each time, for the loop takes it back
        differences: list[dict[str, str]] = live.api().get("/api/v1/diff/hello/production")["differences"]
        return differences

    seen = wait_for("the difference", found)
    assert [(one["field"], one["live"].partition(", ")[2]) for one in seen] == [("traffic", "weight 7")]


def test_evidence_lists_every_bundle_and_leaves_the_house(
    live: LiveHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tree has each role's bundle, verified; the tar is the same twice, holds what its page names, and every digest is right."""
    code, text = ask(live, capsys, monkeypatch, "evidence", "hello", "--in", "production")
    assert code == 0
    assert "NOT VERIFIED" not in text
    answer = live.api().get("/api/v1/evidence", {"thing": "hello", "environment": "production"})
    bundles = [bundle for subject in answer["subjects"] for bundle in subject["bundles"]]
    assert {bundle["signer"] for bundle in bundles} == {"builder", "scanner", "gate", "approval"}
    promotion, image = live.cell("production")["promotion"], live.cell("production")["artifacts"]["web"]
    same = live.api().get("/api/v1/evidence", {"thing": promotion})
    assert [subject["digest"] for subject in same["subjects"]] == [subject["digest"] for subject in answer["subjects"]]
    assert live.api().get("/api/v1/evidence", {"thing": image})["subjects"][0]["bundles"] == answer["subjects"][0]["bundles"]
    assert live.api().get("/api/v1/evidence", {"thing": "latest"})["subjects"]
    file, again = tmp_path / "evidence.tar", tmp_path / "again.tar"
    for place in (file, again):
        assert ask(live, capsys, monkeypatch, "evidence", "hello", "--in", "production", "--export", str(place))[0] == 0
    assert file.read_bytes() == again.read_bytes()
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path, filter="data")
    for name in [*(tmp_path / "evidence" / "bundles").iterdir(), *(tmp_path / "evidence" / "manifests").iterdir()]:
        assert name.name.startswith(f"sha256-{hashlib.sha256(name.read_bytes()).hexdigest()}.")
    assert ask(live, capsys, monkeypatch, "evidence", "nothing")[0] == 2


def test_cosign_accepts_the_export_by_the_commands_of_its_page(live: LiveHome, tmp_path: Path) -> None:
    """Every command of its README passes without a network, also for a run that built nothing; the key of another role does not."""
    cache = Path(os.environ.get("SETPOINT_CACHE", ROOT / ".cache"))
    built = sorted(cache.glob("cosign-*"), key=lambda path: path.stat().st_mtime)
    cosign = shutil.which("cosign") or (str(built[-1]) if built else None)
    if cosign is None:
        pytest.skip("INCOMPLETE: needs cosign (make interop builds it)")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cosign").symlink_to(Path(cosign).resolve())
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:1"}
    live.commit("hello", {"tests.sh": FAILING}, "a failing test")
    failed = wait_for("the failed run", lambda: next((r for r in live.api().get("/api/v1/runs") if r["state"] == "failed"), None))
    for name, query, least in (("pin", {"thing": "hello", "environment": "production"}, 4), ("run", {"thing": failed["run"]}, 1)):
        data = live.api().read("/api/v1/evidence/export", query)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(tmp_path / name, filter="data")
        folder = tmp_path / name / "evidence"
        commands = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        assert len(commands) >= least
        for command in commands:
            done = subprocess.run(["sh", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, command + done.stderr
        wrong = re.sub(r"keys/\w+", "keys/journal" if (folder / "keys" / "journal.pub").exists() else "keys/gate", commands[0])
        assert subprocess.run(["sh", "-euc", wrong], cwd=folder, env=environment, capture_output=True, check=False).returncode != 0
