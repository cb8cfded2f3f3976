"""Reproducible is tested: two homes with nothing in common but the revision make the same bytes and the same keys, in fresh processes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live_home import LiveHome, wait_for
from setpoint.adapters import sandbox

PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  build:
    inputs: [src/**, make.py]
    run: python3 make.py
    outputs: [out/, around.txt]
  test:
    needs: [build]
    inputs: [src/**]
    run: echo '<testsuite><testcase name="one"/></testsuite>' >report.xml
    evidence: {tests: report.xml}
artifacts:
  web:
    needs: [test]
    image:
      base: host
      copy: {"src/": /app/, "build:out/": /app/out/, "build:around.txt": /app/around.txt}
      command: [python3, main.py]
  model:
    needs: [test]
    file: {from: "build:out/model.bin"}
  data:
    needs: [test]
    file: {from: "build:out/"}
"""
MAKE = """
import locale, os, random, time
os.makedirs("out/deep/er")
names = [f"out/{name}" for name in ("model.bin", "z", "A", "a b", "\\u00fcber", "deep/x", "deep/er/y", "tool")]
random.shuffle(names)  # the order of entries on the disk is another one each time
for name in names:
    open(name, "w").write(name)
os.chmod("out/tool", 0o700)
os.chmod("out/z", 0o666)
os.symlink("z", "out/link")
os.utime("out/a b", (random.randrange(10**9), random.randrange(10**9)))
os.umask(0)
around = [os.getcwd(), os.getuid(), os.getgid(), os.getgroups() == [] or "groups", os.uname().nodename, sorted(os.environ.items())]
around += [time.tzname, time.localtime(0).tm_hour, locale.setlocale(locale.LC_ALL, ""), sorted(os.listdir("/"))]
open("around.txt", "w").write("\\n".join(map(repr, around)))
"""
UMASK = "import os; mask = os.umask(0); os.umask(mask); open('around.txt', 'a').write(f'\\n{mask:o}')\n"


def commit(folder: Path, order: int) -> str:
    """Make the same commit in a fresh work tree, its files written in another order; returns its id."""
    folder.mkdir()
    files = {
        "make.py": MAKE + UMASK,
        "src/main.py": "print()\n",
        "src/\u00fc/e.txt": "\u00fc\n",
        "src/B.txt": "b\n",
        "src/a/run.sh": "#!/bin/sh\n",
        ".setpoint/pipeline.yaml": PIPELINE,
    }
    for path in sorted(files, reverse=bool(order)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(files[path], encoding="utf-8")
    (folder / "src/a/run.sh").chmod(0o755)
    (folder / "src/link").symlink_to("main.py")
    at = "2026-11-23T06:00:00+00:00"
    names = {
        f"GIT_{role}_{part}": text
        for role in ("AUTHOR", "COMMITTER")
        for part, text in (("NAME", "Dana"), ("EMAIL", "d@example.com"), ("DATE", at))
    }
    environment = {**os.environ, **names, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder)}
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "the same"]):
        subprocess.run(["git", *argv], cwd=folder, check=True, env=environment, capture_output=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, env=environment, capture_output=True, text=True)
    return done.stdout.strip()


def made_in(live: LiveHome, order: int) -> dict[str, Any]:
    """Push the commit and return what its run says: digests of artifacts, key and input root of tasks, digests of outputs."""
    live.start()
    live.api().post("/api/v1/repositories", {"name": "hello"})
    work = live.work / "work"
    revision = commit(work, order)
    live.git(work, "push", "-q", f"{live.ready['git']}/hello.git", "main", who="operator")

    def ended() -> dict[str, Any] | None:
        runs = live.api().get("/api/v1/runs")
        found = runs[0]["run"] if runs and runs[0]["state"] != "running" else None
        report: dict[str, Any] | None = live.api().get(f"/api/v1/runs/{found}") if found else None
        return report if report and len(report["evidence"]) >= 6 else None

    report = wait_for("the run and its evidence", ended)
    assert report["run"]["state"] == "passed", report
    finished = [entry["body"] for entry in live.journal() if entry["kind"] == "task.finished"]
    return {
        "revision": revision,
        "artifacts": {artifact["name"]: (artifact["digest"], artifact["inputs"]) for artifact in report["artifacts"]},
        "tasks": {task["task"]: (task["key"], task["manifest"]["inputs"], task["outputs"]) for task in finished},
    }


def python_of(uid: int, environment: dict[str, str]) -> str | None:
    """Return a Python that a user can run with this one's packages."""
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [
            "setpriv",
            "--reuid",
            str(uid),
            "--regid",
            str(uid),
            "--clear-groups",
            "/usr/bin/env",
            python,
            "-c",
            "import setpoint.app.wiring",
        ]
        if subprocess.run(argv, env=environment, capture_output=True, check=False, cwd="/").returncode == 0:
            return python
    return None


@pytest.fixture
def homes() -> Iterator[list[LiveHome]]:
    """Two homes that differ in whatever a careless build takes in; as root, each belongs to an unprivileged user of its own."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    strangers = os.getuid() == 0
    packages = os.pathsep.join(path for path in sys.path if path and not path.startswith(sys.base_prefix))
    python = python_of(23451, {**os.environ, "PYTHONPATH": packages}) if strangers else sys.executable
    if python is None:
        pytest.skip("INCOMPLETE: needs a checkout and a Python that an unprivileged user can read")
    found, folders = [], []
    around = (
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1", "LANG": "C"},
        {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "4711", "LANGUAGE": "de"},
    )
    for number, (environment, umask) in enumerate(zip(around, (0o077, 0o002), strict=True)):
        folder = Path(tempfile.mkdtemp(prefix="setpoint-same-" if number else "setpoint-\u00e4hnlich und anders-"))
        folders.append(folder)
        deep = folder / ("a/much/longer/path/than/the/other" if number else "x")
        deep.mkdir(parents=True)
        launch: dict[str, Any] = {"env": {**os.environ, **environment, "HOME": str(deep), "PYTHONPATH": packages}, "umask": umask}
        if strangers:
            uid = 23451 + number
            launch |= {"user": uid, "group": uid, "extra_groups": []}
            for path in (folder, *folder.rglob("*")):
                os.chown(path, uid, uid)
        found.append(LiveHome(deep, python=python, launch=launch))
    yield found
    for live in found:
        live.down()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_two_homes_make_the_same_bytes_and_keys(homes: list[LiveHome]) -> None:
    """Path, user, umask, time zone, locale, hash seed and the order of files differ; digests, input roots, keys and outputs do not."""
    first, second = (made_in(live, order) for order, live in enumerate(homes))
    assert set(first["artifacts"]) == {"web", "model", "data"}
    assert first == second
