"""A live home for flow and end-to-end tests: a real server in its own process, real Git, sandbox, registry, signer, replicas and proxy.

Used through the `live` fixture of tests/flow; nothing in it is a fake.
"""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from setpoint.adapters import sandbox
from setpoint.client.connection import Connection
from setpoint.client.http import Api

T = TypeVar("T")
WAIT_S = 60.0

PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
on: {push: {branches: [main]}}
tasks:
  test:
    inputs: [app.py, tests.sh]
    run: sh tests.sh
    evidence: {tests: report.xml}
artifacts:
  web:
    needs: [test]
    image:
      base: host
      copy: {"app.py": /app/}
      command: [python3, app.py]
"""
TESTS = """
cat > report.xml <<EOF
<testsuite name="t" tests="2"><testcase classname="t" name="one"/><testcase classname="t" name="two"/></testsuite>
EOF
"""
FAILING = """
cat > report.xml <<EOF
<testsuite name="t" tests="1"><testcase classname="t" name="one"><failure message="no"/></testcase></testsuite>
EOF
exit 1
"""
APP = """
import http.server, os, signal, sys, threading

TEXT = b"%s"

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(TEXT)))
        self.end_headers()
        self.wfile.write(TEXT)
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *args: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
SETPOINT_FILE = """
apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps:
  hello: {source: hello}
people:
  dana: {emails: [dana@example.com]}
  sam: {emails: [sam@example.com]}
teams:
  developers: [dana]
  sre: [sam]
owners: [team:sre]
"""
ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:%d"}}
owners: [team:sre]
gates:
  policy: evidence.tests.failed == 0 && evidence.tests.total > 0
"""
PRODUCTION = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:%d"}}
after: [staging]
owners: [team:sre]
gates:
  policy: evidence.tests.failed == 0
  checks: [{http: {path: /, status: 200}}]
  approvals: {required: 1, from: [team:sre]}
"""
MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 1
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: hello
          image: web
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hello}
spec:
  rules:
    - backendRefs: [{name: hello, port: 80}]
"""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, look: Callable[[], T | None], limit_s: float = WAIT_S) -> T:
    """Return the first true answer of look(); fail when it does not come."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {limit_s} s")


