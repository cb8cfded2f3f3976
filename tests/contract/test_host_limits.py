"""What a replica may not do: see others' secrets, use more than its limits, fill memory, or leave anything behind."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from host_builders import Host, get, log, one, serving, wait_for
from leaks import everywhere
from setpoint.adapters import sandbox
from setpoint.adapters.age import KeyFile
from setpoint.adapters.host.cgroups import ControlGroups
from setpoint.adapters.sops import SopsVault
from setpoint.core.errors import UserError
from setpoint.reconcile import manifests
from setpoint.reconcile.model import EmptyDir, JobLimits, PreStop, Probe, Resources, SealedSecret, SecretKey

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(bool(sandbox.probe()), reason=f"needs bubblewrap: {sandbox.probe()}")]

SOPS = Path(__file__).parent / "sops"
NAME = "staging-hello-web-h1-1"
GROUPS = ControlGroups("setpoint-test")


def python(code: str, **container: Any) -> dict[str, Any]:
    """A container that runs a line of Python in place of the web server."""
    return {"command": ("python3", "-u", "-c", code), **container}


def run(host: Host, code: str, job: JobLimits | None = None, **container: Any) -> Any:
    """Run a line of Python to its end and return what became of it."""
    runtime = host.runtime()
    spec = host.spec(NAME, runtime, **python(code, **container))
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    runtime.start(type(spec)(**{**fields, "job": job or JobLimits(0, None)}))
    return wait_for(lambda: (now := one(runtime, NAME)).finished_at and not now.shim_alive and now, 20)


@pytest.fixture
def secret(host: Host, tmp_path: Path) -> SealedSecret:
    """A Secret that the host's vault opens."""
    key = tmp_path / "age.key"
    shutil.copy(SOPS / "age.key", key)
    key.chmod(0o600)
    host.vault = SopsVault(KeyFile(key))
    value = manifests.load((SOPS / "regex.yaml").read_bytes(), "regex.yaml")[0].value
    values = {f"{place}:{name}": text for place in ("data", "stringData") for name, text in value[place].items()}
    return SealedSecret("database", tuple(entry["enc"] for entry in value["sops"]["age"]), values)


def test_a_secret_is_in_its_replica_and_nowhere_else(host: Host, secret: SealedSecret) -> None:
    """Variables and files reach the program, also after its restart without a server; no file and no other process holds the value."""
    runtime = host.runtime()
    spec = host.spec(
        NAME,
        runtime,
        secret_environment={"PASSWORD": SecretKey("database", "PASSWORD"), "TOKEN": SecretKey("database", "TOKEN")},
        secret_files={"/config/app.txt": SecretKey("database", "PASSWORD"), "/app/empty": SecretKey("database", "EMPTY")},
        modes={"/config/app.txt": 0o440},
        sealed=(secret,),
    )
    runtime.start(spec)
    first = serving(runtime, NAME)
    seen = get(first)
    assert (seen["env"]["PASSWORD"], seen["env"]["TOKEN"]) == ("correct horse battery staple", "s3cr3t-token")
    assert seen["config"] == "correct horse battery staple"
    for value in (b"correct horse", b"s3cr3t-token"):
        assert everywhere([host.folder], value) == [f"{first.pid} environ"]
    host.vault = None  # from here on nobody could decrypt it again
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: one(runtime, NAME).restarts == 1 and one(runtime, NAME).pid)
    second = serving(runtime, NAME)
    assert get(second)["config"] == "correct horse battery staple"
    assert everywhere([host.folder], b"correct horse") == [f"{second.pid} environ"]


def test_a_replica_whose_secret_does_not_open_does_not_start(host: Host, secret: SealedSecret, tmp_path: Path) -> None:
    """It fails closed, with the reason, and leaves nothing."""
    keys = KeyFile(tmp_path / "other.key")
    keys.create()
    host.vault = SopsVault(keys)
    runtime = host.runtime()
    with pytest.raises(UserError, match="SP673"):
        runtime.start(host.spec(NAME, runtime, secret_environment={"P": SecretKey("database", "PASSWORD")}, sealed=(secret,)))
    assert runtime.replicas() == []


def test_a_replica_can_read_secret_files_and_nobody_writes_them(host: Host, secret: SealedSecret) -> None:
    """The file has its mode, is read-only, and no descriptor of it is left open in the program."""
    code = (
        "import os, stat; p = '/run/secret/p'; print(open(p).read(), oct(stat.S_IMODE(os.stat(p).st_mode)));"
        "print(sorted(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')))\n"
        "try: open(p, 'w')\nexcept OSError as e: print(type(e).__name__)"
    )
    run(host, code, secret_files={"/run/secret/p": SecretKey("database", "PASSWORD")}, sealed=(secret,))
    lines = log(host.runtime(), NAME).splitlines()
    assert lines[0] == "correct horse battery staple 0o400"
    assert "memfd" not in lines[1]
    assert lines[2] in {"PermissionError", "OSError"}


