"""The contract of `pipeline.ports.Executor` in sandboxes, and what only sandboxes and the runner process must hold."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from executor_contract import STORIES, processes_with, until
from setpoint.adapters import sandbox
from setpoint.adapters.runner import protocol
from setpoint.adapters.runner.client import RunnerClient, dedicated_uid
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.core.errors import BugError, WorldError
from setpoint.pipeline.model import LogRecord, TaskCommand, TaskExit
from setpoint.pipeline.ports import Executor

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(bool(sandbox.probe()), reason=f"INCOMPLETE: needs a sandbox: {sandbox.probe()}"),
]
GRACE_S = 0.3
Build = Callable[[Path], RunnerClient]


def sandboxed(work: Path) -> RunnerClient:
    """Build the executor of sandboxed processes."""
    return RunnerClient.spawn(work, dedicated_uid(), grace_s=GRACE_S)


@pytest.fixture
def work() -> Iterator[Path]:
    """Give a folder of workspaces that another user can pass through, as `HOME.run/workspaces` is."""
    folder = Path(tempfile.mkdtemp(prefix="setpoint-test-"))
    folder.chmod(0o711)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


@pytest.fixture(params=[sandboxed])
def build(request: pytest.FixtureRequest) -> Build:
    """Give the way to build the executor; that of pods plays the same stories in tests/kubernetes."""
    chosen: Build = request.param
    return chosen


def status_of(pid: int | None) -> dict[str, str]:
    """Return the fields of a process's status file."""
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


class Bench:
    """An executor with workspaces, and the log of what it ran."""

    def __init__(self, executor: RunnerClient, work: Path) -> None:
        self.executor = executor
        self.as_port: Executor = executor
        self.folders = WorkspaceFolder(work, dedicated_uid())
        self.records: dict[str, list[LogRecord]] = {}
        self.grace_s = GRACE_S
        self._work = work

    def seen(self, task: str = "t") -> list[LogRecord]:
        """Return a task's log."""
        return self.records.get(task, [])

    def left(self, path: str, task: str = "t") -> bytes | None:
        """Return a file that a task left."""
        return self.folders.read(task, path, 1000)

    def touch(self, name: str, task: str = "t") -> None:
        """Make an empty file in the workspace of a task that runs."""
        (self._work / task / name).touch()

    async def run(self, script: str, task: str = "t", **options: Any) -> TaskExit:
        """Run a shell script in a fresh workspace."""
        files, on_log = options.pop("files", []), options.pop("on_log", self.records.setdefault(task, []).extend)
        self.folders.create(task, files, [])
        settings: dict[str, Any] = {"environment": {}, "network": False, "timeout_s": 30.0, **options}
        return await self.as_port.execute(TaskCommand(task, ("/bin/sh", "-euc", script), **settings), on_log)

    def text(self, task: str = "t", stream: str = "out") -> str:
        """Return a task's output."""
        return "".join(record.text for record in self.records[task] if record.stream == stream)

    async def shown(self, part: str, task: str = "t") -> None:
        """Wait until a task has printed part."""
        await until(lambda: task in self.records and part in self.text(task))


def play(build: Build, work: Path, story: Callable[[Bench], Awaitable[None]]) -> None:
    """Play a story with a started executor, and end it afterwards."""

    async def all_of_it() -> None:
        bench = Bench(build(work), work)
        try:
            await story(bench)
        finally:
            bench.executor.close()

    asyncio.run(all_of_it())


