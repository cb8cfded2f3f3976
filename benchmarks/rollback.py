"""A rollback to a version whose replicas are still warm (`keep:` of a canary): from exec of `setpoint rollback` to its first answer.

Beside it: how long the command itself takes, of which the start of an interpreter is a part, and the same without anything kept.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness import Row, home, publish, spread

from live_home import ENVIRONMENT, LiveHome, wait_for

_SETPOINT = str(Path(sys.executable).with_name("setpoint"))
_LIMIT_S = 60
_CANARY = "rollout: {canary: {weights: [50], hold: 1s, look: 1s, keep: %s, unjudged: true}}\n"


def _rolled_out(live: LiveHome) -> bool:
    found = live.api().get("/api/v1/rollouts/hello/staging")
    return bool(found["phase"] == "finished" and live.cell("staging")["health"] == "healthy")


def _first_answer(live: LiveHome, text: str, into: list[float]) -> None:
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        if live.answer(live.staging)[0] == text:
            into.append(time.monotonic())
            return
        time.sleep(0.005)


def _rollbacks(keep: str, count: int) -> tuple[list[float], list[float]]:
    """Return (seconds to the first old answer, seconds of the command) of rollbacks, each of a fresh release."""
    answers, commands = [], []
    with home() as live:
        live.release("good")
        live.serves("staging", "good")
        live.commit("delivery", {"environments/staging/environment.yaml": ENVIRONMENT % live.staging + _CANARY % keep}, who="sam")
        environment = {**os.environ, "SETPOINT_URL": live.ready["url"], "SETPOINT_TOKEN": live.ready["token"]}
        for number in range(count):
            live.release(f"bad{number}")
            live.serves("staging", f"bad{number}")
            wait_for("the whole rollout", lambda: _rolled_out(live))
            seen: list[float] = []
            watch = threading.Thread(target=_first_answer, args=(live, "good", seen))
            watch.start()
            began = time.monotonic()
            subprocess.run([_SETPOINT, "rollback", "hello", "staging", "-m", "worse"], env=environment, check=True, capture_output=True)
            commands.append(time.monotonic() - began)
            watch.join()
            answers += [at - began for at in seen]
            wait_for("the pin", lambda: not live.api().get("/api/v1/holds"))
            live.serves("staging", "good")
    return answers, commands


def run(count: int = 10) -> None:
    """Roll back to warm and to cold replicas."""
    warm, commands = _rollbacks("10m", count)
    cold, _ = _rollbacks("0s", count)
    rows = [
        Row(
            "`setpoint rollback` -> the first answer of the old version, its replicas warm",
            spread(warm),
            f"the command: {spread(commands)}",
        ),
        Row("the same, nothing kept", spread(cold)),
    ]
    publish("rollback", "Rollback", rows)
