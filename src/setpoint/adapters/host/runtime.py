"""Replicas on this machine: fills `reconcile.ports.ReplicaRuntime` with folders, shims and sandboxes.

Built by wiring, called by the reconciler from worker threads. What runs is read from the replica folders and /proc every time, so a
restarted server finds the same processes; it never restarts a replica itself (the shim does) and never runs anything outside a sandbox.
"""

import base64
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.host import probe as probes
from setpoint.adapters.host import processes, replica_sandbox, shim, shim_state
from setpoint.adapters.host.cgroups import ControlGroups
from setpoint.adapters.host.ports_range import PortRange
from setpoint.adapters.host.replica_log import Follower
from setpoint.adapters.host.shim_log import LOG_FILES
from setpoint.adapters.host.unpack import ImageFolder
from setpoint.artifact.ports import OciStore
from setpoint.core import records
from setpoint.core.errors import ConflictError, UserError, WorldError
from setpoint.pipeline.model import ToolchainFacts
from setpoint.reconcile.model import Container, Probe, ReplicaSpec, ReplicaStatus, SecretKey
from setpoint.reconcile.ports import Vault

FIRST_PORT: Final = 20000
LAST_PORT: Final = 29999
_START_S: Final = 15.0
_KILL_S: Final = 5.0
_GENERATION: Final = "imageGeneration"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,198}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class HostFolders:
    """Where the runtime works: one folder per replica, one per unpacked image."""

    replicas: Path
    images: Path


