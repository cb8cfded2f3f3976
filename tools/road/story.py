"""What the demo is told with: stages with their times, commands as a user would type them, waiting, free ports, stock git.

Called by the scenes of this folder; it knows nothing of Setpoint.
"""

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
