"""The demo: a real application from `git push` to a traceable production and back, with the time of every stage.

Called by tools/demo with the archive of httpbin; it uses only what a user has: the `setpoint` command, stock git, the API and HTTP.
It writes into a temporary folder of its own and stops everything it started when there is no terminal to stay for.
"""

import argparse
import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setpoint.client.connection import Connection
from setpoint.client.http import Api

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "tools" / "httpbin"
SETPOINT = Path(sys.executable).with_name("setpoint")
WAIT_S = 170


@dataclass
class Stage:
    """A line of the closing table."""

    name: str
    seconds: float
    note: str


@dataclass
class Story:
    """What the demo knows while it plays."""

    work: Path
    home: Path
    ports: tuple[int, ...]
    url: str = ""
    stages: list[Stage] = field(default_factory=list)

    @property
    def production(self) -> str:
        """Where production listens."""
        return f"http://127.0.0.1:{self.ports[1]}"


def say(text: str = "") -> None:
    """Tell the story."""
    print(text, flush=True)


def command(text: str) -> None:
    """Show the command a user would type here."""
    say(f"\n$ {text}")


@contextmanager
def stage(story: Story, name: str, note: str = "") -> Iterator[Stage]:
    """Time a stage and keep it for the table."""
    found = Stage(name, 0.0, note)
    began = time.monotonic()
    yield found
    found.seconds = time.monotonic() - began
    story.stages.append(found)