@contextmanager
def listening() -> Iterator[int]:
    """Give the port of a listener on the test's own loopback that greets whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            try:
                while True:
                    client, _ = server.accept()
                    with client:
                        client.sendall(b"reached")
            except OSError:
                return

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("name", STORIES)
def test_executor_keeps_the_contract(build: Build, work: Path, name: str) -> None:
    """Every story of the contract is played in sandboxes."""
    play(build, work, STORIES[name])


CONNECT = "python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", {port}), 3).recv(99))' 2>&1 || echo refused"


def test_executor_gives_only_the_declared_environment(build: Build, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment is invisible; the task sees what it declared and the documented few."""
    monkeypatch.setenv("SETPOINT_SECRET", "hunter2")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")

    async def story(bench: Bench) -> None:
        await bench.run("env; tr '\\0' '\\n' < /proc/1/environ", environment={"DECLARED": "yes -- no"})
        seen = dict(line.split("=", 1) for line in bench.text().splitlines() if "=" in line)
        seen.pop("PWD", None)
        assert seen == {
            "DECLARED": "yes -- no",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/tmp",  # noqa: S108 - the sandbox's own
            "TZ": "UTC",
            "CI": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    play(build, work, story)


def test_executor_shows_nothing_but_workspace_and_toolchain(build: Build, work: Path, tmp_path: Path) -> None:
    """Undeclared files, the home, other workspaces, /etc and the host's processes do not exist inside."""
    secret = tmp_path / "secret"
    secret.write_text("secret")

    async def story(bench: Bench) -> None:
        bench.folders.create("other", [("x", 0o100644, b"x")], [])
        script = f"ls /; ls /etc; ls {work} {Path.home()} {secret} /etc/shadow /sys 2>&1 || true; echo $(ls -d /proc/[0-9]*); id -un"
        assert (await bench.run(script)).exit_code == 0
        text = bench.text()
        assert text.count("No such file or directory") == 5
        assert "pip.conf" not in text
        assert "ssl" not in text
        assert text.endswith("\nsetpoint\n")
        assert len([word for word in text.split() if word.startswith("/proc/")]) < 8

    play(build, work, story)


def test_executor_keeps_the_network_away_unless_declared(build: Build, work: Path) -> None:
    """Without `network` even the machine's loopback is out of reach; with it, it is not; localhost has its name in both."""

    async def story(bench: Bench) -> None:
        with listening() as port:
            await bench.run(CONNECT.format(port=port))
            assert bench.text().endswith("refused\n")
            await bench.run(CONNECT.format(port=port), "n", network=True)
            assert bench.text("n") == "b'reached'\n"
        await bench.run("python3 -c 'import socket; print(socket.gethostbyname(\"localhost\"))'", "l")
        assert bench.text("l") == "127.0.0.1\n"

    play(build, work, story)


def test_executor_cancelled_twice_kills_at_once(work: Path) -> None:
    """A second cancellation does not wait for the grace."""

    async def story(bench: Bench) -> None:
        running = asyncio.create_task(bench.run("trap '' TERM; echo up; while :; do sleep 0.01 || :; done"))
        await bench.shown("up")
        running.cancel()
        await until(lambda: "asked to end" in bench.text(stream="note"))
        running.cancel()
        await asyncio.wait({running}, timeout=15)
        assert running.cancelled()

    play(lambda folder: RunnerClient.spawn(folder, dedicated_uid(), grace_s=600), work, story)


FORKS = """python3 - <<'EOF'
import os
count, (hold, release) = 0, os.pipe()
try:
    while count < 200:
        if os.fork() == 0:
            os.close(release)
            os.read(hold, 1)
            os._exit(0)
        count += 1
except OSError:
    pass
print("made", count)
os.close(release)
EOF"""


def test_executor_keeps_a_command_to_its_number_of_processes(build: Build, work: Path) -> None:
    """Each sandbox has its own count, so neighbours take nothing from each other, and who asks for no bound has none of these."""

    async def story(bench: Bench) -> None:
        await asyncio.gather(bench.run(FORKS, "a", processes=40), bench.run(FORKS, "b", processes=40), bench.run(FORKS, "c"))
        for name in ("a", "b"):
            assert 30 < int(bench.text(name).split()[1]) < 40
        assert bench.text("c") == "made 200\n"

    play(build, work, story)


def test_runner_killed_answers_lost_and_the_next_task_respawns_it(work: Path) -> None:
    """Every waiting caller learns that its task is lost, the tasks die with the runner, and the next one runs in a new runner."""

    async def story(bench: Bench) -> None:
        running = [asyncio.create_task(bench.run("echo up; exec sleep 98765", name)) for name in "ab"]
        for name in "ab":
            await bench.shown("up", name)
        first = bench.executor.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert [(await task).how for task in running] == ["lost", "lost"]
        await until(lambda: not processes_with("98765"))
        assert await bench.run("echo again", "c") == TaskExit("exited", 0)
        assert bench.executor.pid != first

    play(sandboxed, work, story)


def test_runner_dies_with_the_socket(work: Path) -> None:
    """When the server is gone, the runner and its tasks go too."""

    async def story(bench: Bench) -> None:
        running = asyncio.create_task(bench.run("echo up; exec sleep 98766"))
        await bench.shown("up")
        link = bench.executor._link
        assert link is not None
        assert link.transport is not None
        link.transport.abort()
        assert (await running).how == "lost"
        await until(lambda: not processes_with("98766"))
        process = bench.executor._process
        assert process is not None
        await until(lambda: process.poll() is not None)

    play(sandboxed, work, story)


def test_runner_starts_with_an_environment_free_of_secrets(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner is given the search path and the package clients' variables, and nothing else of the server's environment."""
    monkeypatch.setenv("SETPOINT_TOKEN", "hunter2")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    runner = sandboxed(work)
    try:
        environment = Path(f"/proc/{runner.pid}/environ")
        asyncio.run(
            until(lambda: bool(environment.read_bytes()))
        )  # it is empty for a moment while the kernel puts the new program in place
        names = {line.partition(b"=")[0] for line in environment.read_bytes().split(b"\0")}
    finally:
        runner.close()
    assert {b"PATH", b"LANG", b"HTTPS_PROXY"} <= names
    assert not names & {b"SETPOINT_TOKEN", b"GOFLAGS", b"HOME"}


def test_runner_process_is_light() -> None:
    """The runner imports the standard library and its own few modules: no asyncio, no TLS, no pydantic."""
    code = "import sys; import setpoint.adapters.runner.process; print(' '.join(sys.modules))"
    source = str(Path(protocol.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"], capture_output=True, check=True
    )
    modules = set(done.stdout.decode().split())
    assert not modules & {"asyncio", "ssl", "pydantic", "logging"}
    ours = {name for name in modules if name.startswith("setpoint.adapters.")}
    assert ours == {"setpoint.adapters." + name for name in ("masking", "sandbox", "runner")} | {
        "setpoint.adapters.runner." + name
        for name in ("process", "loop", "inside", "output", "package_client", "protocol", "sandboxed", "bare")
    }


def test_runner_gives_a_networked_task_the_package_clients_configuration(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A networked task sees the variables and the files they name, read-only; credentials among them never reach the log."""
    wheels = Path(tempfile.mkdtemp(prefix="wheels-", dir=work))
    wheels.chmod(0o755)
    (wheels / "one.whl").write_text("w")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:s3cr%2Fet-word@index.example/simple")
    monkeypatch.setenv("NPM_CONFIG__AUTH_TOKEN", "npm_tokentokentoken")
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")

    async def story(bench: Bench) -> None:
        script = (
            f"ls $PIP_FIND_LINKS; touch {wheels}/x 2>&1 || true; echo $PIP_INDEX_URL; echo $NPM_CONFIG__AUTH_TOKEN >&2;"
            " echo ${PIP_TARGET-unset}; printf s3cr; sleep 0.2; printf '/et-word\\n'; printf 'me:s3cr/et-word' | base64;"
            " ls -d /etc/ssl/private/* /etc/resolv.conf 2>&1 || true"
        )
        assert (await bench.run(script, network=True)).exit_code == 0
        text = bench.text()
        assert text.startswith("one.whl\n")
        assert "Read-only file system" in text
        assert "https://***@index.example/simple\n" in text
        assert "\nunset\n***\n" in text
        assert "bWU6czNjci9ldC13b3Jk" not in text
        assert bench.text(stream="err") == "***\n"
        assert "/etc/resolv.conf" in text
        await bench.run("env; ls /etc/ssl 2>&1 || true", "offline")
        assert "PIP_" not in bench.text("offline")
        assert "No such file" in bench.text("offline")

    play(sandboxed, work, story)


def test_runner_leaves_no_descriptor_and_no_environment_on_a_command_line(work: Path) -> None:
    """Nothing of the runner's descriptors is open inside, and values of variables cannot be read from `ps`."""

    async def story(bench: Bench) -> None:
        script = "ls /proc/self/fd; echo up; while [ ! -e go ]; do sleep 0.01; done"
        running = asyncio.create_task(bench.run(script, environment={"WORD": "value-on-no-command-line"}))
        await bench.shown("up")
        assert not processes_with("value-on-no-command-line")
        (work / "t" / "go").touch()
        await running
        assert bench.text().split() == ["0", "1", "2", "3", "up"]

    play(sandboxed, work, story)


def test_runner_limits_what_tasks_may_use(work: Path) -> None:
    """No core dumps, a bounded file size, no way to make further user namespaces."""

    async def story(bench: Bench) -> None:
        await bench.run("ulimit -c; ulimit -f; ulimit -n; unshare -U true 2>/dev/null || echo refused")
        core, file_blocks, files, namespaces = bench.text().split()
        assert (core, int(file_blocks) * 512, namespaces) == ("0", 16 << 30, "refused")
        assert int(files) <= 65536

    play(sandboxed, work, story)


def test_runner_refuses_what_cannot_work_with_a_reason(work: Path, tmp_path: Path) -> None:
    """No workspace, no way to the workspaces, no plain task name: each is a clear error, and none ends the runner for others."""

    async def story(bench: Bench) -> None:
        missing = TaskCommand("missing", ("/bin/true",), {}, network=False, timeout_s=5)
        with pytest.raises(WorldError, match=r"SP241.*missing"):
            await bench.executor.execute(missing, print)
        with pytest.raises(BugError, match="SP243"):
            await bench.executor.execute(TaskCommand("../up", ("/bin/true",), {}, network=False, timeout_s=5), print)
        assert (await bench.run("true")).exit_code == 0

    play(sandboxed, work, story)

    async def unreachable(bench: Bench) -> None:
        command = TaskCommand("t", ("/bin/true",), {}, network=False, timeout_s=5)
        with pytest.raises(WorldError, match=r"SP240.*cannot reach"):
            await bench.executor.execute(command, print)

    play(lambda _: sandboxed(work / "not" / "there"), work, unreachable)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root drops to another user")
def test_runner_as_root_becomes_the_dedicated_user(work: Path) -> None:
    """Seen from outside, runner and task run as RUNNER_UID without groups; a 0600 file of root beside the workspace stays closed."""
    with pytest.raises(BugError, match="SP242"):
        RunnerClient.spawn(work, None)
    (work / "secret").write_text("root's")
    (work / "secret").chmod(0o600)

    async def story(bench: Bench) -> None:
        running = asyncio.create_task(bench.run("echo up; exec sleep 98767"))
        await bench.shown("up")
        for pid in [*processes_with("98767"), bench.executor.pid]:
            fields = status_of(pid)
            assert fields["Uid"].split() == [str(protocol.RUNNER_UID)] * 4
            assert fields["Gid"].split() == [str(protocol.RUNNER_UID)] * 4
            assert fields["Groups"].split() == []
            assert int(fields["CapEff"], 16) == 0
        assert (work / "t").stat().st_uid == protocol.RUNNER_UID
        running.cancel()
        await asyncio.wait({running}, timeout=15)
        (work / "t" / "link").symlink_to(work / "secret")
        os.link(work / "secret", work / "t" / "hard")
        bench.records.clear()
        ended = await bench.executor.execute(
            TaskCommand("t", ("/bin/sh", "-c", "cat link; cat hard"), {}, network=False, timeout_s=30),
            bench.records.setdefault("t", []).extend,
        )
        assert ended.exit_code == 1
        assert "Permission denied" in bench.text(stream="err")

    play(sandboxed, work, story)


UNPRIVILEGED = """
import asyncio, json, os, sys
from pathlib import Path
from setpoint.adapters.runner.client import RunnerClient, dedicated_uid
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.pipeline.model import TaskCommand
work = Path(sys.argv[1])
async def main():
    runner = RunnerClient.spawn(work, dedicated_uid())
    folders = WorkspaceFolder(work, dedicated_uid())
    folders.create("t", [("in.txt", 0o100644, b"hello")], [])
    lines = []
    script = "cat in.txt; mkdir -p shut/in; touch shut/in/f; chmod 000 shut/in shut; echo made > out.txt; exit 4"
    command = TaskCommand("t", ("/bin/sh", "-euc", script), {}, network=False, timeout_s=30)
    ended = await runner.execute(command, lines.extend)
    unmatched = folders.collect("t", ["out.txt", "shut"], work / "out.tar")
    folders.remove("t")
    runner.close()
    found = [ended.how, ended.exit_code, "".join(l.text for l in lines), unmatched, sorted(os.listdir(work)), os.getuid()]
    print(json.dumps(found))
asyncio.run(main())
"""


def test_runner_works_for_an_unprivileged_user(work: Path) -> None:
    """The same holds without root: execution, collection and deletion, shut folders too."""
    user = 12345 if os.geteuid() == 0 else os.geteuid()
    copy = work / "copy"
    shutil.copytree(Path(protocol.__file__).parents[2], copy / "setpoint", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    place = work / "theirs"
    place.mkdir(mode=0o711)
    become = [] if os.geteuid() else ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"]
    if os.geteuid() == 0:
        os.chown(place, user, user)
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _usable(become, path)), None)
    if python is None:
        pytest.skip("INCOMPLETE: needs a Python 3.11 that an unprivileged user can execute")
    environment = {"PYTHONPATH": str(copy), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*become, python, "-c", UNPRIVILEGED, str(place)], capture_output=True, env=environment, check=False, cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == ["exited", 4, "hello", [], ["out.tar"], user]


def _usable(become: list[str], python: str) -> bool:
    # It starts itself again, as the runner client does: an interpreter below a closed home may start once and not know where it is.
    check = "import subprocess, sys; raise SystemExit(sys.version_info < (3, 11) or subprocess.call([sys.executable, '-c', '']))"
    done = subprocess.run([*become, python, "-c", check], capture_output=True, check=False, cwd="/")
    return done.returncode == 0
