"""Many applications in one delivery repository: what a look, a change and the first registration cost.

Every application is configuration only, in two environments: what is measured is Setpoint's own work, not that of hundreds of replicas.
Pins are counted in the bare repository from outside, so that the waiting itself costs the server nothing.
"""

import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import processes
import pygit2
from harness import Row, publish, spread

from live_home import LiveHome

_SETTLE_S = 15
_WATCH_S = 30
_LIMIT_S = 1800
_CHANGES = 15
_SETPOINT = """
apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps:
%speople:
  dana: {emails: [dana@example.com]}
  sam: {emails: [sam@example.com]}
teams:
  developers: [dana]
  sre: [sam]
owners: [team:sre]
"""
_ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:%d"}}
%sowners: [team:sre]
"""
_APPROVALS = "gates: {approvals: {required: 1, from: [team:sre]}}\n"
_CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {text: "%s"}
"""
_Look = Callable[[], object]


def _app(number: int) -> str:
    return f"app-{number:04d}"


@contextmanager
def _home() -> Iterator[LiveHome]:
    """A live home with an empty delivery repository."""
    folder = Path(tempfile.mkdtemp(prefix="setpoint-many-"))
    folder.chmod(0o711)
    live = LiveHome(folder)
    try:
        live.start()
        live.api().post("/api/v1/repositories", {"name": "delivery"})
        yield live
    finally:
        live.down()
        shutil.rmtree(folder, ignore_errors=True)


def _tree(live: LiveHome) -> pygit2.Tree:
    """Return the root tree of the delivery repository's branch, as Git has it now."""
    bare = pygit2.Repository(str(live.home / "repositories" / "delivery.git"))
    return bare.references["refs/heads/main"].peel(pygit2.Commit).tree


def _pins(live: LiveHome) -> int:
    tree = _tree(live)
    found = (tree[path] for path in ("pins/staging", "pins/production") if path in tree)
    return sum(len(list(folder)) for folder in found if isinstance(folder, pygit2.Tree))


def _until(what: str, done: _Look, pause_s: float = 0.01) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {_LIMIT_S} s")
        time.sleep(pause_s)


def _took(work: _Look, times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.monotonic()
        work()
        found.append(time.monotonic() - began)
    return found


def _renders(live: LiveHome) -> int:
    request = urllib.request.Request(f"{live.ready['url']}/metrics", headers={"Authorization": f"Bearer {live.ready['token']}"})
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    return int(next(line for line in lines if line.startswith("setpoint_renders_total ")).split()[1])


def _idle(live: LiveHome) -> float:
    """Return the share of a core that the server uses while nothing happens."""
    time.sleep(_SETTLE_S)
    pid = processes.server(live)
    before = processes.cpu_s(pid)
    time.sleep(_WATCH_S)
    return (processes.cpu_s(pid) - before) / _WATCH_S


def _register(live: LiveHome, count: int) -> float:
    """Push and register everything; returns the seconds until all of it is pinned in both environments."""
    files: dict[str, str | None] = {
        "setpoint.yaml": _SETPOINT % "".join(f"  {_app(number)}: {{}}\n" for number in range(count)),
        "environments/staging/environment.yaml": _ENVIRONMENT % (live.staging, ""),
        "environments/production/environment.yaml": _ENVIRONMENT % (live.production, "after: [staging]\n"),
    }
    files |= {f"apps/{_app(number)}/config.yaml": _CONFIG % (_app(number), "first") for number in range(count)}
    live.tokens["sam"] = live.ready["token"]  # the operator pushes the first version: nobody is somebody before it is accepted
    live.commit("delivery", files, "all of them", who="sam")
    del live.tokens["sam"]
    began = time.monotonic()
    live.api().post("/api/v1/delivery", {"repository": "delivery"})
    _until("the first pins", lambda: _pins(live) == 2 * count, 0.25)
    return time.monotonic() - began


def _change(live: LiveHome, app: str, text: str) -> float:
    """Change one application in one environment; returns the seconds from the push to its pin commit."""
    path = f"pins/staging/{app}.yaml"
    before = _tree(live)[path].id
    folder = live.work / "delivery"
    live.git(folder, "pull", "-q", "--rebase", "origin", "main", who="sam")
    live.commit("delivery", {f"environments/staging/{app}/config.yaml": _CONFIG % (app, text)}, "change", who="sam", push=False)
    began = time.monotonic()
    live.git(folder, "push", "-q", "origin", "main", who="sam")
    _until(f"the pin of {app}", lambda: _tree(live)[path].id != before)
    return time.monotonic() - began


def _look(live: LiveHome, title: str, goals: tuple[str, str]) -> list[Row]:
    """Measure what people ask, as it stands now."""
    api, asked = live.api(), f"{_app(7)}/production"
    status = _took(lambda: api.get("/api/v1/status"), 10)
    why = _took(lambda: api.get(f"/api/v1/why/{asked}"), 20)
    plan = _took(lambda: api.get(f"/api/v1/plan/{asked}"), 20)
    return [
        Row(f"`status`, {title}", spread(status), goal=goals[0]),
        Row(f"`why` of one, {title}", spread(why), goal=goals[1]),
        Row(f"`plan` of one, {title}", spread(plan)),
    ]


def _waiting(live: LiveHome, count: int) -> float:
    """Ask for approvals in production and change every application; returns the seconds until all of them wait."""
    gated = _ENVIRONMENT % (live.production, "after: [staging]\n" + _APPROVALS)
    files: dict[str, str | None] = {"environments/production/environment.yaml": gated}
    files |= {f"apps/{_app(number)}/config.yaml": _CONFIG % (_app(number), "second") for number in range(count)}
    began = time.monotonic()
    live.commit("delivery", files, "all of them again", who="sam")

    def all_wait() -> bool:
        needs = live.api().get("/api/v1/promotions", {"environment": "production", "limit": str(count)})
        return bool(sum(one["state"] == "open" for one in needs) == count)

    _until("the promotions that wait", all_wait, 2.0)
    return time.monotonic() - began


def run(count: int = 0) -> None:
    """Measure a home with many applications; MANY says how many."""
    count = count or int(os.environ.get("MANY", "200"))
    goals = ("< 0.5 s", "< 0.3 s") if count <= 200 else ("< 2 s", "")
    with _home() as live:
        first = _register(live, count)
        rows = [
            Row(
                f"{count} applications registered -> all {2 * count} pins committed",
                f"{first:.1f} s",
                f"{first / count / 2 * 1000:.0f} ms a pin",
            )
        ]
        rows += _look(live, "all pinned", goals)
        rows.append(Row("CPU of the idle server", f"{_idle(live):.1%} of a core", goal="< 3 %" if count <= 200 else "< 5 %"))
        before = _renders(live)
        changes = [_change(live, _app(number % count), f"change {number}") for number in range(_CHANGES)]
        renders = (_renders(live) - before) / _CHANGES
        rows.append(
            Row(
                "push of a change of one application -> its pin is committed",
                spread(changes),
                f"{renders:.2f} renders a change",
                "p50 < 1 s, 1 render",
            )
        )
        took = _waiting(live, count)
        rows.append(Row("a commit that changes all -> all wait for an approval in production", f"{took:.1f} s"))
        rows += _look(live, "all waiting for an approval", goals)
        rows.append(Row("CPU of the idle server, all waiting", f"{_idle(live):.1%} of a core"))
    publish("many" if count == 200 else f"many MANY={count}", f"{count} applications in two environments", rows)
