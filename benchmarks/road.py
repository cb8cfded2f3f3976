"""The whole road with trivial tasks: from exec of `git push` to the new answer in staging, and where the time goes, by the journal.

Beside it: the same by hand without any of it (push to a file:// repository, run the tests, start the program, wait for its answer).
"""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import Row, home, publish, spread

from live_home import APP, PIPELINE, TESTS, LiveHome, free_port
from setpoint.core import clock

_LIMIT_S = 60
_STEPS = (
    ("exec of `git push` -> the run is created", "", "run.created"),
    ("-> its tasks are done and their results signed, the image is built", "run.created", "run.finished"),
    ("-> the promotion is decided and pinned", "run.finished", "promotion.pinned"),
    ("-> the new revision answers", "promotion.pinned", ""),
)


def _until(live: LiveHome, port: int, text: str) -> float:
    """Return when an address answers text."""
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        if live.answer(port)[0] == text:
            return time.time()
        time.sleep(0.01)
    raise SystemExit(f"{text} is not served")


def _by_hand(live: LiveHome, floor: Path, text: str) -> float:
    """Push, test and start a program with nothing in between; returns how long that takes."""
    folder, port = live.work / "hello", free_port()
    began = time.time()
    live.git(folder, "push", "-q", f"file://{floor}", "HEAD:refs/heads/main")
    subprocess.run(["/bin/sh", "tests.sh"], cwd=folder, check=True)
    program = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env={**os.environ, "PORT": str(port)})
    try:
        return _until(live, port, text) - began
    finally:
        program.kill()
        program.wait()


def _moments(entries: list[dict[str, Any]], commit: str) -> dict[str, float]:
    """Return {kind: unix time} of the entries that one commit's way to staging left."""
    run = next(entry["subject"] for entry in entries if entry["kind"] == "run.created" and entry["body"]["revision"] == commit)
    later = [entry for entry in entries if entry["subject"] == run or entry["kind"] == "promotion.pinned"]
    return {entry["kind"]: _unix(clock.from_text(entry["at"])) for entry in later}


def _unix(moment: datetime) -> float:
    return moment.timestamp()


def run(count: int = 15) -> None:
    """Push trivial releases and see when staging answers them."""
    times: list[float] = []
    floors: list[float] = []
    steps: dict[str, list[float]] = {what: [] for what, _, _ in _STEPS}
    with home() as live:
        live.release("r0")
        live.serves("staging", "r0")
        floor = live.work / "floor.git"
        subprocess.run(["git", "init", "-q", "--bare", str(floor)], check=True)
        for number in range(1, count + 1):
            text, known = f"r{number}", live.journal()
            files = {"app.py": APP % text, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}
            commit = live.commit("hello", files, push=False)
            began = time.time()
            live.git(live.work / "hello", "push", "-q", "origin", "main")
            answered = _until(live, live.staging, text)
            times.append(answered - began)
            live.serves("staging", text)
            moments = {"began": began, "answered": answered, **_moments(live.journal()[len(known) :], commit)}
            for what, start, end in _STEPS:
                steps[what].append(moments[end or "answered"] - moments[start or "began"])
            floors.append(_by_hand(live, floor, text))
    beside = f"by hand, without any of it: {spread(floors, 's', 2)}"
    rows = [
        Row("push -> tested, proved, pinned, rolled out, answering in staging", spread(times, "s", 2), beside, "< 3 s"),
        *(Row(what, spread(values, "s", 2)) for what, values in steps.items()),
    ]
    publish("road", "The whole road", rows)
