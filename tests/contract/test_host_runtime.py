"""The host runtime with real shims, real sandboxes and a real image; the store is a dictionary."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from host_builders import APP, UID, Host, get, log, one, serving, wait_for
from setpoint.adapters import sandbox
from setpoint.adapters.host import processes
from setpoint.adapters.host.replica_sandbox import expand
from setpoint.core.errors import ConflictError, UserError
from setpoint.reconcile.model import ImageMount

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(bool(sandbox.probe()), reason=f"needs bubblewrap: {sandbox.probe()}")]


def test_a_replica_serves_on_its_port_with_the_environment_and_files_it_was_given(host: Host) -> None:
    """A started replica serves on $PORT, knows who it is, sees its files, and can change nothing of its image."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-1", runtime, args=("at", "$(PORT)", "$(NOPE)"), files={"/config/app.txt": "hello"})
    runtime.start(spec)
    status = serving(runtime, spec.replica)
    seen = get(status)
    assert status.spec == spec
    assert status.shim_alive
    assert status.restarts == 0
    assert seen["argv"][1:] == ["at", str(spec.port), "$(NOPE)"]
    assert seen["config"] == "hello"
    assert not seen["writable"]
    assert {"COLOUR": "blue", "A": "1", "SETPOINT_REPLICA": spec.replica, "SETPOINT_PROMOTION": "p-1"}.items() <= seen["env"].items()
    assert set(seen["root"]) <= {"app", "bin", "config", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    assert status.pid is not None
    assert processes.owner(status.pid) == (UID if UID is not None else os.getuid())
    assert b"COLOUR" not in Path(f"/proc/{status.pid}/cmdline").read_bytes()
    runtime.start(spec)
    assert one(runtime, spec.replica).pid == status.pid


def test_a_file_artifact_is_mounted_read_only_beside_the_container(host: Host) -> None:
    """A replica sees a mounted artifact as a folder and as the one file that subPath names, and can write neither."""
    runtime = host.runtime()
    model = host.store.file("model.bin", b"weights")
    mounts = (ImageMount("/models", model), ImageMount("/app/one.bin", model, "model.bin"))
    spec = host.spec("staging-hello-web-h1-1", runtime, mounts=mounts)
    runtime.start(spec)
    seen = get(serving(runtime, spec.replica))
    assert seen["/models/model.bin"] == ["weights", False, False]
    assert seen["/app/one.bin"] == ["weights", False, False]
    assert len(list((host.folder / "images").iterdir())) == 2


@pytest.mark.parametrize("part", ["gone.bin", "../rootfs/..", "out/x"])
def test_a_mount_of_what_the_artifact_does_not_hold_is_refused(host: Host, part: str, tmp_path: Path) -> None:
    """A subPath that is not there, or would leave the artifact, is an error that lists what is there; nothing starts."""
    (tmp_path / "x").write_text("of the host")
    runtime = host.runtime()
    reference = host.store.image({"model.bin": "weights", "out": ""})
    spec = host.spec("staging-hello-web-h1-1", runtime, mounts=(ImageMount("/models", reference, part),))
    out = host.folder / "images" / reference.partition("sha256:")[2] / "rootfs" / "out"
    with pytest.raises(UserError, match="SP631") as caught:
        runtime.start(spec)
    assert "model.bin, out" in caught.value.fix
    out.unlink()
    out.symlink_to(tmp_path)
    with pytest.raises(UserError, match="SP631"):
        runtime.start(spec)
    assert runtime.replicas() == []


def test_a_killed_application_comes_back(host: Host) -> None:
    """The shim starts the application again after it was killed, and says how it ended."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-2", runtime)
    runtime.start(spec)
    first = serving(runtime, spec.replica)
    assert first.pid is not None
    seen = runtime.glance()
    assert runtime.glance() == seen
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: runtime.glance() != seen)
    wait_for(lambda: one(runtime, spec.replica).restarts == 1 and one(runtime, spec.replica).pid)
    second = serving(runtime, spec.replica)
    assert second.pid != first.pid
    assert second.last_exit == "killed by SIGKILL"


def test_a_restarted_server_finds_the_same_process(host: Host) -> None:
    """A second runtime on the same folders re-adopts the replica with the same pid and can stop it gracefully."""
    spec = host.spec("staging-hello-web-h1-3", host.runtime())
    host.runtime().start(spec)
    first = serving(host.runtime(), spec.replica)
    again = host.runtime()
    assert one(again, spec.replica).pid == first.pid
    assert again.free_port() != spec.port
    again.stop(spec.replica, 5)
    assert one(again, spec.replica).stopping
    wait_for(lambda: not one(again, spec.replica).shim_alive)
    ended = one(again, spec.replica)
    assert (ended.pid, ended.last_exit) == (None, "exit status 0")
    assert "serving\n" in log(again, spec.replica)
    assert "asked to end\n" in log(again, spec.replica)
    again.stop(spec.replica, 5)
    again.remove(spec.replica)
    again.remove(spec.replica)
    assert again.replicas() == []


def test_a_replica_that_ignores_term_is_killed_after_the_grace(host: Host) -> None:
    """KILL follows TERM when the grace is over."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-4", runtime, args=("deaf",))
    runtime.start(spec)
    serving(runtime, spec.replica)
    with pytest.raises(ConflictError, match="SP637"):
        runtime.remove(spec.replica)
    runtime.stop(spec.replica, 0.3)
    wait_for(lambda: not one(runtime, spec.replica).shim_alive)
    assert one(runtime, spec.replica).last_exit == "killed by SIGKILL"


