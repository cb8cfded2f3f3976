"""Tasks without a sandbox: run by an unprivileged runner, ended with everything they started, refused where the server is root."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.runner import protocol
from setpoint.adapters.runner.client import RunnerClient
from setpoint.app.settings import Settings
from setpoint.core.errors import ConfigError
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.model import NotStartedError, TaskCommand

STORY = """
import asyncio, json, sys
from pathlib import Path
from setpoint.adapters.runner.client import RunnerClient
from setpoint.pipeline.model import TaskCommand
async def main():
    work = Path(sys.argv[1])
    client = RunnerClient.spawn(work, None, grace_s=1.0)
    found = []
    try:
        for number, (script, timeout_s) in enumerate(json.loads(sys.argv[2])):
            (work / f"t{number}").mkdir()
            lines = []
            command = TaskCommand(f"t{number}", ("/bin/sh", "-euc", script), {"WORD": "given"}, True, timeout_s, sandbox="none",
                                  secrets={"TOKEN": "s3cr3t-value-0001"})
            ended = await asyncio.wait_for(client.execute(command, lines.extend), 30)
            found.append([ended.how, ended.exit_code, [[line.stream, line.text] for line in lines]])
    finally:
        client.close()
    print(json.dumps(found))
asyncio.run(main())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="setpoint-bare-"))
    folder.chmod(0o711)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


def played(place: Path, *scripts: tuple[str, float]) -> list[Any]:
    """Run scripts without a sandbox as an unprivileged user; returns (how, exit code, log) of each."""
    user = 12346 if os.geteuid() == 0 else os.geteuid()
    become = [] if os.geteuid() else ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"]
    shutil.copytree(Path(protocol.__file__).parents[2], place / "copy" / "setpoint", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(place / "copy")], check=True)
    work = place / "work"
    work.mkdir(mode=0o711)
    os.chown(work, user, user)
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _usable(become, path)), None)
    if python is None:
        pytest.skip("INCOMPLETE: needs a Python 3.11 that an unprivileged user can execute")
    environment = {"PYTHONPATH": str(place / "copy"), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [*become, python, "-c", STORY, str(work), json.dumps(scripts)]
    done = subprocess.run(argv, capture_output=True, env=environment, check=False, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    found: list[Any] = json.loads(done.stdout)
    return found


def _usable(become: list[str], python: str) -> bool:
    check = "import subprocess, sys; raise SystemExit(sys.version_info < (3, 11) or subprocess.call([sys.executable, '-c', '']))"
    return subprocess.run([*become, python, "-c", check], capture_output=True, check=False, cwd="/").returncode == 0


def alive(marker: str) -> list[int]:
    """Return processes whose command line holds a marker, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_bare_task_runs_where_it_should_and_leaves_no_process(place: Path) -> None:
    """It stands in its folder, HOME is its own, the secret is masked, daemons die with it, and the log says that nothing isolates it."""
    marker = "31536001.25"
    scripts = (
        (f"pwd; echo $WORD $TOKEN; test -d $HOME; (setsid sleep {marker} &) ; exit 3", 20.0),
        (f"trap '' TERM; setsid sleep {marker} & sleep {marker}", 0.5),
        ("kill -9 $$", 20.0),
        ("exec /nowhere/at/all", 20.0),
    )
    first, late, killed, missing = played(place, *scripts)
    assert first[:2] == ["exited", 3]
    assert first[2][0][0] == "note"
    assert "without a sandbox" in first[2][0][1]
    assert "".join(text for stream, text in first[2] if stream == "out") == f"{place}/work/t0\ngiven ***\n"
    assert late[0] == "timed-out"
    assert killed[:2] == ["exited", 137]
    assert missing[:2] == ["exited", 127]
    assert alive(marker) == []


def test_as_root_no_task_runs_without_a_sandbox(place: Path) -> None:
    """The client of a server that is root refuses before anything is sent, and the settings say so too."""

    async def story() -> None:
        client = RunnerClient(place, 64180)
        with pytest.raises(NotStartedError, match="SP247"):
            await client.execute(TaskCommand("t", ("true",), {}, True, 1.0, sandbox="none"), lambda _record: None)

    asyncio.run(story())


@pytest.mark.parametrize(("root", "allowed", "word"), [(True, True, "is root"), (False, False, "--allow-unsandboxed"), (False, True, "")])
def test_who_may_run_without_a_sandbox(monkeypatch: pytest.MonkeyPatch, root: bool, allowed: bool, word: str) -> None:  # noqa: FBT001 - a table
    """Nobody as root; otherwise only when whoever started the server said so."""
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    refused = Settings(allow_unsandboxed=allowed).unsandboxed_refused
    assert (word in refused) if word else refused == ""


def test_a_bare_task_says_that_it_has_the_network() -> None:
    """Nothing keeps it from it, so its results count as networked."""
    text = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n  a: {run: x, sandbox: none}\n"
    with pytest.raises(ConfigError, match="SP248"):
        parse_pipeline(text.encode(), "p")
    assert parse_pipeline(text.replace("none}", "none, network: true}").encode(), "p").tasks["a"].sandbox == "none"
