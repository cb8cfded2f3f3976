"""Preview environments on a live home: from a trusted push to the end of the branch, with the template's gates and a signed way out."""

import http.client
import socket
import subprocess
from typing import Any

import pytest

from live_home import APP, PIPELINE, TESTS, LiveHome, wait_for
from setpoint.core.errors import NotAllowedError

GENERATOR = """
apiVersion: setpoint.dev/v1alpha1
kind: Generator
previews:
  repository: hello
  branches: ["feature/*"]
  like: staging
  ttl: %s
  grace: 1s
  ports: "%s"
"""
BRANCHES = PIPELINE.replace("branches: [main]", 'branches: [main, "feature/*"]')
UNTESTED = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
on: {push: {branches: ["feature/*"]}}
tasks:
  test:
    inputs: [app.py]
    run: "true"
artifacts:
  web:
    needs: [test]
    image:
      base: host
      copy: {"app.py": /app/}
      command: [python3, app.py]
"""
NAME = "preview-feature-x"


def _ports() -> str:
    """Return a range of three ports on which nothing listens now."""
    for first in range(21_000, 31_000, 7):
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return f"{first}-{first + 2}"
    pytest.fail("no three ports are free")


def _push(live: LiveHome, branch: str, files: dict[str, str], who: str) -> str:
    """Commit files on a branch of the source and push it; returns the commit."""
    folder = live.work / "hello"
    live.git(folder, "checkout", "-q", "-B", branch, who=who)
    for path, text in files.items():
        (folder / path).write_text(text)
    live.git(folder, "add", "-A", who=who)
    live.git(folder, "commit", "-qm", f"change of {who}", "--allow-empty", who=who)
    live.git(folder, "push", "-q", "origin", branch, who=who)
    return live.git(folder, "rev-parse", "HEAD", who=who).stdout.strip()


def _preview(live: LiveHome, name: str = NAME) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = live.api().get("/api/v1/previews")
    return next((one for one in found if one["environment"] == name), None)


def _port(live: LiveHome) -> int:
    found = _preview(live)
    assert found is not None
    return int(found["url"].rpartition(":")[2])


def _untrusted(live: LiveHome) -> list[str]:
    needs = live.api().get("/api/v1/status")["needs"]
    return [need["what"] for need in needs if "was pushed by dana@example.com" in need["what"]]


def _pins(live: LiveHome) -> str:
    folder = live.home / "repositories" / "delivery.git"
    return live.git(folder, "ls-tree", "-r", "--name-only", "main", "pins", who="sam").stdout


def test_an_untrusted_branch_makes_none_and_a_trusted_push_makes_one(live: LiveHome) -> None:
    """Dana owns no staging: told, and nothing runs. Sam pushes on top: built, gated, pinned by digest, served at an address of its own."""
    live.release("one")
    live.serves("staging", "one")
    live.commit("delivery", {"generators/preview.yaml": GENERATOR % ("7d", _ports())}, "previews", who="sam")
    _push(live, "feature/x", {"app.py": APP % "two", "tests.sh": TESTS, ".setpoint/pipeline.yaml": BRANCHES}, "dana")
    wait_for("the reason", lambda: _untrusted(live))
    assert _preview(live) is None
    commit = _push(live, "feature/x", {"app.py": APP % "three"}, "sam")
    found = wait_for("the preview", lambda: _preview(live))
    assert (found["branch"], found["commit"], found["applications"]) == ("feature/x", commit, ["hello"])
    port = _port(live)
    wait_for("its answer", lambda: live.answer(port)[0] == "three")
    headers = live.answer(port)[1]
    assert (headers["setpoint-environment"], headers["setpoint-revision"]) == (NAME, commit)
    wait_for("its health", lambda: live.cell(NAME)["health"] == "healthy")
    digest = live.cell(NAME)["artifacts"]["web"]
    folder = live.home / "repositories" / "delivery.git"
    assert digest in live.git(folder, "show", f"main:pins/{NAME}/hello.yaml", who="sam").stdout
    assert live.answer(live.staging)[0] == "one"
    assert "GENERATED" in live.codes(NAME)


def _page(live: LiveHome, path: str, cookie: str) -> str:
    """Return a page as a logged-in browser gets it."""
    connection = http.client.HTTPConnection("127.0.0.1", live.listen, timeout=30)
    try:
        connection.request("GET", path, headers={"Cookie": cookie})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


def _cookie(live: LiveHome, who: str) -> str:
    """Return the cookie of a person who followed a login link."""
    path = live.api(who).post("/api/v1/login-links")["path"]
    connection = http.client.HTTPConnection("127.0.0.1", live.listen, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return (response.getheader("Set-Cookie") or "").partition(";")[0]
    finally:
        connection.close()


def _setpoint(live: LiveHome, *argv: str) -> str:
    """Return what the command line prints."""
    command = [live.python, "-m", "setpoint.cli.main", *argv, "--home", str(live.home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_command_line_and_pages_list_it(live: LiveHome) -> None:
    """Branch, commit, age, end and address; buttons for who may, none for others; a matrix without a column for what comes and goes."""
    port, found = _port(live), _preview(live)
    assert found is not None
    for text in (_setpoint(live, "preview", "list"), _setpoint(live, "status")):
        assert {NAME, "feature/x", found["commit"][:7], f"http://127.0.0.1:{port}"} <= set(text.split())
    assert f"  {NAME}  branch feature/x" in _setpoint(live, "generator", "show", "preview")
    why = next(one for one in live.why(NAME)["reasons"] if one["code"] == "GENERATED")
    assert f"of branch feature/x at {found['commit'][:12]}; it ends at " in why["found"]
    home = _page(live, "/", _cookie(live, "sam"))
    assert f"/why/hello/{NAME}" in home
    assert f'<th scope="col">{NAME}</th>' not in home
    may, other = _page(live, "/generators", _cookie(live, "sam")), _page(live, "/generators", _cookie(live, "dana"))
    assert f"/previews/{NAME}/word" in may
    assert ('value="end"' in may, 'value="end"' in other) == (True, False)


def test_a_gate_weakened_in_the_branch_has_no_effect(live: LiveHome) -> None:
    """Without tests the branch's artifact does not pass the template's policy; an untrusted push moves nothing; what ran serves on."""
    _push(live, "feature/x", {"app.py": APP % "untested", ".setpoint/pipeline.yaml": UNTESTED}, "sam")
    wait_for("the refusal", lambda: "POLICY_FAILED" in live.codes(NAME))
    assert live.answer(_port(live))[0] == "three"
    _push(live, "feature/x", {"app.py": APP % "strange", ".setpoint/pipeline.yaml": BRANCHES}, "dana")
    wait_for("the reason", lambda: _untrusted(live))
    found = _preview(live)
    assert found is not None
    assert live.answer(_port(live))[0] == "three"
    commit = _push(live, "feature/x", {"app.py": APP % "four"}, "sam")
    wait_for("the move", lambda: (_preview(live) or {}).get("commit") == commit)
    wait_for("four", lambda: live.answer(_port(live))[0] == "four")


def test_a_deleted_branch_ends_it_with_its_replicas_address_and_pins(live: LiveHome) -> None:
    """After the grace: nothing runs, nothing listens, the pins are gone by a commit that Setpoint signed; also over a killed server."""
    port = _port(live)
    live.git(live.work / "hello", "push", "-q", "origin", "--delete", "feature/x", who="dana")
    wait_for("its end", lambda: (found := _preview(live)) is None or found["ending"])
    live.stop(kill=True)
    (live.home / "setpoint.db").unlink()
    live.start()
    wait_for("nothing left of it", lambda: _preview(live) is None)
    assert NAME not in _pins(live)
    assert "pins/staging/hello.yaml" in _pins(live)
    assert live.answer(port)[0] == ""
    replicas = live.api().get("/api/v1/replicas")
    assert not [one for one in replicas if one["spec"]["identity"]["environment"] == NAME]
    status = live.api().get("/api/v1/status")
    assert (NAME in status["environments"], status["orphans"]) == (False, [])
    folder = live.home / "repositories" / "delivery.git"
    allowed = live.work / "allowed_signers"
    allowed.write_text(live.git(folder, "show", "main:pins/allowed_signers", who="sam").stdout)
    removal = live.git(folder, "log", "-1", "--format=%H", f"--grep=Remove the pins of {NAME}", "main", who="sam").stdout.strip()
    live.git(folder, "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", removal, who="sam")


def test_a_person_extends_and_ends_one_and_its_time_ends_it_too(live: LiveHome) -> None:
    """Only who may roll back there; an ended one comes back by a push; a shorter time to live ends what is older than that."""
    _push(live, "feature/x", {"app.py": APP % "five"}, "sam")
    found = wait_for("the preview", lambda: _preview(live))
    with pytest.raises(NotAllowedError, match="SP514"):
        live.api("dana").post(f"/api/v1/previews/{NAME}/extend", {"for_s": 60})
    longer = live.api("sam").post(f"/api/v1/previews/{NAME}/extend", {"for_s": 20 * 86_400, "message": "a demo"})
    assert longer["expires_at"] > found["expires_at"]
    wait_for("five", lambda: live.answer(_port(live))[0] == "five")
    live.api("sam").post(f"/api/v1/previews/{NAME}/end", {"message": "seen"})
    wait_for("its end", lambda: _preview(live) is None)
    assert NAME not in _pins(live)
    commit = _push(live, "feature/x", {"app.py": APP % "six"}, "sam")
    wait_for("another", lambda: (_preview(live) or {}).get("commit") == commit)
    wait_for("six", lambda: live.answer(_port(live))[0] == "six")  # or its pin comes between the next pull and push
    ports = (live.work / "delivery" / "generators" / "preview.yaml").read_text().partition('ports: "')[2].partition('"')[0]
    live.commit("delivery", {"generators/preview.yaml": GENERATOR % ("1s", ports)}, "shorter", who="sam")
    wait_for("its time", lambda: _preview(live) is None)
    kinds = [entry["kind"] for entry in live.journal()]
    assert {"preview.extended", "preview.ended", "preview.unpinned"} <= set(kinds)