def test_a_killed_shim_takes_its_replica_along_and_is_reported(host: Host) -> None:
    """Killing the shim ends the application too, the status says so, and a new start works in the same folder."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-5", runtime)
    runtime.start(spec)
    first = serving(runtime, spec.replica)
    assert first.pid is not None
    state = json.loads((host.folder / "replicas" / spec.replica / "state.json").read_text())
    seen = runtime.glance()
    os.kill(state["shim_pid"], signal.SIGKILL)
    wait_for(lambda: runtime.glance() != seen)
    assert processes.wait_gone(first.pid, 5)
    dead = wait_for(lambda: None if one(runtime, spec.replica).shim_alive else one(runtime, spec.replica))
    assert dead.pid is None
    assert runtime.ready(dead, None) == (False, "not running (killed by SIGKILL with its shim)")
    runtime.start(spec)
    assert serving(runtime, spec.replica).pid != first.pid


def test_an_application_that_cannot_start_is_tried_again_and_its_words_are_in_the_log(host: Host) -> None:
    """A command that does not exist ends in backoff with the reason in the log."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-6", runtime, command=("/nothing/here",))
    runtime.start(spec)
    wait_for(lambda: one(runtime, spec.replica).restarts >= 1)
    assert "/nothing/here" in log(runtime, spec.replica)
    assert one(runtime, spec.replica).last_exit == "exit status 1"


