"""What every scene of the demo needs of Setpoint: the server, people, the two repositories, a run, an environment, and its questions.

It uses only what a user has: the `setpoint` command, stock git and the API.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tools.road.story import Story, command, free_ports, git, say, wait_for

from setpoint.client.connection import Connection
from setpoint.client.http import Api

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "tools" / "httpbin"
SETPOINT = Path(sys.executable).with_name("setpoint")


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


def show_trace(api: Api, url: str) -> None:
    """Print the chain behind a URL."""
    command(f"setpoint trace {url}")
    for step in api.get("/api/v1/trace", {"thing": url})["steps"]:
        say(f"  {step['kind']:<10} {step['id'][:46]:<46} {step['text']}")


def verify(api: Api) -> None:
    """Print the numbered checks of what production runs."""
    command("setpoint verify httpbin --in production")
    found = api.get("/api/v1/verify", {"thing": "httpbin", "environment": "production"})
    for line in found["lines"]:
        say(f"  {line['number']} {'ok  ' if line['passed'] else 'FAIL'} {line['what']}: {line['detail']}")
    if not all(line["passed"] for line in found["lines"]):
        sys.exit("demo: a check of verify failed")


def tell_where_it_stands(story: Story) -> None:
    """Print, for who reads only the demo's output, what the server says and its last words, before a demo that failed is cleaned away."""
    place = ("httpbin", "production")
    for verb in (("status",), ("why", *place), ("rollout", *place, "--json"), ("events", "--limit", "40")):
        command(" ".join(("setpoint", *verb)))
        subprocess.run([str(SETPOINT), *verb, "--home", str(story.home)], check=False)
    log = story.home / "server.log"
    if log.is_file():
        say(f"\nthe end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