@dataclass
class LiveHome:
    """A home with a server, a source repository `hello` and a delivery repository."""

    work: Path
    staging: int = field(default_factory=free_port)
    production: int = field(default_factory=free_port)
    listen: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    ready: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    launch: dict[str, Any] = field(default_factory=dict)
    """How its processes are started: more arguments of Popen, such as `env`, `umask` and `user`."""

    options: tuple[str, ...] = ()
    """More options of `setpoint up`."""

    @property
    def home(self) -> Path:
        """The home's folder."""
        return self.work / "home"

    def start(self) -> None:
        """Start the server and wait until it serves."""
        ready = self.work / "ready.json"
        ready.unlink(missing_ok=True)
        argv = [
            self.python,
            "-m",
            "setpoint.cli.main",
            "up",
            "--home",
            str(self.home),
            "--listen",
            f"127.0.0.1:{self.listen}",
            "--ready-file",
            str(ready),
            *self.options,
        ]
        with (self.work / "server.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self.launch)
        process = self.process
        try:
            wait_for("the server", lambda: ready.exists() or process.poll() is not None)
        except BaseException:
            self.stop(kill=True)  # or it is left running for ever: no fixture has it yet
            raise
        if not ready.exists():
            pytest.fail((self.work / "server.log").read_text())
        self.ready = json.loads(ready.read_text())

    def stop(self, *, kill: bool = False) -> None:
        """End the server only, by SIGTERM or SIGKILL."""
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(30)
            self.process = None

    def down(self) -> None:
        """Stop everything of the home."""
        self.stop()
        argv = [self.python, "-m", "setpoint.cli.main", "down", "--home", str(self.home)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60, **self.launch)

    def api(self, who: str = "operator") -> Api:
        """Return a client for the operator or a person (`dana`, `sam`)."""
        if who != "operator" and who not in self.tokens:
            body = {"kind": "person", "email": f"{who}@example.com", "name": "test"}
            self.tokens[who] = self.api().post("/api/v1/tokens", body)["token"]
        token = self.tokens.get(who, self.ready["token"])
        return Api(Connection(self.ready["url"], token, self.ready["registry"], self.ready["git"]))

    def git(self, folder: Path, *argv: str, who: str = "dana", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run stock git as a person, with the person's token in the environment."""
        environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "HOME": str(self.work)}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": who.title(), f"GIT_{role}_EMAIL": f"{who}@example.com"}
        token = self.api(who).connection.token if self.ready else ""
        basic = base64.b64encode(f"{who}:{token}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
        done = subprocess.run(["git", *argv], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            pytest.fail(f"git {argv}: {done.stderr}")
        return done

    def commit(
        self, repository: str, files: Mapping[str, str | None], message: str = "change", *, who: str = "dana", push: bool = True
    ) -> str:
        """Write files (None: delete) into the working copy of a repository, commit and push; returns the commit id."""
        folder = self.work / repository
        if not (folder / ".git").exists():
            folder.mkdir(exist_ok=True)
            self.git(folder, "init", "-q", "-b", "main", who=who)
            self.git(folder, "remote", "add", "origin", f"{self.ready['git']}/{repository}.git", who=who)
        elif push:
            self.git(folder, "remote", "set-url", "origin", f"{self.ready['git']}/{repository}.git", who=who)
            self.git(folder, "pull", "-q", "--rebase", "origin", "main", who=who)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).unlink() if text is None else (folder / path).write_text(text)
        self.git(folder, "add", "-A", who=who)
        self.git(folder, "commit", "-qm", message, who=who)
        while push and (done := self.git(folder, "push", "-q", "origin", "main", who=who, check=False)).returncode:
            if "fetch first" not in done.stderr:
                pytest.fail(f"the push of {message!r}: {done.stderr}")
            self.git(folder, "pull", "-q", "--rebase", "origin", "main", who=who)  # a pin came in between
        return self.git(folder, "rev-parse", "HEAD", who=who).stdout.strip()

    def release(self, text: str, message: str = "") -> str:
        """Push an app that answers text; returns the commit id."""
        return self.commit(
            "hello", {"app.py": APP % text, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}, message or f"say {text}"
        )

    def ended(self, commit: str) -> dict[str, Any]:
        """Return the report of a commit's run once it has ended."""

        def look() -> dict[str, Any] | None:
            runs = [run for run in self.api().get("/api/v1/runs") if run["revision"] == commit]
            return self.api().get(f"/api/v1/runs/{runs[0]['run']}") if runs and runs[0]["state"] != "running" else None

        return wait_for("the end of the run", look)

    def answer(self, port: int) -> tuple[str, dict[str, str]]:
        """Return the body and headers that an environment's address answers; empty when nothing does."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            return response.read().decode(), {name.lower(): value for name, value in response.getheaders()}
        except OSError:
            return "", {}
        finally:
            connection.close()

    def cell(self, environment: str) -> dict[str, Any]:
        """Return the matrix's cell of the application in an environment."""
        cells = self.api().get("/api/v1/status")["cells"]
        found: dict[str, Any] = next(cell for cell in cells if cell["environment"] == environment)
        return found

    def why(self, environment: str) -> dict[str, Any]:
        """Return the reasons of an environment."""
        found: dict[str, Any] = self.api().get(f"/api/v1/why/hello/{environment}")
        return found

    def codes(self, environment: str) -> set[str]:
        """Return the codes of all reasons of an environment."""
        return {reason["code"] for reason in self.why(environment)["reasons"]}

    def serves(self, environment: str, text: str) -> dict[str, Any]:
        """Wait until an environment answers text and is healthy; returns its cell."""
        port = self.staging if environment == "staging" else self.production
        wait_for(f"{text} in {environment}", lambda: self.answer(port)[0] == text and self.cell(environment)["health"] == "healthy")
        return self.cell(environment)

    def approve(self) -> dict[str, Any]:
        """Wait until production only lacks an approval, and give it as sam."""
        waiting = wait_for("a promotion that lacks only an approval", self.only_approval_missing)
        found: dict[str, Any] = self.api("sam").post(f"/api/v1/promotions/{waiting}/approve", {"message": "looks good"})
        return found

    def only_approval_missing(self) -> str | None:
        """Return the promotion of production that lacks an approval and nothing else."""
        waiting = self.cell("production")["waiting"]
        only = waiting is not None and [reason["code"] for reason in waiting["reasons"]] == ["APPROVAL_MISSING"]
        return str(waiting["promotion"]) if only else None

    def journal(self) -> list[dict[str, Any]]:
        """Return every journal entry."""
        found: list[dict[str, Any]] = []
        while page := self.api().get("/api/v1/events", {"after": str(found[-1]["index"] if found else 0), "limit": "1000"}):
            found += page
        return found


def new_home(folder: Path, options: tuple[str, ...] = ()) -> LiveHome:
    """Start a server, with more options of `setpoint up`, and push the delivery repository."""
    live = LiveHome(folder, options=options)
    live.start()
    for name in ("hello", "delivery"):
        live.api().post("/api/v1/repositories", {"name": name})
    folder = live.work / "delivery"
    folder.mkdir()
    files = {
        "setpoint.yaml": SETPOINT_FILE,
        "environments/staging/environment.yaml": ENVIRONMENT % live.staging,
        "environments/production/environment.yaml": PRODUCTION % live.production,
        "apps/hello/hello.yaml": MANIFESTS,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    bare = live.home / "repositories" / "delivery.git"
    environment = {**os.environ, "HOME": str(live.work)}
    for argv in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=Sam", "-c", "user.email=sam@example.com", "commit", "-qm", "desired"],
    ):
        subprocess.run(["git", *argv], cwd=folder, check=True, env=environment)
    subprocess.run(["git", "push", "-q", str(bare), "main"], cwd=folder, check=True, env=environment)
    subprocess.run(["git", "remote", "add", "origin", f"{live.ready['git']}/delivery.git"], cwd=folder, check=True, env=environment)
    live.api().post("/api/v1/delivery", {"repository": "delivery"})
    return live


@contextmanager
def running_home(**programs: Path) -> Iterator[LiveHome]:
    """Give a home whose server runs, and take it down; programs are found on the PATH of the server by their names, before all others."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    folder = Path(tempfile.mkdtemp(prefix="setpoint-flow-"))
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        if programs:
            (folder / "bin").mkdir()
            for name, program in programs.items():
                (folder / "bin" / name).symlink_to(program)
            patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        found = new_home(folder)
        try:
            yield found
        finally:
            patch.undo()
            found.down()
            shutil.rmtree(folder, ignore_errors=True)