class HostRuntime:
    """Starts, finds, probes and ends replicas."""

    def __init__(
        self,
        folders: HostFolders,
        store: OciStore,
        toolchain: Callable[[], ToolchainFacts],
        uid: int | None,
        ports: tuple[int, int] = (FIRST_PORT, LAST_PORT),
        vault: Vault | None = None,
    ) -> None:
        """Uid is who replicas run as when the server is root, None otherwise; ports is the range for replicas; vault opens Secrets."""
        self._replicas = folders.replicas.absolute()
        self._vault = vault
        self._groups = ControlGroups(f"setpoint-{zlib.crc32(os.fsencode(self._replicas)):08x}")
        self._toolchain = toolchain
        self._uid = uid
        self.images = ImageFolder(folders.images.absolute(), store, lambda: toolchain().platform, uid)
        self._ports = PortRange(*ports, start=zlib.crc32(os.fsencode(self._replicas)))
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def start(self, spec: ReplicaSpec) -> None:
        """Unpack the image when needed and start a shim; returns once the shim has written its state.

        Raises:
            UserError: the image cannot run here (SP631), is faulty (SP633) or missing (SP634); a Secret does not open (SP672, SP673).
            WorldError: the shim does not start (SP632), a limit cannot be set (SP645).
        """
        folder = self._folder(spec.replica)
        with self._lock(spec.replica):
            state = self._state(folder)
            if state is not None and state.alive:
                return
            image = self.images.unpack(spec.container.image)
            replica_sandbox.check_host_match(image, self._toolchain())
            volumes = {mount.image: self.images.unpack(mount.image).rootfs for mount in spec.container.mounts}
            sandbox = replica_sandbox.plan(spec, image, folder, volumes)
            secrets = self._secrets(spec.container)
            folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._reachable(folder.parent)
            self._write(folder, spec, sandbox, self._generation(spec.container))
            self._launch(folder, secrets)

    def replicas(self) -> list[ReplicaStatus]:
        """Return every replica that has a folder, ordered by id."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._replicas) if _NAME.fullmatch(entry.name))
        except FileNotFoundError:
            return []
        found = [self._status(self._replicas / name) for name in names]
        return [status for status in found if status is not None]

    def generations(self) -> set[str]:
        """Return which unpackings of images replicas were started from; a replica that has ended may still be reading its own."""
        try:
            folders = [entry.path for entry in os.scandir(self._replicas)]
        except FileNotFoundError:
            return set()
        noted = [str(shim_state.read_json(Path(folder) / "replica.json").get(_GENERATION) or "") for folder in folders]
        return {generation for text in noted for generation in text.split(",")}

    def _generation(self, container: Container) -> str:
        """Return which unpackings of its image and of all that it mounts lie in their places, the image's first."""
        return ",".join(self.images.generation(image) for image in container.images)

    def glance(self) -> object:
        """Return a cheap picture of every replica: equal pictures mean that no shim wrote a state, and none died."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._replicas) if _NAME.fullmatch(entry.name))
        except FileNotFoundError:
            return []
        return [(name, *shim_state.picture(self._replicas / name)) for name in names]

    def stop(self, replica: str, grace_s: float) -> None:
        """Ask the shim to end its application: TERM, then KILL after the grace; returns at once."""
        folder = self._folder(replica)
        state = self._state(folder)
        if state is None or not state.alive or state.shim_pid is None:
            return
        self._put(folder, "stop.json", json.dumps({"grace_s": max(0.0, grace_s)}))
        processes.send(state.shim_pid, signal.SIGTERM)

    def remove(self, replica: str) -> None:
        """Delete the folder of a replica whose shim is gone, ending what is left of its tree first.

        Raises:
            ConflictError: the shim still runs (SP637).
        """
        folder = self._folder(replica)
        with self._lock(replica):
            state = self._state(folder)
            if state is not None and state.alive:
                raise ConflictError("SP637", "the replica still runs", where=replica, fix="stop it first")
            if state is not None and state.sandbox_pid is not None:
                processes.send(state.sandbox_pid, signal.SIGKILL)
                processes.wait_gone(state.sandbox_pid, _KILL_S)
            self._groups.remove(replica)
            gone = folder.with_name(f".gone-{replica}")
            with contextlib.suppress(FileNotFoundError):
                _remove_tree(gone)
            with contextlib.suppress(FileNotFoundError):
                folder.rename(gone)
                _remove_tree(gone)

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Look once whether the replica serves: HTTP GET on its port, a TCP connect without a probe."""
        if not replica.shim_alive or replica.pid is None:
            return False, f"not running ({replica.last_exit})" if replica.last_exit else "not running"
        if probe is None:
            return probes.tcp(replica.spec.port)
        return probes.http_get(replica.spec.port, probe) if probe.path else probes.tcp(replica.spec.port, probe.timeout_s)

    def free_port(self) -> int:
        """Return a loopback port that nothing listens on and no replica was given; WorldError SP635 when there is none."""
        return self._ports.take({status.spec.port for status in self.replicas()})

    def log(self, replica: str) -> tuple[Path, ...]:
        """Return the files of a replica's output, oldest first."""
        folder = self._folder(replica)
        names = [*[f"log.{number}" for number in range(LOG_FILES - 1, 0, -1)], "log"]
        return tuple(folder / name for name in names if (folder / name).is_file())

    def follow(self, replica: str) -> Follower:
        """Return a reader of what a replica writes from now on."""
        return Follower(self._folder(replica))

    def _folder(self, replica: str) -> Path:
        if not _NAME.fullmatch(replica) or ".." in replica:
            raise UserError("SP638", f"{replica!r} is not a replica id", fix="lower-case letters, digits, `-`, `.` and `_`")
        return self._replicas / replica

    def _lock(self, replica: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(replica, threading.Lock())

    def _state(self, folder: Path) -> shim_state.ShimState | None:
        return shim_state.read(folder, os.getuid() if self._uid is None else self._uid)

    def _status(self, folder: Path) -> ReplicaStatus | None:
        raw = shim_state.read_json(folder / "replica.json")
        if not raw:
            return None
        try:
            spec = records.decode(ReplicaSpec, raw)
        except ValueError:  # one folder that nobody can read must not hide all others
            return None
        generation = str(raw.get(_GENERATION) or "")
        outdated = bool(generation) and generation != self._generation(spec.container)
        state = self._state(folder)
        if state is None:
            return ReplicaStatus(spec, False, None, None, 0, "", outdated=outdated, begun=False)
        stopping = state.phase in ("stopping", "stopped") or (folder / "stop.json").exists()
        orphaned = not state.alive and not stopping and not state.outcome
        return ReplicaStatus(
            spec=spec,
            shim_alive=state.alive,
            pid=None if orphaned else state.child_pid,
            started_at=None if orphaned else state.started_at,
            restarts=state.restarts,
            last_exit=state.orphaned if orphaned else state.last_exit,
            stopping=stopping,
            outdated=outdated,
            unenforced=self._groups.missing(spec.container.resources),
            outcome=state.outcome,
            finished_at=state.finished_at,
            age_s=processes.age_s(state.child_pid) if state.child_pid is not None and not orphaned else None,
        )

    def _reachable(self, folder: Path) -> None:
        """Refuse a home that the replicas' uid cannot reach: a sandbox could not show anything of it."""
        if self._uid is None:
            return
        for parent in (folder.resolve(), *folder.resolve().parents):
            facts = parent.stat()
            if not facts.st_mode & 0o001 and facts.st_uid != self._uid:
                fix = f"use a home in a folder that others may pass through, such as /var/lib/setpoint, or chmod o+x {parent}"
                raise UserError(
                    "SP639", f"replicas run as uid {self._uid}, which may not pass through {parent}", where=str(folder), fix=fix
                )

    def _secrets(self, container: Container) -> bytes:
        """Return the values of a container's Secrets as the shim reads them; they go through a pipe and are written nowhere."""
        if not container.sealed:
            return b""
        if self._vault is None:
            raise WorldError("SP632", "this server opens no Secrets", fix="start it with `setpoint up`")
        values = {secret.name: self._vault.open(secret) for secret in container.sealed}

        def of(key: SecretKey) -> bytes:
            found = values[key.secret]
            return found[f"stringData:{key.key}"] if f"stringData:{key.key}" in found else found[f"data:{key.key}"]

        files = [
            {"target": path, "data": base64.b64encode(of(key)).decode(), "mode": container.modes.get(path, 0o400)}
            for path, key in sorted(container.secret_files.items())
        ]
        environment = {name: of(key).decode() for name, key in container.secret_environment.items()}
        return json.dumps({"environment": environment, "files": files}).encode()

    def _put(self, folder: Path, name: str, text: str, mode: int = 0o600) -> None:
        """Write a file of a replica in one step, readable for its uid only unless mode says otherwise."""
        scratch = folder / f".{name}.new"
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if self._uid is not None:
                os.fchown(file.fileno(), self._uid, self._uid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
        scratch.rename(folder / name)

    def _write(self, folder: Path, spec: ReplicaSpec, sandbox: replica_sandbox.SandboxPlan, generation: str) -> None:
        """Write everything the shim needs; replica.json comes last, for a folder without it is no replica yet."""
        scratch = [folder / replica_sandbox.SCRATCH / place.volume for place in spec.container.scratch if not place.in_memory]
        for path in (folder, folder / "files", *(path.parent for path in scratch[:1]), *scratch):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._uid is not None:
                os.chown(path, self._uid, self._uid)
        for stale in ("stop.json", "state.json", "shim.err"):
            (folder / stale).unlink(missing_ok=True)
        for name, content in sandbox.files.items():
            self._put(folder / "files", name, content, sandbox.modes.get(name, 0o600))
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise WorldError("SP632", "bubblewrap is not installed", where=spec.replica, fix="install the package bubblewrap")
        hook = spec.container.pre_stop
        document = {
            "version": shim.VERSION,
            "uid": self._uid,
            "bwrap": bwrap,
            "options": sandbox.options,
            "last_options": sandbox.last_options,
            "program": sandbox.program,
            "grace_s": spec.grace_s,
            "groups": self._groups.make(spec.replica, spec.container.resources),
            "job": asdict(spec.job) if spec.job is not None else None,
            "pre_stop": {**asdict(hook), "port": spec.port} if hook is not None else None,
        }
        self._put(folder, "spec.json", json.dumps(document))
        self._put(folder, "replica.json", json.dumps({**records.encode(spec), _GENERATION: generation}))

    def _launch(self, folder: Path, secrets: bytes) -> None:
        """Start the shim, hand it the secrets and wait for its first state."""
        argv = [sys.executable, "-I", "-S", shim.__file__, str(folder)]
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        try:
            done = subprocess.run(
                argv, input=secrets, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=environment, cwd="/", start_new_session=True, timeout=_START_S, check=False,
            )  # fmt: skip
            detail = done.stderr.decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            detail = "it did not start in time"
        except OSError as error:
            detail = str(error)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and not detail:
            state = self._state(folder)
            if state is not None:
                return
            detail = shim_state.read_bounded(folder / "shim.err").decode(errors="replace").strip()[-500:]
            select.select([], [], [], 0.005)
        raise WorldError(
            "SP632", f"the shim does not start: {detail or 'it wrote no state'}", where=folder.name, fix="see the replica's log"
        )


def _remove_tree(folder: Path) -> None:
    """Remove a folder, also one in which a replica has closed folders of its own against its owner; raises FileNotFoundError."""

    def open_up(function: Callable[..., object], path: str, info: tuple[Any, BaseException, Any]) -> None:
        if not isinstance(info[1], PermissionError):
            raise info[1]
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - what rmtree names, below the folder
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - as above
            os.chmod(path, 0o700)  # noqa: PTH101 - as above
            shutil.rmtree(path)
        else:
            function(path)

    shutil.rmtree(folder, onerror=open_up)