@pytest.mark.parametrize(
    ("files", "labels", "text"),
    [
        ({"usr/x": "y"}, None, "may not bring its own /usr"),
        ({"app/x": "y"}, {"dev.setpoint.base": "host", "dev.setpoint.host.python": "3.9.1"}, "Python 3.9"),
    ],
)
def test_an_image_that_cannot_run_here_is_refused(host: Host, files: dict[str, str], labels: dict[str, str] | None, text: str) -> None:
    """An image that shadows the toolchain, or was made for another one, never starts."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-7", runtime, image=host.store.image(files, labels, Cmd=["x"]))
    with pytest.raises(UserError, match="SP631") as caught:
        runtime.start(spec)
    assert text in caught.value.what
    assert runtime.replicas() == []


def test_an_image_with_its_own_root_sees_only_that_and_mounted_files(host: Host) -> None:
    """A foreign image's rootfs is /, read-only, also where a file is put into one of its folders; links stay inside."""
    runtime = host.runtime()
    image = host.store.image({"etc/own": "x", "data/a": "1"}, {}, Cmd=["/bin/true"])
    spec = host.spec("staging-hello-web-h1-8", runtime, image=image, files={"/etc/app.conf": "c"})
    runtime.start(spec)
    written = json.loads((host.folder / "replicas" / spec.replica / "spec.json").read_text())
    options = written["options"] + written["last_options"]
    targets = {options[index + 2] for index, word in enumerate(options) if word == "--ro-bind"}
    assert {"/data", "/etc/own", "/etc/app.conf"} <= targets
    assert not targets & {"/", "/usr", "/etc"}
    assert "--remount-ro" in options


def test_an_image_of_another_toolchain_runs_all_the_same(host: Host) -> None:
    """A changed fingerprint is never a reason not to start."""
    runtime = host.runtime()
    labels = {"dev.setpoint.base": "host", "dev.setpoint.host.python": "3.11.1", "dev.setpoint.host.fingerprint": "sha256:ff"}
    old = host.store.image({"app/main.py": APP}, labels, Cmd=["python3", "/app/main.py"])
    spec = host.spec("staging-hello-web-h1-9", runtime, image=old)
    runtime.start(spec)
    assert serving(runtime, spec.replica).shim_alive


@pytest.mark.skipif(UID is None, reason="only root runs replicas as another user")
def test_a_home_that_replicas_cannot_reach_is_refused_with_the_folder(host: Host) -> None:
    """A private folder on the way to the home is named, instead of replicas that die without a word."""
    runtime = host.runtime()
    spec = host.spec("staging-hello-web-h1-10", runtime)
    host.folder.chmod(0o700)
    with pytest.raises(UserError, match="SP639") as caught:
        runtime.start(spec)
    assert str(host.folder) in caught.value.what


def test_ports_are_promised_once(host: Host) -> None:
    """Two askers never get the same port, though neither listens yet."""
    runtime = host.runtime()
    assert len({runtime.free_port() for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["../x", "", "A", "a/b", "a..b", ".a", "x" * 300])
def test_odd_replica_ids_are_refused(host: Host, name: str) -> None:
    """A replica id that is no plain folder name is refused before anything happens."""
    with pytest.raises(UserError, match="SP638"):
        host.runtime().stop(name, 1)


def test_references_expand_as_in_kubernetes() -> None:
    """The cases of Kubernetes' own expansion_test.go that matter."""
    known = {"VAR_A": "A", "VAR_B": "B"}
    cases = {
        "$(VAR_A)": "A",
        "___$(VAR_B)___": "___B___",
        "$$(VAR_A)": "$(VAR_A)",
        "$$$(VAR_A)": "$A",
        "$(NO)": "$(NO)",
        "$(VAR_A": "$(VAR_A",
        "$": "$",
    }
    assert {text: expand(text, known) for text in cases} == cases


def test_an_unprivileged_user_can_run_replicas() -> None:
    """The host runtime's, the shim's and the proxy's suites also pass as a user without rights."""
    if os.getuid() != 0:
        pytest.skip("this already is an unprivileged user")
    python = next(
        (path for path in (sys.executable, "/usr/bin/python3") if _as_stranger(path, "-c", "import pytest, setpoint").returncode == 0), None
    )
    if python is None:
        pytest.skip("INCOMPLETE: needs a checkout and a Python that uid 12345 can read")
    files = [str(Path(__file__).with_name(f"test_host_{name}.py")) for name in ("runtime", "shim", "proxy")]
    done = _as_stranger(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def _as_stranger(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python with this one's packages as an unprivileged user; through env, for setpriv itself may still execute what he may not."""
    packages = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "/usr/bin/env", python, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
