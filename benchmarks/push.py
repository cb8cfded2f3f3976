"""Push to first task: from exec of stock `git push` to the time stamp that the task itself writes.

Three pushes a round, one after the other: the one that starts a run with a cold key, one to a branch that starts none on the same server,
and one to a file:// repository. The stamp is looked for in the home's log file, so that waiting costs the server nothing.
"""

import json
import subprocess
import time

from harness import PIPELINE_HEAD, Row, ended, home, publish, spread

from live_home import LiveHome
from setpoint.core import ids

STAMP = PIPELINE_HEAD + "  stamp: {inputs: [salt.txt], run: date +%s%N}\n"
_LIMIT_S = 60


def _timed_push(live: LiveHome, *argv: str) -> tuple[float, float]:
    """Return when `git push` was started and how long it took."""
    began = time.time()
    live.git(live.work / "hello", "push", "-q", *argv)
    return began, time.time() - began


def stamp_of(live: LiveHome, commit: str) -> float:
    """Return the time that the task of a commit's run wrote into its log, once it is there."""
    folder = live.home / "logs" / ids.identifier("r", "hello", commit)
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        for path in folder.glob("stamp*"):
            for line in path.read_text().splitlines(keepends=True):
                record = json.loads(line) if line.endswith("\n") else {}
                if record.get("stream") == "out":
                    return int(record["text"]) / 1e9
        time.sleep(0.01)
    raise SystemExit(f"no stamp in {folder}")


def run(count: int = 100) -> None:
    """Push with a cold key `count` times and see when the task starts."""
    pushes: list[float] = []
    alone: list[float] = []
    files: list[float] = []
    beyond: list[float] = []
    returned: list[float] = []
    with home() as live:
        ended(live, live.commit("hello", {".setpoint/pipeline.yaml": STAMP, "salt.txt": "0"}))
        floor = live.work / "floor.git"
        subprocess.run(["git", "init", "-q", "--bare", str(floor)], check=True)
        for number in range(count):
            commit = live.commit("hello", {"salt.txt": str(number + 1)}, push=False)
            began, took = _timed_push(live, "origin", "main")
            stamp = stamp_of(live, commit)
            ended(live, commit)
            live.commit("hello", {"quiet.txt": str(number + 1)}, push=False)
            alone.append(_timed_push(live, "origin", "HEAD:refs/heads/quiet")[1])
            files.append(_timed_push(live, f"file://{floor}", "HEAD:refs/heads/main")[1])
            pushes.append(stamp - began)
            returned.append(stamp - began - took)
            beyond.append(stamp - began - alone[-1])
    beside = f"the push alone, to a branch without a run: {spread(alone)}"
    rows = [
        Row("exec of `git push` -> the stamp that the first task writes, cold key", spread(pushes), beside),
        Row("beyond the push alone", spread(beyond), f"the same push to a file:// repository: {spread(files)}", "p50 < 100 ms"),
        Row("after this `git push` returned (negative: the task was faster)", spread(returned)),
    ]
    publish("push", "Push to first task", rows)
