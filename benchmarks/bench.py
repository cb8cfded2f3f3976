"""The benchmarks of one machine's road; `tools/bench [NAME ...]` runs them.

push: exec of stock `git push` to the time stamp that the first task writes; task: overhead of a task; cached: a run whose tasks are all
green already; help: CPU of `setpoint --help`; road: push to serving; rollout: rollouts under load; memory: the idle server.
"""

import http.client
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from harness import Row, home, publish, spread

from live_home import APP, PIPELINE, TESTS, LiveHome, wait_for
from setpoint.adapters.sandbox import sandbox_argv, system_mounts
from setpoint.core.clock import seconds_between

SETPOINT = str(Path(sys.executable).with_name("setpoint"))
STAMP = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  stamp: {inputs: [salt.txt], run: date +%s%N}
"""


def ended(live: LiveHome, commit: str) -> dict[str, Any]:
    """Wait until the run of a commit has ended and return its report."""

    def look() -> dict[str, Any] | None:
        runs = live.api().get("/api/v1/runs", {"repository": "hello", "limit": "5"})
        done = [run for run in runs if run["revision"] == commit and run["state"] != "running"]
        return live.api().get(f"/api/v1/runs/{done[0]['run']}") if done else None

    return wait_for("the run", look)


def run_seconds(report: dict[str, Any]) -> float:
    """Return how long a run took, from its creation to its end."""
    return seconds_between(report["run"]["created_at"], report["run"]["finished_at"])


def push(count: int = 100) -> None:
    """Push with a cold key and see when the task starts."""
    beyond, pushes, floors = [], [], []
    with home() as live:
        live.commit("hello", {".setpoint/pipeline.yaml": STAMP, "salt.txt": "0"})
        folder = live.work / "hello"
        floor = live.work / "floor.git"
        subprocess.run(["git", "init", "-q", "--bare", str(floor)], check=True)
        for number in range(count):
            commit = live.commit("hello", {"salt.txt": str(number + 1)}, push=False)
            began = time.time()
            live.git(folder, "push", "-q", "origin", "main")
            pushed = time.time()
            report = ended(live, commit)
            log = live.api().get(f"/api/v1/runs/{report['run']['run']}/tasks/stamp/log")
            started = int("".join(record["text"] for record in log if record["stream"] == "out")) / 1e9
            beyond.append(started - pushed)
            pushes.append(started - began)
            began = time.time()
            live.git(folder, "push", "-q", str(floor), "HEAD:refs/heads/main")
            floors.append(time.time() - began)
    rows = [
        Row("push -> first task writes its stamp, from exec of `git push`", spread(pushes), f"the same push to a folder: {spread(floors)}"),
        Row("of that, after `git push` returned (negative: before)", spread(beyond), "", "p50 < 100 ms"),
    ]
    publish("push", "Push to first task", rows)


def task(count: int = 50) -> None:
    """Run a chain of tasks that do nothing."""
    names = [f"t{number}" for number in range(count)]
    tasks = "".join(f"  {n}: {{inputs: [salt.txt], run: 'true', needs: [{names[i - 1] if i else ''}]}}\n" for i, n in enumerate(names))
    argv = sandbox_argv(["/bin/sh", "-euc", "true"], system_mounts(), {}, cwd="/", network=False)
    with home() as live:
        commit = live.commit(
            "hello", {".setpoint/pipeline.yaml": STAMP.split("tasks:", maxsplit=1)[0] + "tasks:\n" + tasks, "salt.txt": "0"}
        )
        each = run_seconds(ended(live, commit)) / count
    floors = []
    for _ in range(20):
        began = time.perf_counter()
        subprocess.run(argv, check=True)
        floors.append(time.perf_counter() - began)
    floor = sum(floors) / len(floors)
    rows = [Row(f"a task of a chain of {count}", f"{each * 1000:.1f} ms", f"bare sandbox {floor * 1000:.1f} ms: x{each / floor:.1f}")]
    publish("task", "Overhead of a task", rows)


def cached(count: int = 1000) -> None:
    """Run a pipeline of many tasks whose keys are all green."""
    tasks = "".join(f"  t{number}: {{inputs: [salt.txt], run: 'true # {number}'}}\n" for number in range(count))
    text = STAMP.split("tasks:", maxsplit=1)[0] + "tasks:\n" + tasks
    with home() as live:
        first = run_seconds(ended(live, live.commit("hello", {".setpoint/pipeline.yaml": text, "salt.txt": "0"})))
        second = run_seconds(ended(live, live.commit("hello", {"other.txt": "1"})))
    rows = [
        Row(f"{count} tasks, cold", f"{first:.1f} s"),
        Row(
            f"{count} tasks, all cached",
            f"{second:.2f} s",
            f"{second / count * 1000:.2f} ms a task; x{first / second:.0f} faster than cold",
            "< 0.2 s",
        ),
    ]
    publish("cached", "Cached tasks", rows)


def _cpu_s(*argv: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def help_text(count: int = 20) -> None:
    """Measure the CPU time of `setpoint --help`."""
    ours = [_cpu_s(SETPOINT, "--help") for _ in range(count)]
    bare = [_cpu_s(sys.executable, "-c", "pass") for _ in range(count)]
    rows = [Row("CPU of `setpoint --help`", spread(ours), f"bare interpreter: {spread(bare)}", "< 100 ms")]
    publish("help", "Start of the command line", rows)


def road(count: int = 10) -> None:
    """Push trivial releases and see when staging answers them."""
    times = []
    with home() as live:
        live.release("r0")
        live.serves("staging", "r0")
        for number in range(1, count + 1):
            files = {"app.py": APP % f"r{number}", "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}
            live.commit("hello", files, push=False)
            began = time.time()
            live.git(live.work / "hello", "push", "-q", "origin", "main")
            wait_for("the release", lambda n=number: live.answer(live.staging)[0] == f"r{n}")  # type: ignore[misc]
            times.append(time.time() - began)
    publish(
        "road",
        "The whole road",
        [Row("push -> tested, proved, pinned, rolled out, answering in staging", spread(times, "s", 1), "", "< 3 s")],
    )


class Load(threading.Thread):
    """Sends one request after the other, at most a hundred a second: new or kept connections, GET or POST, no retries."""

    def __init__(self, port: int, kind: str) -> None:
        super().__init__(daemon=True)
        self._port, self._kind = port, kind
        self._done = threading.Event()
        self.good, self.bad = 0, 0

    def run(self) -> None:
        """Send until stopped."""
        connection: http.client.HTTPConnection | None = None
        while not self._done.wait(0.01):
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.request("POST" if self._kind == "post" else "GET", "/", body=b"x" * 1000 if self._kind == "post" else None)
                response = connection.getresponse()
                response.read()
                good = response.status in (200, 501)  # http.server answers POST with 501: the request arrived and was answered
            except (OSError, http.client.HTTPException):
                good = False
            self.good, self.bad = self.good + good, self.bad + (not good)
            if self._kind != "kept" or not good:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """End it."""
        self._done.set()
        self.join()


def rollout(count: int = 20) -> None:
    """Roll a workload many times under load."""
    with home() as live:
        live.release("r0")
        live.serves("staging", "r0")
        loads = [Load(live.staging, kind) for kind in ("new", "kept", "post")]
        for load in loads:
            load.start()
        began = time.time()
        for number in range(1, count + 1):
            live.release(f"r{number}")
            live.serves("staging", f"r{number}")
        took = time.time() - began
        for load in loads:
            load.stop()
    good, bad = sum(load.good for load in loads), sum(load.bad for load in loads)
    rows = [
        Row(
            f"{count} rollouts under load (new and kept connections, POST bodies, no retries)",
            f"{good} answered, {bad} failed",
            f"{took / count:.1f} s a release",
            "0 failed",
        )
    ]
    publish("rollout", "Rollouts under load", rows)


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def memory() -> None:
    """Measure the resident memory of an idle server and its helpers."""
    with home() as live:
        live.release("m")
        live.serves("staging", "m")
        time.sleep(5)
        server = json.loads((live.home / "server.json").read_text())["pid"]
        listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
        children = [line.split(None, 2) for line in listing if line.split()[1] == str(server)]
        named = {("runner" if "runner" in args else "signer"): _rss_mib(int(pid)) for pid, _, args in children if "setpoint" in args}
        shims = [_rss_mib(int(line.split()[0])) for line in listing if "shim.py" in line and str(live.home) in line]
        rows = [Row("server, idle, one application", f"{_rss_mib(server):.0f} MiB", "", "< 150 MiB")]
        rows += [Row(name, f"{value:.0f} MiB") for name, value in sorted(named.items())]
        rows += [Row("shim of a replica", f"{sum(shims) / len(shims):.0f} MiB")] if shims else []
    publish("memory", "Memory", rows)


BENCHMARKS = {"push": push, "task": task, "cached": cached, "help": help_text, "road": road, "rollout": rollout, "memory": memory}


def main() -> int:
    """Run the named benchmarks, or all."""
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