def wait_for(what: str, look: Callable[[], Any], limit_s: float = WAIT_S) -> Any:
    """Return the first true answer of look(); stop the demo when it does not come."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"demo: {what} did not happen within {int(limit_s)} s")


def free_ports(*wanted: int) -> tuple[int, ...]:
    """Return the wanted ports, each moved up until nothing listens on it."""
    found: list[int] = []
    for port in wanted:
        candidate = port
        while candidate in found or not _free(candidate):
            candidate += 10
        found.append(candidate)
    return tuple(found)


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def git(folder: Path, *argv: str, who: str = "Sam <sam@example.com>", token: str = "") -> str:
    """Run stock git in a folder; the token travels in the environment, never in an argument."""
    name, _, email = who.rstrip(">").partition(" <")
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    environment |= {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in (("NAME", name), ("EMAIL", email))}
    if token:
        basic = base64.b64encode(f"{email}:{token}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
    done = subprocess.run(["git", *argv], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"demo: git {argv[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def start_server(story: Story) -> Api:
    """Start `setpoint up -d` and return an API client with the operator's token."""
    ready = story.work / "ready.json"
    (port,) = free_ports(7420)
    argv = [str(SETPOINT), "up", "-d", "--home", str(story.home), "--listen", f"127.0.0.1:{port}", "--ready-file", str(ready)]
    command(f"setpoint up -d --home {story.home} --listen 127.0.0.1:{port}")
    done = subprocess.run(argv, check=False, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    story.url = done.stdout.strip()
    say(story.url)
    found = json.loads(ready.read_text())
    return Api(Connection(found["url"], found["token"], found["registry"], found["git"]))


def as_person(operator: Api, email: str) -> tuple[Api, str]:
    """Make a token for a person and return a client that uses it."""
    token = operator.post("/api/v1/tokens", {"kind": "person", "email": email, "name": "demo"})["token"]
    mine = operator.connection
    return Api(Connection(mine.url, token, mine.registry, mine.git)), token


def delivery_repository(story: Story, operator: Api) -> None:
    """Push the desired state and register it."""
    folder = story.work / "delivery"
    shutil.copytree(FILES / "delivery", folder)
    for environment, standard, port in (("staging", 7501, story.ports[0]), ("production", 7502, story.ports[1])):
        file = folder / "environments" / environment / "environment.yaml"
        file.write_text(file.read_text().replace(f":{standard}", f":{port}"))
    for name in ("httpbin", "delivery"):
        operator.post("/api/v1/repositories", {"name": name})
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Desired state: staging, then production behind an approval")
    git(folder, "push", "-q", f"{operator.connection.git}/delivery.git", "main", token=operator.connection.token)
    operator.post("/api/v1/delivery", {"repository": "delivery"})
    say("delivery repository: staging (tests must pass), production (70 tests, HTTP check, approval of team sre)")


def source_repository(story: Story, archive: Path) -> Path:
    """Commit httpbin as it was published, plus the pipeline file and the hash-locked requirements."""
    with tarfile.open(archive) as file:
        for member in file.getmembers():
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            file.extract(member, story.work)  # its bytes are pinned by hash; `filter` is younger than Python 3.11.2
    folder = story.work / "httpbin-0.10.4"
    (folder / ".setpoint").mkdir()
    shutil.copy(FILES / "pipeline.yaml", folder / ".setpoint" / "pipeline.yaml")
    shutil.copy(FILES / "requirements.lock", folder / "requirements.lock")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-qm", "httpbin 0.10.4, with a pipeline", who="Dana <dana@example.com>")
    return folder


def follow_run(api: Api, commit: str) -> dict[str, Any]:
    """Show the run of a commit live and return its report."""
    run = wait_for("a run", lambda: next((r for r in api.get("/api/v1/runs") if r["revision"] == commit), None))
    said: dict[str, str] = {}
    report: dict[str, Any] = {}
    for event in api.stream(f"/api/v1/runs/{run['run']}/stream"):
        if event.event == "end":
            break
        report = json.loads(event.data)
        for row in report["tasks"]:
            if said.get(row["task"]) != row["state"] and row["state"] != "pending":
                said[row["task"]] = row["state"]
                took = f" in {row['seconds']:.1f} s" if row["seconds"] is not None and row["state"] != "reused" else ""
                say(f"  {row['task']:<8} {row['state']}{took}{'  (' + row['reason'] + ')' if row['reason'] else ''}")
    for artifact in report["artifacts"]:
        say(f"  image    {artifact['oci_repository']}@{artifact['digest'][:19]}  {artifact['size_bytes'] / 1e6:.1f} MB")
    for evidence in report["evidence"]:
        say(f"  evidence {evidence['predicate_type'].split('/')[-2]}: {evidence['result']}, {evidence['summary']}")
    if report["run"]["state"] != "passed":
        sys.exit(f"demo: the run {report['run']['state']}: setpoint log {run['run']} --home shows why\n{report['run']['error']}")
    return report


def cell(api: Api, environment: str) -> dict[str, Any]:
    """Return one cell of the matrix."""
    found: dict[str, Any] = next(c for c in api.get("/api/v1/status")["cells"] if c["environment"] == environment)
    return found


def serving(api: Api, environment: str, version: str) -> None:
    """Wait until an environment serves a version, and say so."""
    found = wait_for(
        f"{version} in {environment}",
        lambda: (c := cell(api, environment))["health"] == "healthy" and c["version"] == version and c,
    )
    say(f"  {environment}: {version} healthy, {found['replicas_ready']} of {found['replicas_wanted']} replicas, {found['url']}")


def why(api: Api, environment: str) -> dict[str, Any]:
    """Print the reasons of an environment and return the answer."""
    command(f"setpoint why httpbin {environment}")
    found: dict[str, Any] = api.get(f"/api/v1/why/httpbin/{environment}")
    say(found["sentence"])
    for number, reason in enumerate(found["reasons"], 1):
        say(f"  {number} {reason['outcome']:<6} {reason['subject']:<24} {reason['found']}")
    say(f"Next: {found['next']}")
    return found


def release(story: Story, people: dict[str, tuple[Api, str]], folder: Path, name: str) -> str:
    """Push what is committed, follow it to staging, have it approved, see it in production; returns its version."""
    dana, dana_token = people["dana"]
    sam, _ = people["sam"]
    commit = git(folder, "rev-parse", "HEAD")
    command("git push origin main            # as Dana, the developer")
    with stage(story, f"{name}: push to tested image", "70 tests, signed evidence"):
        git(folder, "push", "-q", f"{dana.connection.git}/httpbin.git", "main", who="Dana <dana@example.com>", token=dana_token)
        report = follow_run(dana, commit)
    version = str(report["artifacts"][0]["version"])
    with stage(story, f"{name}: staging serves it", "signed pin, rolling update"):
        serving(dana, "staging", version)
    with stage(story, f"{name}: gates of production", "policy, HTTP check, then a person"):
        wait_for("the check of staging", lambda: _asks_for_approval(dana))
        waiting = why(dana, "production")
    promotion = waiting["promotion"]["promotion"]
    command(f'setpoint approve {promotion} -m "looks good"      # as Sam, the SRE')
    with stage(story, f"{name}: approval to production", "gate statement, pin, rolling update"):
        sam.post(f"/api/v1/promotions/{promotion}/approve", {"message": "looks good"})
        serving(sam, "production", version)
    return version


def _asks_for_approval(api: Api) -> bool:
    waiting = cell(api, "production")["waiting"]
    return waiting is not None and [reason["code"] for reason in waiting["reasons"]] == ["APPROVAL_MISSING"]


def show_trace(api: Api, url: str) -> None:
    """Print the chain behind a URL."""
    command(f"setpoint trace {url}")
    for step in api.get("/api/v1/trace", {"thing": url})["steps"]:
        say(f"  {step['kind']:<10} {step['id'][:46]:<46} {step['text']}")


class Traffic(threading.Thread):
    """Asks production all the time and counts what fails: nobody should notice a release or a rollback."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._done = threading.Event()
        self.answered = 0
        self.failed = 0

    def run(self) -> None:
        """Send one request after the other, each over a new connection."""
        while not self._done.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", "/status/200")
                good = connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                good = False
            finally:
                connection.close()
            self.answered += good
            self.failed += not good
            self._done.wait(0.02)

    def stop(self) -> None:
        """End it."""
        self._done.set()
        self.join()


def play(story: Story, archive: Path) -> None:
    """Play the road."""
    with stage(story, "server up", "runner, signer, registry, Git"):
        operator = start_server(story)
    delivery_repository(story, operator)
    people = {name: as_person(operator, f"{name}@example.com") for name in ("dana", "sam")}
    folder = source_repository(story, archive)
    first = release(story, people, folder, "release 1")
    with stage(story, "trace", "from the URL back to the commit"):
        show_trace(operator, f"{story.production}/")

    page = folder / "httpbin" / "templates" / "index.html"
    page.write_text(page.read_text() + "<!-- the second release -->\n")
    git(folder, "commit", "-qam", "Mark the second release", who="Dana <dana@example.com>")
    traffic = Traffic(story.ports[1])
    traffic.start()
    second = release(story, people, folder, "release 2")
    sam, _ = people["sam"]
    command('setpoint rollback httpbin production -m "not yet"')
    with stage(story, "rollback", f"{second} back to {first}, as a signed commit"):
        sam.post("/api/v1/rollbacks", {"app": "httpbin", "environment": "production", "message": "not yet"})
        serving(sam, "production", first)
    traffic.stop()
    say(f"  {traffic.answered} requests to production meanwhile, {traffic.failed} failed")
    why(sam, "production")
    verify(sam)
    closing(story, traffic)
    if traffic.failed:
        sys.exit("demo: requests failed during the rolling updates")


def verify(api: Api) -> None:
    """Print the numbered checks of what production runs."""
    command("setpoint verify httpbin --in production")
    found = api.get("/api/v1/verify", {"thing": "httpbin", "environment": "production"})
    for line in found["lines"]:
        say(f"  {line['number']} {'ok  ' if line['passed'] else 'FAIL'} {line['what']}: {line['detail']}")
    if not all(line["passed"] for line in found["lines"]):
        sys.exit("demo: a check of verify failed")


def closing(story: Story, traffic: Traffic) -> None:
    """Print the table of the road and the page's address."""
    say(f"\n{'the road':<34} {'seconds':>8}  note")
    for row in story.stages:
        say(f"{row.name:<34} {row.seconds:>8.1f}  {row.note}")
    say(f"{'all':<34} {sum(row.seconds for row in story.stages):>8.1f}  {traffic.answered} requests, {traffic.failed} failed")
    say(f"\npage:        {story.url.splitlines()[-1].removeprefix('log in once: ')}")
    say(f"staging:     http://127.0.0.1:{story.ports[0]}/\nproduction:  {story.production}/")
    say(f"try:         .venv/bin/setpoint status --home {story.home}")


def stay() -> bool:
    """Say whether somebody is there to look at it."""
    return sys.stdout.isatty() and os.environ.get("CI") != "true"


def main() -> int:
    """Run the demo and clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive
    work = Path(tempfile.mkdtemp(prefix="setpoint-demo-"))
    work.chmod(0o711)
    story = Story(work, work / "home", free_ports(7501, 7502))
    began = time.monotonic()
    try:
        play(story, archive)
        say(f"\ndone in {time.monotonic() - began:.0f} s")
        if stay():
            say("everything stays up; Ctrl-C stops it")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    finally:
        subprocess.run([str(SETPOINT), "down", "--home", str(story.home)], check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