def test_a_fork_bomb_is_bounded_and_takes_nobody_along(host: Host) -> None:
    """A replica reaches its number of processes and gets an error; another replica starts meanwhile."""
    code = (
        "import os, time, signal\nn = 0\n"
        "try:\n  while n < 3000:\n    if os.fork() == 0: time.sleep(1000)\n    n += 1\n"
        "except OSError as e: print('stopped at', n, e.errno)"
    )
    run(host, code)
    said = next(line for line in log(host.runtime(), NAME).splitlines() if line.startswith("stopped at")).split()
    assert 900 < int(said[2]) <= 1024
    assert int(said[3]) == 11


def test_tmp_and_memory_volumes_are_bounded_and_disk_volumes_survive_a_restart(host: Host) -> None:
    """The folder for scratch files ends at 512 MiB, an emptyDir in memory at its size; one on disk keeps what an earlier process wrote."""
    code = (
        "import os, sys\n"
        "print('kept', sorted(os.listdir('/disk')), sorted(os.listdir('/memory')))\n"
        "open('/disk/x', 'w').write('1'); open('/memory/x', 'w').write('1')\n"
        "s = os.statvfs('/tmp'); print('tmp', s.f_blocks * s.f_frsize)\n"
        "s = os.statvfs('/memory'); print('memory', s.f_blocks * s.f_frsize)\n"
        "sys.exit(1)"
    )
    scratch = (EmptyDir("disk", "/disk"), EmptyDir("memory", "/memory", in_memory=True, size_bytes=1 << 20))
    ended = run(host, code, JobLimits(1, None), scratch=scratch)
    assert (ended.outcome, ended.restarts) == ("failed", 1)
    said = [line for line in log(host.runtime(), NAME).splitlines() if line.split()[0] in {"kept", "tmp", "memory"}]
    assert said[:3] == ["kept [] []", f"tmp {512 << 20}", f"memory {1 << 20}"]
    assert said[3] == "kept ['x'] []"


def test_a_replica_that_closed_its_folders_is_removed_all_the_same(host: Host) -> None:
    """Whatever modes a program leaves in its emptyDir, the folder goes."""
    run(host, "import os; os.makedirs('/disk/a/b'); os.chmod('/disk/a/b', 0); os.chmod('/disk/a', 0)", scratch=(EmptyDir("d", "/disk"),))
    mode = (host.folder / "replicas").stat().st_mode
    host.runtime().remove(NAME)
    host.runtime().remove(NAME)
    assert not (host.folder / "replicas" / NAME).exists()
    assert (host.folder / "replicas").stat().st_mode == mode  # the next replica has to get in


@pytest.mark.skipif(bool(GROUPS.why_not()), reason=f"INCOMPLETE: needs control groups: {GROUPS.why_not()}")
def test_a_replica_over_its_memory_is_ended_and_the_reason_is_told(host: Host) -> None:
    """The kernel ends it at the limit, the shim says why, and the group goes with the replica."""
    ended = run(host, "x = bytearray(200 << 20); print(len(x))", resources=Resources(memory_bytes=64 << 20, cpu_millis=500))
    assert (ended.outcome, ended.last_exit, ended.unenforced) == ("failed", "killed by SIGKILL (out of memory)", "")
    groups = json.loads((host.folder / "replicas" / NAME / "spec.json").read_text())["groups"]
    assert groups
    assert all(Path(group).is_dir() for group in groups)
    host.runtime().remove(NAME)
    assert not any(Path(group).exists() for group in groups)


@pytest.mark.skipif(not GROUPS.why_not(), reason="this machine enforces limits")
def test_a_limit_that_cannot_be_enforced_is_said(host: Host) -> None:
    """The replica runs, and its status says what does not hold."""
    runtime = host.runtime()
    runtime.start(host.spec(NAME, runtime, resources=Resources(memory_bytes=64 << 20)))
    assert "limits of memory are not enforced" in serving(runtime, NAME).unenforced


def test_a_hook_runs_before_the_program_is_asked_to_end(host: Host) -> None:
    """An HTTP hook is asked while the program still serves, then TERM follows; a pause keeps it serving for so long."""
    runtime = host.runtime()
    runtime.start(host.spec(NAME, runtime, pre_stop=PreStop(path="/bye", headers=(("X-Why", "stop"),))))
    serving(runtime, NAME)
    runtime.stop(NAME, 10)
    wait_for(lambda: not one(runtime, NAME).shim_alive)
    text = log(runtime, NAME)
    assert "GET /bye" in text
    assert text.index("GET /bye") < text.index("asked to end")


def test_a_pause_before_the_end_is_cut_by_the_grace(host: Host) -> None:
    """A hook that is longer than the grace delays nothing beyond it."""
    runtime = host.runtime()
    runtime.start(host.spec(NAME, runtime, pre_stop=PreStop(600.0)))
    status = serving(runtime, NAME)
    runtime.stop(NAME, 600)
    wait_for(lambda: one(runtime, NAME).stopping)
    assert runtime.ready(status, Probe("/"))[0]
    runtime.stop(NAME, 0.2)
    wait_for(lambda: not one(runtime, NAME).shim_alive)
    assert one(runtime, NAME).last_exit == "killed by SIGKILL"
